/* The limiter with Redis, which settles, goes, ails, forgets and comes back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/log.h"
#include "limiter_one.h"
#include "redis_server.h"
#include "rules/bucket.h"

/* A bucket in Redis grants nothing for T at first; then whoever waits is served. */
#define SETTLED_US (BUCKET_SILENT_US + MS(4000))

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
	submit(1, SETTLED_US);
	run(2, SETTLED_US);
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
	submit(1, SETTLED_US);
	run(2, SETTLED_US);
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

/* An idle member stays heard, and its bucket full: what comes after a while goes at once, with few commands. */
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
	run(1, MS(4500));
	for (uint32_t i = 0; i < 10; i++)
		submit(i, MS(5000));
	run(20, MS(3000));
	first = expect(0, LIMITER_GRANTED)->asked_at;
	for (uint32_t i = 0; i < 10; i++)
		assert_true(mono_since(expect(i, LIMITER_GRANTED)->asked_at, first) <= MS(5));
	assert_in_range(limiter_counts(limiter).commands_ok, 6, 14);	/* to be heard; not one for each request */
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

/* Redis forgets the bucket: nothing goes for T, in which the members tell what they have taken. */
static void
test_store_forgets(void **state)
{
	struct redis_server server = { 0 };
	struct config *config;
	struct mono_time flushed;
	char text[256];
	int fd;

	(void)state;
	redis_server_start(&server);
	config = config_make(one_name, returning, server.port);
	open_one(config);
	submit(1, SETTLED_US);
	run(2, SETTLED_US);
	expect(1, LIMITER_GRANTED);
	fd = loopback_connect(server.port);
	redis_ask(fd, text, "FLUSHALL");
	flushed = loop_now(loop);
	submit(2, MS(500));
	submit(3, MS(9000));
	run(6, MS(9000));
	expect(2, LIMITER_STORE_DOWN);
	assert_in_range(mono_since(expect(3, LIMITER_GRANTED)->asked_at, flushed), BUCKET_SILENT_US - MS(20), MS(3500));
	close(fd);
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

/* Break all connections to SERVER, and wait until the limiter has seen that and is back. */
static void
break_connections(struct redis_server *server)
{
	char text[256];
	int fd = loopback_connect(server->port);

	redis_ask(fd, text, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
	close(fd);
	for (int i = 0; i < 500 && limiter_counts(limiter).store_up; i++)
		run(EVENTS, MS(2));
	for (int i = 0; i < 500 && !limiter_counts(limiter).store_up; i++)
		run(EVENTS, MS(10));
	assert_true(limiter_counts(limiter).store_up);
}

/*
 * A connection is tried with a call that says nothing: what this instance said of its predecessor when it began is long over when
 * its store begins anew, and must not close the bucket again.
 */
static void
test_tried_with_nothing_old(void **state)
{
	static const struct config_quota quota = { 40, MS(4000), MS(100), 0, 0 };
	struct redis_server server = { 0 };
	struct config *config;
	struct mono_time flushed;
	char text[256];
	int fd;

	(void)state;
	redis_server_start(&server);
	config = config_make(one_name, quota, server.port);
	sent_ago_us = MS(100);
	open_one(config);
	sent_ago_us = -1;
	submit(1, MS(10000));
	run(2, MS(10000));		/* its predecessor's tokens have come back */
	expect(1, LIMITER_GRANTED);
	run(EVENTS, MS(300));
	fd = loopback_connect(server.port);
	redis_ask(fd, text, "FLUSHALL");
	flushed = loop_now(loop);
	break_connections(&server);
	submit(2, MS(10000));
	run(4, MS(10000));
	assert_in_range(mono_since(expect(2, LIMITER_GRANTED)->asked_at, flushed), BUCKET_SILENT_US - MS(20), MS(3500));
	close(fd);
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

/* Nor with the upstream's pause that it could not tell: that is over when it is, whatever connections come and go. */
static void
test_tried_without_pause(void **state)
{
	struct redis_server server = { 0 };
	struct config *config;
	char text[256];
	int fd;

	(void)state;
	redis_server_start(&server);
	config = config_make(one_name, returning, server.port);
	open_one(config);
	submit(1, SETTLED_US);
	run(2, SETTLED_US);
	expect(1, LIMITER_GRANTED);
	fd = loopback_connect(server.port);
	redis_ask(fd, text, "CONFIG", "SET", "maxmemory", "1");
	limiter_throttled(limiter, &(struct limiter_ask){ .config = config }, MS(1500));
	for (int i = 0; i < 500 && limiter_counts(limiter).store_up; i++)
		run(EVENTS, MS(2));
	assert_true(limiter_identity_counts(limiter, 0).paused);
	redis_ask(fd, text, "CONFIG", "SET", "maxmemory", "0");
	for (int i = 0; i < 500 && !limiter_counts(limiter).store_up; i++)
		run(EVENTS, MS(10));
	for (int i = 0; i < 500 && limiter_identity_counts(limiter, 0).paused; i++)
		run(EVENTS, MS(10));
	submit(2, MS(5000));
	run(event_count + 2, MS(5000));
	expect(2, LIMITER_GRANTED);
	break_connections(&server);
	submit(3, MS(5000));
	run(event_count + 2, MS(5000));
	expect(3, LIMITER_GRANTED);
	assert_false(limiter_identity_counts(limiter, 0).paused);
	assert_int_equal(limiter_identity_counts(limiter, 0).limit, 38);	/* one pause, one twentieth */
	close(fd);
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

/* Whether SLOT has been told that it may go: it is a mail, behind what the counts say. */
static bool
was_granted(uint32_t slot)
{
	for (size_t i = 0; i < event_count; i++)
		if (events[i].ticket.slot == slot && events[i].verdict == LIMITER_GRANTED)
			return true;
	return false;
}

/* Redis is away for longer than T and a token's time: the share is spent, alone; with Redis back nothing is closed. */
static void
test_alone(void **state)
{
	struct redis_server server = { 0 };
	struct config *config;
	struct mono_time stopped;

	(void)state;
	redis_server_start(&server);
	config = config_make(one_name, fast, server.port);
	config->store.share = true;
	open_one(config);
	submit(1, SETTLED_US);
	run(2, SETTLED_US);
	expect(1, LIMITER_GRANTED);
	run(EVENTS, MS(1500));			/* it has heard what its share is */
	assert_true(limiter_counts(limiter).share);
	kill(server.pid, SIGSTOP);
	stopped = loop_now(loop);
	submit(2, MS(1000));
	submit(3, MS(20000));
	event_count = 0;
	for (int i = 0; i < 1000 && !was_granted(3); i++)
		run(EVENTS, MS(10));
	expect(2, LIMITER_STORE_DOWN);
	assert_in_range(mono_since(expect(3, LIMITER_GRANTED)->asked_at, stopped), BUCKET_SILENT_US + MS(1100) - MS(700), MS(5000));
	assert_true(limiter_identity_counts(limiter, 0).alone);
	assert_false(limiter_counts(limiter).store_up);
	kill(server.pid, SIGCONT);
	for (int i = 0; i < 500 && !limiter_counts(limiter).store_up; i++)
		run(EVENTS, MS(10));
	submit(4, MS(5000));
	for (int i = 0; i < 500 && !was_granted(4); i++)
		run(EVENTS, MS(10));
	expect(4, LIMITER_GRANTED);
	assert_false(limiter_identity_counts(limiter, 0).alone);
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

/* Good-bye is told once for every identity, and nothing is granted after it. */
static void
on_left(void *arg)
{
	++*(int *)arg;
	loop_stop(loop);
}

static void
test_leave(void **state)
{
	static const char *const names[] = { "a", "b", NULL };
	struct redis_server server = { 0 };
	struct config *config;
	int left = 0;

	(void)state;
	redis_server_start(&server);
	config = config_make(names, fast, server.port);
	open_one(config);
	submit_to(1, 0, config, SETTLED_US);
	run(2, SETTLED_US);
	expect(1, LIMITER_GRANTED);
	submit_to(2, 1, config, MS(300));
	limiter_leave(limiter, on_left, &left);
	run(EVENTS, MS(3000));
	assert_int_equal(left, 1);
	run(EVENTS, MS(400));
	assert_true(expect(2, LIMITER_STORE_DOWN)->retry_after_s >= 1);
	assert_int_equal(left, 1);
	close_one();
	config_unref(&config);
	redis_server_stop(&server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store_down),
		cmocka_unit_test(test_store_ill),
		cmocka_unit_test(test_no_store),
		cmocka_unit_test(test_kept_alive),
		cmocka_unit_test(test_store_forgets),
		cmocka_unit_test(test_tried_with_nothing_old),
		cmocka_unit_test(test_tried_without_pause),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_leave),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
