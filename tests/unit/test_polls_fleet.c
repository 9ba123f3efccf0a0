/* Polls of two instances on a real Redis, in one loop: one call, one order, one set of rights; and without it each by itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "polls_fixture.h"
#include "redis_server.h"

static struct redis_server server;
static struct polls *one, *two;

/* Run until both share. */
static void
share_both(void)
{
	for (size_t i = 0; i < 100 && !(polls_counts(one).shared && polls_counts(two).shared); i++)
		run(MS(20));
	assert_true(polls_counts(one).shared && polls_counts(two).shared);
}

static int
open_fleet(void **state)
{
	(void)state;
	server = (struct redis_server){ 0 };
	redis_server_start(&server);
	open_loop();
	config->polls_store = (struct config_store){ .redis = true, .host = STR("127.0.0.1"), .port = server.port,
		.prefix = STR("test"), .timeout_us = MS(300) };
	one = make_polls("one");
	two = make_polls("two");
	share_both();
	return 0;
}

static int
close_fleet(void **state)
{
	(void)state;
	polls_free(&one);
	polls_free(&two);
	close_loop();
	redis_server_stop(&server);
	return 0;
}

/* Ask at POLLS, an answer of any age unless ANEW. */
static void
ask_at(struct polls *at, uint32_t slot, bool anew)
{
	struct polls_ask a = ask_of(slot);

	a.fleet = true;
	a.max_age_us = anew ? 0 : INT64_MAX;
	polls_ask(at, &a);
	run(MS(30));
}

/* The same with a token of the caller's own. */
static void
ask_token_at(struct polls *at, uint32_t slot, uint8_t token)
{
	struct polls_ask a = ask_of(slot);

	a.fleet = true;
	a.shared = false;
	a.token[0] = token;
	polls_ask(at, &a);
	run(MS(30));
}

/* SLOT's call at POLLS has brought STATUS. */
static void
result_from(struct polls *at, uint32_t slot, const char *status)
{
	struct mono_time now = loop_now(loop);

	polls_result(at, ticket(slot), answer_make(200, status, now, now));
	run(MS(30));
}

/* One leads, the other's wait until it has told, and are told the same. */
static void
test_one_call(void **state)
{
	(void)state;
	ask_at(one, 1, false);
	ask_at(two, 2, false);
	ask_at(two, 3, false);
	expect(1, POLLS_FETCH);
	assert_int_equal(event_count, 1);
	result_from(one, 1, "InProgress");
	expect_answer(1, "InProgress", POLLS_MISS);
	run(MS(150));
	expect_answer(2, "InProgress", POLLS_HIT);
	expect_answer(3, "InProgress", POLLS_HIT);
}

/* A leader that gives up leaves its lease; one that dies is followed when that is over. */
static void
test_leases_end(void **state)
{
	(void)state;
	ask_at(one, 1, false);
	ask_at(two, 2, false);
	polls_unsent(one, ticket(1), false);
	run(MS(150));
	expect(2, POLLS_FETCH);
	polls_failed(two, ticket(2), REFUSAL_UPSTREAM, STR("It is gone."));
	ask_at(one, 3, false);
	expect(3, POLLS_FETCH);
	ask_at(two, 4, false);
	polls_free(&one);	/* without a word */
	run(MS(2000));
	expect(4, -1);
	run(MS(1500));
	expect(4, POLLS_FETCH);
	one = make_polls("one");
}

/* A lease that is in use is renewed for as long as the call takes. */
static void
test_long_calls(void **state)
{
	(void)state;
	ask_at(one, 1, false);
	ask_at(two, 2, false);
	run(MS(4500));
	expect(2, -1);
	polls_leave(two, ticket(2), false);	/* its own time is up */
	run(MS(10));
	expect(2, POLLS_NOTHING);
	result_from(one, 1, "Completed");
	ask_at(two, 3, false);
	expect_answer(3, "Completed", POLLS_HIT);
}

/* What one has asked anew is what the other tells, though its own still stands; nothing older takes its place. */
static void
test_order(void **state)
{
	(void)state;
	ask_at(one, 1, false);
	result_from(one, 1, "NotStarted");
	ask_at(two, 2, false);
	expect_answer(2, "NotStarted", POLLS_HIT);
	run(MS(200));
	ask_at(one, 3, true);
	expect(3, POLLS_FETCH);
	result_from(one, 3, "InProgress");
	ask_at(two, 4, false);
	expect_answer(4, "InProgress", POLLS_HIT);
	/* Two calls with tokens that nobody knows yet: the later one ends first. */
	ask_token_at(one, 5, 1);
	ask_token_at(two, 6, 2);
	expect(5, POLLS_FETCH);
	expect(6, POLLS_FETCH);
	result_from(two, 6, "Waiting");
	expect_answer(6, "Waiting", POLLS_MISS);
	result_from(one, 5, "InProgress");
	expect_answer(5, "Waiting", POLLS_HIT);
}

/* A terminal state is final at the other, too, and needs no look. */
static void
test_terminal(void **state)
{
	(void)state;
	ask_at(one, 1, false);
	result_from(one, 1, "Completed");
	run(MS(200));
	ask_at(two, 2, true);
	expect(2, POLLS_FETCH);
	result_from(two, 2, "InProgress");
	expect_answer(2, "Completed", POLLS_HIT);
}

/* A change told at one makes what the other keeps, and what it is fetching, out of date. */
static void
test_change(void **state)
{
	(void)state;
	ask_at(one, 1, false);
	result_from(one, 1, "InProgress");
	ask_at(two, 2, false);
	run(MS(200));
	ask_at(two, 3, true);
	expect(3, POLLS_FETCH);
	polls_invalidate(one, id_make(1, 1).resource, true);
	run(MS(20));
	result_from(two, 3, "InProgress");
	expect_answer(3, "InProgress", POLLS_MISS);
	ask_at(one, 4, false);
	expect(4, POLLS_FETCH);
	result_from(one, 4, "Cancelled");
	ask_at(two, 5, false);
	expect_answer(5, "Cancelled", POLLS_HIT);
}

/* A token that has succeeded at one is known at the other; no other is, and one that was refused is not any more. */
static void
test_rights(void **state)
{
	(void)state;
	ask_token_at(one, 1, 1);
	ask_token_at(two, 2, 1);	/* the same token: one call */
	expect(2, -1);
	result_from(one, 1, "InProgress");
	run(MS(150));
	expect_answer(2, "InProgress", POLLS_HIT);
	ask_token_at(two, 3, 2);
	expect(3, POLLS_FETCH);
	polls_result(two, ticket(3), answer_make(403, "", loop_now(loop), loop_now(loop)));
	run(MS(30));
	ask_token_at(one, 4, 2);
	expect(4, POLLS_FETCH);
	ask_token_at(one, 5, 1);
	expect_answer(5, "InProgress", POLLS_HIT);
}

/* Without Redis, or with one that hangs, each goes by itself, and what waited for it goes on. */
static void
test_away(void **state)
{
	(void)state;
	ask_at(one, 1, false);
	ask_at(two, 2, false);
	kill(server.pid, SIGSTOP);
	run(MS(2500));		/* both have said something to it, and heard nothing */
	expect(2, POLLS_FETCH);
	result_from(two, 2, "InProgress");
	expect_answer(2, "InProgress", POLLS_MISS);
	result_from(one, 1, "InProgress");
	expect_answer(1, "InProgress", POLLS_MISS);
	ask_at(one, 3, false);
	expect_answer(3, "InProgress", POLLS_HIT);
	kill(server.pid, SIGCONT);
	share_both();
	ask_at(two, 4, false);
	expect_answer(4, "InProgress", POLLS_HIT);
}

/* A change during an outage is told when that is over. */
static void
test_change_while_away(void **state)
{
	(void)state;
	ask_at(one, 1, false);
	result_from(one, 1, "InProgress");
	ask_at(two, 2, false);
	expect_answer(2, "InProgress", POLLS_HIT);
	kill(server.pid, SIGSTOP);
	polls_invalidate(one, id_make(1, 1).resource, true);
	run(MS(1500));
	kill(server.pid, SIGCONT);
	share_both();
	run(MS(300));
	ask_at(two, 3, false);
	expect(3, POLLS_FETCH);
	ask_at(one, 4, false);
	expect(4, -1);
	result_from(two, 3, "Cancelled");
	run(MS(200));
	expect_answer(4, "Cancelled", POLLS_HIT);
}

/* What somebody else has put there is believed only where it can be an answer. */
static void
test_odd_content(void **state)
{
	char key[160], hex[33] = { 0 }, reply[4096];
	struct poll_id id = id_make(1, 1);
	int fd;

	(void)state;
	ask_at(one, 1, false);
	result_from(one, 1, "InProgress");
	str_hex_encode(id.key, sizeof(id.key), hex);
	snprintf(key, sizeof(key), "test:polls:1:{%s}:%s", hex, hex);
	fd = loopback_connect(server.port);
	redis_ask(fd, reply, "HSET", key, "b", "no answer at all", "h", "9999", "q", "99999999999999");
	assert_string_equal(reply, ":0");
	ask_at(two, 2, false);
	run(MS(500));
	expect(2, POLLS_FETCH);
	redis_ask(fd, reply, "SET", key, "no hash at all");
	ask_at(two, 3, false);
	result_from(two, 2, "InProgress");
	expect_answer(2, "InProgress", POLLS_MISS);
	expect_answer(3, "InProgress", POLLS_JOIN);
	assert_false(polls_counts(two).shared);	/* it answers errors */
	close(fd);
}

/* A full Redis loses what was put there, nothing is put for a while, and nobody waits for it. */
static void
test_full(void **state)
{
	char reply[4096];
	int fd = loopback_connect(server.port);

	(void)state;
	ask_at(one, 1, false);
	result_from(one, 1, "InProgress");
	ask_at(two, 2, true);
	run(MS(200));
	ask_at(two, 3, true);
	redis_ask(fd, reply, "CONFIG", "SET", "maxmemory", "1");
	ask_at(one, 4, true);
	result_from(two, 3, "InProgress");
	expect_answer(3, "InProgress", POLLS_MISS);
	run(MS(150));
	expect(4, POLLS_FETCH);
	result_from(one, 4, "Completed");
	expect_answer(4, "Completed", POLLS_MISS);
	redis_ask(fd, reply, "KEYS", "*}:*");
	assert_null(strchr(reply, ' '));	/* one that a lease has made at most */
	ask_at(one, 5, false);
	expect_answer(5, "Completed", POLLS_HIT);
	close(fd);
}

/* Ask at POLLS as CALLER, in whose queue a call would wait. */
static void
ask_as(struct polls *at, uint32_t slot, uint64_t caller)
{
	struct polls_ask a = ask_of(slot);

	a.fleet = true;
	a.caller = caller;
	polls_ask(at, &a);
	run(MS(30));
}

/* Nobody waits in another caller's queue at another instance either; what was sent is everybody's, and what it brings ends the others. */
static void
test_callers_do_not_wait_for_each_other(void **state)
{
	(void)state;
	ask_as(one, 1, 1);
	expect(1, POLLS_FETCH);
	ask_as(two, 2, 1);
	expect(2, -1);			/* the same caller's waits for that */
	ask_as(two, 3, 2);
	expect(3, POLLS_FETCH);
	polls_sent(two, ticket(3));
	run(MS(30));
	ask_as(one, 4, 3);
	run(MS(150));
	expect(4, -1);			/* that one was sent */
	result_from(two, 3, "InProgress");
	expect_answer(3, "InProgress", POLLS_MISS);
	expect_answer(2, "InProgress", POLLS_JOIN);	/* it leads no more */
	run(MS(150));
	expect_answer(4, "InProgress", POLLS_HIT);
	run(MS(1200));
	expect_answer(1, "InProgress", POLLS_HIT);	/* nor does that, which waited in its caller's queue */
	polls_unsent(one, ticket(1), true);	/* it crosses that */
	forget();
	ask_as(one, 5, 1);
	expect_answer(5, "InProgress", POLLS_HIT);
}

/* A call that was turned back is its caller's again, and one that has waited long brings something new all the same. */
static void
test_turned_back(void **state)
{
	(void)state;
	ask_as(one, 1, 1);
	polls_sent(one, ticket(1));
	run(MS(30));
	ask_as(two, 2, 2);
	expect(2, -1);
	polls_turned_back(one, ticket(1));
	run(MS(150));
	expect(2, POLLS_FETCH);
	ask_as(one, 3, 1);
	expect(3, -1);
	polls_sent(two, ticket(2));
	run(MS(30));
	polls_sent(one, ticket(1));	/* later than that one, though it had its lease before */
	run(MS(30));
	result_from(two, 2, "NotStarted");
	expect_answer(2, "NotStarted", POLLS_MISS);
	result_from(one, 1, "InProgress");
	expect_answer(1, "InProgress", POLLS_MISS);
	expect_answer(3, "InProgress", POLLS_JOIN);
	ask_as(two, 4, 2);
	expect_answer(4, "InProgress", POLLS_HIT);
}

/* Ask at POLLS for representation KEY of the resource. */
static void
ask_key_at(struct polls *at, uint32_t slot, uint32_t key)
{
	struct polls_ask a = ask_of(slot);

	a.fleet = true;
	a.id = id_make(key, 1);
	polls_ask(at, &a);
	run(MS(30));
}

/* A state that one instance has heard puts older ones of other representations out of date, wherever they are kept. */
static void
test_representations(void **state)
{
	(void)state;
	ask_key_at(one, 1, 1);
	result_from(one, 1, "NotStarted");
	ask_key_at(two, 2, 1);
	expect_answer(2, "NotStarted", POLLS_HIT);
	ask_key_at(one, 3, 2);
	result_from(one, 3, "NotStarted");
	ask_key_at(two, 4, 1);
	expect_answer(4, "NotStarted", POLLS_HIT);	/* the same */
	ask_key_at(one, 5, 3);
	result_from(one, 5, "Completed");
	ask_key_at(two, 6, 1);
	expect(6, POLLS_FETCH);		/* of both memories and of Redis */
	result_from(two, 6, "Completed");
	ask_key_at(one, 7, 2);
	expect(7, POLLS_FETCH);
	result_from(one, 7, "Completed");
	ask_key_at(two, 8, 3);
	expect_answer(8, "Completed", POLLS_HIT);
}

/* Who waits for a change and takes nothing old hears of the one that another instance has seen a while ago. */
static void
test_changes(void **state)
{
	struct polls_ask a = ask_of(2);

	(void)state;
	ask_at(one, 1, false);
	result_from(one, 1, "NotStarted");
	a.fleet = a.changes = true;
	a.max_age_us = 0;
	polls_ask(two, &a);
	run(MS(30));
	expect(2, -1);
	run(MS(200));
	ask_at(one, 3, true);
	result_from(one, 3, "InProgress");
	run(MS(200));
	ask_at(two, 4, false);
	expect_answer(4, "InProgress", POLLS_HIT);
	expect(2, POLLS_FETCH);
	result_from(two, 2, "InProgress");
	expect_answer(2, "InProgress", POLLS_MISS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fleet, close_fleet)

int
main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_one_call), TEST(test_leases_end), TEST(test_long_calls), TEST(test_order),
		TEST(test_terminal), TEST(test_change), TEST(test_rights), TEST(test_away), TEST(test_change_while_away),
		TEST(test_odd_content), TEST(test_full), TEST(test_callers_do_not_wait_for_each_other), TEST(test_turned_back),
		TEST(test_representations), TEST(test_changes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
