/* The limiter with the embedded store, in the test's own loop. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/log.h"
#include "limiter_one.h"

/* The bucket fills from the start, so the first request after a while goes at once: next, ready, granted. */
static void
test_idle(void **state)
{
	struct config *config = config_make(one_name, fast, 0);
	struct mono_time before;

	(void)state;
	open_one(config);
	run(1, MS(30));
	assert_int_equal(event_count, 0);
	before = loop_now(loop);
	submit(1, MS(5000));
	assert_int_equal(event_count, 0);	/* never inside limiter_submit */
	run(2, MS(1000));
	assert_int_equal(events[0].verdict, LIMITER_NEXT);
	assert_true(mono_since(expect(1, LIMITER_GRANTED)->asked_at, before) >= 0);
	assert_true(mono_since(loop_now(loop), before) < MS(500));
	assert_int_equal(limiter_identity_counts(limiter, 0).grants, 1);
	assert_int_equal(limiter_identity_counts(limiter, 0).limit, 1000);
	assert_int_equal(limiter_identity_counts(limiter, 99).limit, 0);
	assert_true(limiter_counts(limiter).store_up && limiter_counts(limiter).store_tried);
	close_one();
	config_unref(&config);
}

/*
 * Refusals: too late at the present rate, at its own time, and where the caller's or the identity's queue is full; a full one has
 * room for a caller who has less in it than another.
 */
static void
test_refusals(void **state)
{
	struct config *config = config_make(one_name, slow, 0);

	(void)state;
	config->wait_queue = 4;
	config->callers[0].wait_queue = 3;
	open_one(config);
	auto_ready = false;
	run(1, MS(30));
	submit(0, MS(600000));
	submit(1, MS(600000));
	submit(2, MS(1900));			/* the third of one a second */
	submit(3, MS(600000));
	submit(4, MS(600000));
	for (uint32_t i = 5; i < 8; i++)
		limiter_submit(limiter, &(struct limiter_ask){ .ticket = ticket(i), .caller = 44, .class = LIMITER_SUBMIT,
			.deadline = mono_add(loop_now(loop), MS(600000)) });
	submit_to(9, 3, NULL, MS(1000));	/* an identity that is none */
	run(EVENTS, MS(50));
	assert_in_range(expect(2, LIMITER_NO_TOKEN)->retry_after_s, 1, 60);
	expect(4, LIMITER_QUEUE_FULL);		/* the caller's fourth */
	expect(3, LIMITER_QUEUE_FULL);		/* the identity's fifth is another's second: the last of three goes */
	expect(7, LIMITER_QUEUE_FULL);		/* two of each: no more room */
	expect(9, LIMITER_NO_TOKEN);
	assert_int_equal(limiter_identity_counts(limiter, 0).queued, 4);
	for (uint32_t i = 0; i < 10; i++)	/* cancelled ones make room, unknown ones are ignored */
		limiter_cancel(limiter, 0, ticket(i), false, (struct mono_time){ 0 });
	event_count = 0;
	limiter_submit(limiter, &(struct limiter_ask){ .ticket = ticket(8), .class = LIMITER_CANCEL,
		.deadline = mono_add(loop_now(loop), INT64_C(2100000)) });
	run(2, MS(5000));
	assert_int_equal(events[0].verdict, LIMITER_NEXT);	/* and it is never ready: */
	assert_in_range(expect(8, LIMITER_NO_TOKEN)->retry_after_s, 1, 60);
	assert_int_equal(limiter_identity_counts(limiter, 0).queued, 0);
	close_one();
	config_unref(&config);
}

/* What the limiter says of CALLER's request of WORKER, who can wait WAIT_US, before it is submitted; NEXT: nothing. */
static enum limiter_verdict
word_at_once(uint16_t worker, size_t caller, int64_t wait_us)
{
	struct limiter_ask ask = { .ticket = { worker, 20, 7 }, .caller = caller, .class = LIMITER_SUBMIT,
		.deadline = mono_add(loop_now(loop), wait_us) };
	struct limiter_event event;

	if (!limiter_refuses(limiter, &ask, &event))
		return LIMITER_NEXT;
	assert_int_equal(event.ticket.slot, 20);
	assert_in_range(event.retry_after_s, 1, 60);
	return event.verdict;
}

/* On its own loop the limiter tells at once who would be refused, by the same rules, and queues nobody. */
static void
test_refused_at_once(void **state)
{
	struct config *config = config_make(one_name, slow, 0);

	(void)state;
	config->wait_queue = 4;
	config->callers[0].wait_queue = 3;
	open_one(config);
	auto_ready = false;
	assert_int_equal(word_at_once(0, 0, MS(1)), LIMITER_NEXT);	/* no store is asked yet: nobody knows */
	run(1, MS(30));
	submit(0, MS(600000));
	submit(1, MS(600000));
	assert_int_equal(word_at_once(0, 0, MS(1900)), LIMITER_NEXT);	/* what is still on its way does not count */
	run(EVENTS, MS(50));
	assert_int_equal(word_at_once(0, 0, MS(1900)), LIMITER_NO_TOKEN);	/* the third of one a second */
	assert_int_equal(word_at_once(1, 0, MS(1900)), LIMITER_NEXT);	/* another thread's */
	assert_int_equal(word_at_once(0, 0, MS(600000)), LIMITER_NEXT);
	submit(2, MS(600000));
	run(EVENTS, MS(50));
	assert_int_equal(word_at_once(0, 0, MS(600000)), LIMITER_QUEUE_FULL);	/* the caller's fourth */
	for (uint32_t i = 5; i < 7; i++) {
		assert_int_equal(word_at_once(0, 44, MS(600000)), LIMITER_NEXT);	/* for the second the last of three goes */
		limiter_submit(limiter, &(struct limiter_ask){ .ticket = ticket(i), .caller = 44, .class = LIMITER_SUBMIT,
			.deadline = mono_add(loop_now(loop), MS(600000)) });
		run(EVENTS, MS(50));
	}
	assert_int_equal(word_at_once(0, 44, MS(600000)), LIMITER_QUEUE_FULL);	/* two of each: no more room */
	assert_int_equal(limiter_identity_counts(limiter, 0).queued, 4);
	close_one();
	config_unref(&config);
}

/* A cancelled grant's token serves the next who is ready within J/2; it comes back once, and only from who has it. */
static void
test_token_comes_back(void **state)
{
	static const struct config_quota quota = { 2, MS(1000), MS(2000), 0, 1 };
	struct config *config = config_make(one_name, quota, 0);
	struct mono_time asked_at;

	(void)state;
	open_one(config);
	submit(1, MS(20000));
	submit(2, MS(20000));
	submit(3, MS(20000));
	run(2, MS(10000));		/* to the first; the next token is there in one and a half seconds */
	asked_at = expect(1, LIMITER_GRANTED)->asked_at;
	limiter_cancel(limiter, 0, ticket(2), true, asked_at);	/* has no token to give back */
	limiter_ready(limiter, ticket(3));
	limiter_cancel(limiter, 0, ticket(1), true, asked_at);
	limiter_cancel(limiter, 0, ticket(1), true, asked_at);
	submit(4, MS(20000));
	limiter_ready(limiter, ticket(4));
	run(EVENTS, MS(100));
	assert_int_equal(expect(3, LIMITER_GRANTED)->asked_at.us, asked_at.us);
	for (size_t i = 0; i < event_count; i++)
		assert_true(events[i].ticket.slot != 4 || events[i].verdict == LIMITER_NEXT);
	close_one();
	config_unref(&config);
}

/* The same ticket may ask again once its token has lapsed. */
static void
test_asks_again(void **state)
{
	struct config *config = config_make(one_name, fast, 0);

	(void)state;
	open_one(config);
	submit(1, MS(5000));
	run(2, MS(1000));
	expect(1, LIMITER_GRANTED);
	submit(1, MS(5000));
	run(4, MS(1000));
	expect(1, LIMITER_GRANTED);
	assert_int_equal(limiter_identity_counts(limiter, 0).grants, 2);
	close_one();
	config_unref(&config);
}

/*
 * After a reload identities are matched by name, whatever their index, and a request's indices are its own
 * configuration's.
 */
static void
test_reload(void **state)
{
	static const char *const names[] = { "a", "b", NULL }, *const others[] = { "c", "b", "a", NULL };
	struct config *config = config_make(names, slow, 0), *changed = config_make(others, fast, 0);

	(void)state;
	open_one(config);
	submit_to(1, 1, config, MS(60000));	/* b, the slow one */
	run(2, MS(200));
	limiter_reload(limiter, changed, STR(""));
	submit_to(2, 0, config, MS(60000));	/* a of the old */
	submit_to(3, 1, changed, MS(60000));	/* b of the new, after the one that waits */
	run(6, MS(5000));
	expect(1, LIMITER_GRANTED);
	expect(2, LIMITER_GRANTED);
	expect(3, LIMITER_GRANTED);
	assert_int_equal(limiter_identity_counts(limiter, 0).grants, 0);
	assert_int_equal(limiter_identity_counts(limiter, 1).grants, 2);
	assert_int_equal(limiter_identity_counts(limiter, 2).grants, 1);
	assert_int_equal(limiter_identity_counts(limiter, 2).limit, 1000);
	for (int i = 0; i < 20; i++)		/* old ones are let go */
		limiter_reload(limiter, i % 2 ? config : changed, STR(""));
	run(EVENTS, MS(50));
	close_one();
	config_unref(&config);
	config_unref(&changed);
}

/* Returning tokens: after idleness three quarters go at once, and one who comes then waits little. */
static void
test_burst(void **state)
{
	struct config *config = config_make(one_name, returning, 0);
	struct mono_time first;

	(void)state;
	open_one(config);
	run(1, MS(2200));
	for (uint32_t i = 0; i < 31; i++)
		submit(i, MS(5000));
	run(62, MS(1000));
	first = expect(0, LIMITER_GRANTED)->asked_at;
	for (uint32_t i = 0; i < 30; i++)
		assert_true(mono_since(expect(i, LIMITER_GRANTED)->asked_at, first) <= MS(100));
	assert_in_range(mono_since(expect(30, LIMITER_GRANTED)->asked_at, first), MS(30), MS(400));
	close_one();
	config_unref(&config);
}

/* An instance whose predecessor has just sent something has all tokens out for W + J; a waiting request gets one then. */
static void
test_restarted(void **state)
{
	struct config *config = config_make(one_name, returning, 0);
	struct mono_time before;

	(void)state;
	sent_ago_us = MS(500);
	open_one(config);
	sent_ago_us = -1;
	before = loop_now(loop);
	run(1, MS(50));
	submit(1, MS(1000));
	submit(2, MS(5000));
	run(3, MS(4000));
	expect(1, LIMITER_NO_TOKEN);
	assert_in_range(mono_since(expect(2, LIMITER_GRANTED)->asked_at, before), MS(1590), MS(2000));
	close_one();
	config_unref(&config);
}

/*
 * The upstream's 429: nothing goes for that long, the request that was thrown back goes first, then the others one by
 * one; who cannot wait so long hears why. Another identity does not notice.
 */
static void
test_throttled(void **state)
{
	static const char *const names[] = { "a", "b", NULL };
	struct config *config = config_make(names, returning, 0);
	struct mono_time before;

	(void)state;
	open_one(config);
	run(1, MS(2200));
	submit_to(1, 0, config, MS(5000));
	run(2, MS(500));
	expect(1, LIMITER_GRANTED);
	before = loop_now(loop);
	limiter_throttled(limiter, &(struct limiter_ask){ .config = config }, MS(1000));
	submit_to(2, 0, config, MS(5000));
	limiter_submit(limiter, &(struct limiter_ask){ .ticket = ticket(3), .config = config, .class = LIMITER_SUBMIT,
		.deadline = mono_add(before, MS(5000)), .first = true });
	submit_to(4, 0, config, MS(300));
	submit_to(5, 1, config, MS(300));
	run(EVENTS, MS(200));
	expect(4, LIMITER_THROTTLED);
	assert_true(mono_since(expect(5, LIMITER_GRANTED)->asked_at, before) < MS(100));
	assert_true(limiter_identity_counts(limiter, 0).paused && !limiter_identity_counts(limiter, 1).paused);
	run(EVENTS, MS(1500));
	assert_in_range(mono_since(expect(3, LIMITER_GRANTED)->asked_at, before), MS(1000), MS(1200));
	assert_true(mono_since(expect(2, LIMITER_GRANTED)->asked_at, expect(3, LIMITER_GRANTED)->asked_at) >= MS(30));
	assert_false(limiter_identity_counts(limiter, 0).paused);
	close_one();
	config_unref(&config);
}

/* What a request's caller and rules allow holds besides the quota; who has no such limits does not wait for those who have. */
static void
test_own_limits(void **state)
{
	struct config *config = config_make(one_name, fast, 0);
	struct config_limit rule = { .name = STR("rule"), .rate = { 2, MS(1000), 1 } };

	(void)state;
	config->rate_limits = &rule;
	config->rate_limit_count = 1;
	open_one(config);
	run(1, MS(700));
	for (uint32_t i = 0; i < 4; i++)
		limiter_submit(limiter, &(struct limiter_ask){ .ticket = ticket(i), .config = config, .limits = 1, .class = LIMITER_CANCEL,
			.deadline = mono_add(loop_now(loop), MS(20000)) });
	for (uint32_t i = 4; i < 24; i++)
		submit(i, MS(20000));
	run(EVENTS, MS(300));
	expect(0, LIMITER_GRANTED);
	expect(1, LIMITER_NEXT);
	for (uint32_t i = 4; i < 24; i++)
		expect(i, LIMITER_GRANTED);
	run(EVENTS, MS(2000));
	for (uint32_t i = 1; i < 4; i++)
		assert_true(mono_since(expect(i, LIMITER_GRANTED)->asked_at, expect(i - 1, LIMITER_GRANTED)->asked_at) >= MS(490));
	close_one();
	config_unref(&config);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_refused_at_once),
		cmocka_unit_test(test_token_comes_back),
		cmocka_unit_test(test_asks_again),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_restarted),
		cmocka_unit_test(test_throttled),
		cmocka_unit_test(test_own_limits),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
