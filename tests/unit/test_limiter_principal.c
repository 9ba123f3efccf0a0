/* Principals: each has a bucket of its own with its identity's quota, as long as it is in use. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "limiter_one.h"
#include "redis_server.h"

/* Submit for a principal. */
static void
submit_for(uint32_t slot, const char *principal, const struct config *config, int64_t patience_us)
{
	struct limiter_ask ask = { .ticket = ticket(slot), .config = config, .class = LIMITER_SUBMIT,
		.deadline = mono_add(loop_now(loop), patience_us) };

	snprintf(ask.principal, sizeof(ask.principal), "%s", principal);
	limiter_submit(limiter, &ask);
}

/* Eighteen a second for each, and as many for the identity itself; what they took counts as the identity's. */
static void
test_apart(void **state)
{
	static const struct config_quota quota = { 20, MS(1000), MS(100), 0, 1 };
	struct config *config = config_make(one_name, quota, 0);
	struct mono_time begun;

	(void)state;
	open_one(config);
	begun = loop_now(loop);
	for (uint32_t i = 0; i < 10; i++) {
		submit_for(3 * i, "", config, MS(9000));
		submit_for(3 * i + 1, "one", config, MS(9000));
		submit_for(3 * i + 2, "two", config, MS(9000));
	}
	run(60, MS(9000));
	for (uint32_t i = 27; i < 30; i++)
		assert_in_range(mono_since(expect(i, LIMITER_GRANTED)->asked_at, begun), MS(450), MS(1200));
	assert_int_equal(limiter_identity_counts(limiter, 0).grants, 30);
	assert_int_equal(limiter_counts(limiter).principals, 2);
	auto_ready = false;
	submit_for(40, "one", config, MS(5000));
	submit_for(41, "two", config, MS(5000));
	run(EVENTS, MS(50));
	assert_int_equal(limiter_identity_counts(limiter, 0).queued, 2);
	limiter_cancel(limiter, 0, ticket(40), false, (struct mono_time){ 0 });
	limiter_cancel(limiter, 0, ticket(41), false, (struct mono_time){ 0 });
	run(EVENTS, MS(50));
	assert_int_equal(limiter_identity_counts(limiter, 0).queued, 0);
	close_one();
	config_unref(&config);
}

/* The upstream's 429 is one principal's. */
static void
test_throttled_alone(void **state)
{
	struct config *config = config_make(one_name, fast, 0);
	struct limiter_ask whose = { .config = config, .principal = "one" };

	(void)state;
	open_one(config);
	submit_for(1, "one", config, MS(500));
	run(2, MS(500));
	expect(1, LIMITER_GRANTED);
	limiter_throttled(limiter, &whose, MS(2000));
	submit_for(2, "one", config, MS(300));
	submit_for(3, "two", config, MS(300));
	submit_for(4, "", config, MS(300));
	run(EVENTS, MS(400));
	expect(2, LIMITER_THROTTLED);
	expect(3, LIMITER_GRANTED);
	expect(4, LIMITER_GRANTED);
	close_one();
	config_unref(&config);
}

/* Given up when nobody has asked for so long that all is back, and there again at once when somebody does; PORT as for config_make. */
static void
check_given_up(uint16_t port)
{
	static const struct config_quota quota = { 100, MS(1000), MS(100), 0, 1 };
	struct config *config = config_make(one_name, quota, port);
	int64_t patience_us = port ? MS(3500) : MS(500);

	principal_idle_us = MS(200);
	open_one(config);
	submit_for(1, "one", config, patience_us);
	run(2, patience_us);
	expect(1, LIMITER_GRANTED);
	assert_int_equal(limiter_counts(limiter).principals, 1);
	for (int i = 0; i < 60 && limiter_counts(limiter).principals > 0; i++)
		run(EVENTS, MS(50));
	assert_int_equal(limiter_counts(limiter).principals, 0);
	submit_for(2, "one", config, patience_us);
	run(4, patience_us);
	expect(2, LIMITER_GRANTED);
	assert_int_equal(limiter_identity_counts(limiter, 0).grants, 2);
	close_one();
	principal_idle_us = 0;
	config_unref(&config);
}

static void
test_given_up(void **state)
{
	struct redis_server server = { 0 };

	(void)state;
	check_given_up(0);
	redis_server_start(&server);
	check_given_up(server.port);
	redis_server_stop(&server);
}

/* Who waited long is not given up as soon as its last request has its token: what was taken must come back first. */
static void
test_kept_while_tokens_are_out(void **state)
{
	static const struct config_quota quota = { 20, MS(1000), MS(100), 0, 1 };
	struct config *config = config_make(one_name, quota, 0);

	(void)state;
	principal_idle_us = MS(200);
	open_one(config);
	for (uint32_t i = 0; i < 60; i++)
		submit_for(i, "one", config, MS(20000));
	run(120, MS(20000));
	assert_int_equal(limiter_identity_counts(limiter, 0).grants, 60);
	run(EVENTS, MS(900));
	assert_int_equal(limiter_counts(limiter).principals, 1);
	for (int i = 0; i < 60 && limiter_counts(limiter).principals > 0; i++)
		run(EVENTS, MS(50));
	assert_int_equal(limiter_counts(limiter).principals, 0);
	close_one();
	principal_idle_us = 0;
	config_unref(&config);
}

/* So many and no more are kept apart; a reload changes the quota of all. */
static void
test_many(void **state)
{
	struct config *config = config_make(one_name, fast, 0);
	char name[16];

	(void)state;
	open_one(config);
	for (uint32_t i = 0; i <= LIMITER_PRINCIPALS_MAX; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		submit_for(i, name, config, MS(20000));
		if (i % 50 == 49) {
			run(100, MS(5000));
			assert_int_equal(event_count, 100);
			event_count = 0;
		}
	}
	run(1, MS(5000));
	expect(LIMITER_PRINCIPALS_MAX, LIMITER_QUEUE_FULL);
	assert_int_equal(limiter_counts(limiter).principals, LIMITER_PRINCIPALS_MAX);
	close_one();
	config_unref(&config);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_apart), cmocka_unit_test(test_throttled_alone),
		cmocka_unit_test(test_given_up), cmocka_unit_test(test_kept_while_tokens_are_out), cmocka_unit_test(test_many) };

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
