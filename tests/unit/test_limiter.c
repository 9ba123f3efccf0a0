/*
 * The limiter with both stores: in the test's own loop, and with the loops of several workers and instances as
 * threads.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/limiter.h"
#include "limiter_fixture.h"
#include "redis_server.h"

static const struct config_quota fast = { 1000, MS(1000), MS(100), 0, 1 };	/* 892 a second, 18 at once */
static const struct config_quota slow = { 2, MS(1000), MS(1000), 0, 1 };	/* one a second */

#define EVENTS 256

static struct loop *loop;
static struct resolver *resolver;
static struct limiter *limiter;
static struct limiter_event events[EVENTS];
static size_t event_count, wanted_count;
static bool auto_ready;
static int64_t sent_ago_us = -1;	/* by the instance before */

static void
on_event(void *arg, const struct limiter_event *event)
{
	assert_ptr_equal(arg, events);
	assert_true(event_count < EVENTS);
	events[event_count++] = *event;
	if (auto_ready && event->verdict == LIMITER_NEXT)
		limiter_ready(limiter, event->ticket);
	if (event_count == wanted_count)
		loop_stop(loop);
}

static void
on_too_long(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

/* Run until COUNT events have come in all, or FOR_US have passed. */
static void
run(size_t count, int64_t for_us)
{
	struct loop_timer timer;

	wanted_count = count;
	if (event_count >= count)
		return;
	loop_timer_init(&timer, loop, on_too_long, NULL);
	loop_timer_at(&timer, mono_add(loop_now(loop), for_us));
	loop_run(loop);
	loop_timer_fini(&timer);
}

static void
open_one(struct config *config)
{
	struct limiter_settings settings;

	loop = loop_new();
	resolver = resolver_new();
	settings = (struct limiter_settings){ .loops = &loop, .loop_count = 1, .deliver = on_event, .arg = events,
		.member = STR("instance"), .sent_ago_us = sent_ago_us };
	event_count = 0;
	auto_ready = true;
	limiter = limiter_new(&settings, resolver, config, STR(""));
}

static void
close_one(void)
{
	limiter_free(&limiter);
	assert_null(limiter);
	resolver_free(&resolver);
	loop_free(&loop);
}

static struct limiter_ticket
ticket(uint32_t slot)
{
	return (struct limiter_ticket){ 0, slot, 7 };
}

static void
submit_to(uint32_t slot, size_t identity, const struct config *config, int64_t patience_us)
{
	limiter_submit(limiter, &(struct limiter_ask){ .ticket = ticket(slot), .identity = identity, .config = config,
		.class = LIMITER_SUBMIT, .deadline = mono_add(loop_now(loop), patience_us) });
}

static void
submit(uint32_t slot, int64_t patience_us)
{
	submit_to(slot, 0, NULL, patience_us);
}

/* The SLOT's last event, which must be VERDICT. */
static const struct limiter_event *
expect(uint32_t slot, enum limiter_verdict verdict)
{
	for (size_t i = event_count; i-- > 0;)
		if (events[i].ticket.slot == slot) {
			assert_int_equal(events[i].verdict, verdict);
			return &events[i];
		}
	fail_msg("no event for %u", slot);
	return NULL;
}

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

/* Refusals: too late at the present rate, at its own time, and where the caller's or the identity's queue is full. */
static void
test_refusals(void **state)
{
	struct config *config = config_make(one_name, slow, 0);

	(void)state;
	config->wait_queue = 4;
	config->callers[0].wait_queue = 3;
	open_one(config);
	auto_ready = false;
	submit(0, MS(600000));
	submit(1, MS(600000));
	submit(2, MS(1500));			/* the third of one a second */
	submit(3, MS(600000));
	submit(4, MS(600000));
	limiter_submit(limiter, &(struct limiter_ask){ .ticket = ticket(5), .caller = 44, .class = LIMITER_SUBMIT,
		.deadline = mono_add(loop_now(loop), MS(600000)) });
	limiter_submit(limiter, &(struct limiter_ask){ .ticket = ticket(6), .caller = 44, .class = LIMITER_SUBMIT,
		.deadline = mono_add(loop_now(loop), MS(600000)) });
	submit_to(7, 3, NULL, MS(1000));	/* an identity that is none */
	run(EVENTS, MS(50));
	assert_in_range(expect(2, LIMITER_NO_TOKEN)->retry_after_s, 1, 60);
	expect(4, LIMITER_QUEUE_FULL);		/* the caller's fourth */
	expect(3, LIMITER_QUEUE_FULL);		/* for the identity's fifth, of whose caller fewer wait */
	expect(7, LIMITER_NO_TOKEN);
	assert_int_equal(limiter_identity_counts(limiter, 0).queued, 4);
	for (uint32_t i = 0; i < 8; i++)	/* cancelled ones make room, unknown ones are ignored */
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
	run(2, MS(10000));		/* to the first; the bucket is empty for three seconds more */
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

/*
 * Redis goes while requests wait: they go on waiting, 503 comes at their own time, and with Redis back tokens come
 * again.
 */
static void
test_store_down(void **state)
{
	struct redis_server server = { 0 };
	struct config *config;
	struct mono_time before;

	(void)state;
	redis_server_start(&server);
	config = config_make(one_name, fast, server.port);
	open_one(config);
	submit(1, MS(5000));
	run(2, MS(3000));
	expect(1, LIMITER_GRANTED);
	assert_true(limiter_counts(limiter).store_up);
	kill(server.pid, SIGSTOP);
	before = loop_now(loop);
	submit(2, MS(700));
	submit(3, MS(60000));
	run(EVENTS, MS(900));
	assert_in_range(expect(2, LIMITER_STORE_DOWN)->retry_after_s, 1, 60);
	assert_true(mono_since(loop_now(loop), before) >= MS(700));
	assert_false(limiter_counts(limiter).store_up);
	assert_true(limiter_counts(limiter).commands_failed > 0);
	redis_server_stop(&server);
	redis_server_start(&server);
	for (size_t i = 0; i < 50 && events[event_count - 1].verdict != LIMITER_GRANTED; i++)
		run(event_count + 1, MS(200));
	expect(3, LIMITER_GRANTED);
	assert_true(limiter_counts(limiter).store_up);
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

/*
 * Redis answers, but with errors: as good as away, and back when it is well. The script's text is sent again when it
 * was lost.
 */
static void
test_store_ill(void **state)
{
	struct redis_server server = { 0 };
	struct config *config;
	char text[256];
	int fd;

	(void)state;
	redis_server_start(&server);
	config = config_make(one_name, fast, server.port);
	open_one(config);
	submit(1, MS(5000));
	run(2, MS(3000));
	expect(1, LIMITER_GRANTED);
	fd = loopback_connect(server.port);
	redis_ask(fd, text, "SCRIPT", "FLUSH");
	submit(2, MS(5000));
	run(4, MS(3000));
	expect(2, LIMITER_GRANTED);
	redis_ask(fd, text, "CONFIG", "SET", "maxmemory", "1");
	submit(3, MS(60000));
	submit(4, MS(500));
	run(EVENTS, MS(700));
	expect(4, LIMITER_STORE_DOWN);
	assert_false(limiter_counts(limiter).store_up);
	redis_ask(fd, text, "CONFIG", "SET", "maxmemory", "0");
	for (size_t i = 0; i < 50 && events[event_count - 1].verdict != LIMITER_GRANTED; i++)
		run(event_count + 1, MS(200));
	expect(3, LIMITER_GRANTED);
	close(fd);
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

/* No Redis at all: the first attempt ends and says so; what waits is refused at its own time. */
static void
test_no_store(void **state)
{
	struct config *config;
	uint16_t port = 0;

	(void)state;
	close(loopback_listen(&port));
	config = config_make(one_name, fast, port);
	open_one(config);
	assert_false(limiter_counts(limiter).store_tried);
	submit(1, MS(100));
	run(1, MS(3000));
	expect(1, LIMITER_STORE_DOWN);
	assert_true(limiter_counts(limiter).store_tried && !limiter_counts(limiter).store_up);
	close_one();
	config_unref(&config);
}

/*
 * An idle bucket in Redis is kept alive, and full: a burst after a pause longer than its key would live goes at once.
 */
static void
test_kept_alive(void **state)
{
	struct redis_server server = { 0 };
	struct config *config;
	struct mono_time first;

	(void)state;
	redis_server_start(&server);
	config = config_make(one_name, fast, server.port);
	open_one(config);
	run(1, MS(2500));
	for (uint32_t i = 0; i < 10; i++)
		submit(i, MS(5000));
	run(20, MS(5));			/* at 892 a second ten would take 11 ms */
	run(20, MS(3000));
	first = expect(0, LIMITER_GRANTED)->asked_at;
	for (uint32_t i = 0; i < 10; i++)
		assert_true(mono_since(expect(i, LIMITER_GRANTED)->asked_at, first) <= MS(5));
	assert_in_range(limiter_counts(limiter).commands_ok, 4, 10);	/* looks, not one for each request */
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

static const struct config_quota returning = { 40, MS(2000), MS(100), 0, 0 };	/* 30 at once */

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
	limiter_throttled(limiter, 0, config, MS(1000));
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

/* Redis forgets the bucket: nothing goes until whoever had taken something has said so. */
static void
test_store_forgets(void **state)
{
	struct redis_server server = { 0 };
	struct config *config;
	struct mono_time last;
	char text[256];
	int fd;

	(void)state;
	redis_server_start(&server);
	config = config_make(one_name, returning, server.port);
	open_one(config);
	submit(1, MS(5000));
	run(2, MS(5000));
	last = expect(1, LIMITER_GRANTED)->asked_at;
	fd = loopback_connect(server.port);
	redis_ask(fd, text, "FLUSHALL");
	submit(2, MS(500));
	submit(3, MS(5000));
	run(6, MS(6000));
	expect(2, LIMITER_STORE_DOWN);		/* members are heard first */
	assert_in_range(mono_since(expect(3, LIMITER_GRANTED)->asked_at, last), MS(2000), MS(3500));
	close(fd);
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle), cmocka_unit_test(test_refusals), cmocka_unit_test(test_token_comes_back),
		cmocka_unit_test(test_asks_again), cmocka_unit_test(test_reload), cmocka_unit_test(test_store_down),
		cmocka_unit_test(test_store_ill), cmocka_unit_test(test_no_store), cmocka_unit_test(test_kept_alive),
		cmocka_unit_test(test_burst), cmocka_unit_test(test_throttled), cmocka_unit_test(test_restarted), cmocka_unit_test(test_store_forgets),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
