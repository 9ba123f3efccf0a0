/* The polls in the test's own loop: who leads, who joins, who may see, what is kept, and in which order it is told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "polls_fixture.h"

static int
open_polls(void **state)
{
	(void)state;
	open_loop();
	polls = make_polls("m");
	return 0;
}

static int
close_polls(void **state)
{
	(void)state;
	polls_free(&polls);
	assert_null(polls);
	close_loop();
	return 0;
}

/* The first leads, the others join, all are told; who comes later is told what is kept. */
static void
test_join_and_hit(void **state)
{
	(void)state;
	ask(1);
	ask(2);
	ask(3);
	assert_int_equal(event_count, 1);
	expect(1, POLLS_FETCH);
	polls_sent(polls, ticket(1));
	result(1, "InProgress");
	expect_answer(1, "InProgress", POLLS_MISS);
	expect_answer(2, "InProgress", POLLS_JOIN);
	expect_answer(3, "InProgress", POLLS_JOIN);
	ask(4);
	expect_answer(4, "InProgress", POLLS_HIT);
	assert_int_equal(polls_counts(polls).answers, 1);
	assert_int_equal(event_count, 5);
}

/* Who wants nothing older leads, but not more often than min_refresh; a peek is answered, or passes. */
static void
test_ages_and_peeks(void **state)
{
	struct polls_ask a = ask_of(2);

	(void)state;
	a.peek = true;
	polls_ask(polls, &a);
	run(MS(2));
	expect(2, POLLS_PASS);
	ask(1);
	result(1, "InProgress");
	forget();
	polls_ask(polls, &a);
	a = ask_of(3);
	a.max_age_us = 0;
	polls_ask(polls, &a);
	run(MS(200));
	expect_answer(2, "InProgress", POLLS_HIT);
	expect_answer(3, "InProgress", POLLS_HIT);
	a.ticket = ticket(4);
	polls_ask(polls, &a);
	run(MS(2));
	expect(4, POLLS_FETCH);
}

/* The leader's end before it was sent is no end for the others: the next leads. Its call's failure is. */
static void
test_leaders_that_end(void **state)
{
	(void)state;
	ask(1);
	ask(2);
	ask(3);
	polls_unsent(polls, ticket(1), false);
	run(MS(2));
	expect(2, POLLS_FETCH);
	expect(3, -1);
	polls_cancel(polls, ticket(2));	/* it crosses its FETCH */
	run(MS(2));
	expect(3, POLLS_FETCH);
	ask(4);
	polls_sent(polls, ticket(3));
	polls_failed(polls, ticket(3), REFUSAL_UPSTREAM, STR("The upstream is gone."));
	run(MS(2));
	assert_int_equal(expect(4, POLLS_FAILED)->refusal, REFUSAL_UPSTREAM);
	assert_string_equal(expect(4, POLLS_FAILED)->message, "The upstream is gone.");
	polls_result(polls, ticket(3), answer_make(200, "x", loop_now(loop), loop_now(loop)));	/* nobody's any more */
	ask(5);
	expect(5, POLLS_FETCH);
	assert_int_equal(polls_counts(polls).answers, 0);
}

/* Whose time is up is told the last that is known, or nothing; who has joined a call that was sent waits for it. */
static void
test_leaving(void **state)
{
	struct polls_ask a = ask_of(2);

	(void)state;
	ask(1);
	ask(2);
	ask(3);
	polls_leave(polls, ticket(2), false);
	run(MS(2));
	expect(2, POLLS_NOTHING);
	polls_sent(polls, ticket(1));
	polls_leave(polls, ticket(3), false);
	run(MS(2));
	expect(3, -1);
	polls_leave(polls, ticket(3), true);
	run(MS(2));
	expect(3, POLLS_NOTHING);
	result(1, "InProgress");
	forget();
	run(MS(200));
	a.max_age_us = 0;
	polls_ask(polls, &a);
	run(MS(2));
	expect(2, POLLS_FETCH);
	polls_unsent(polls, ticket(2), true);
	run(MS(2));
	expect_answer(2, "InProgress", POLLS_HIT);
}

/* What is no 200 is told to all of the call, and kept for nobody. */
static void
test_other_statuses(void **state)
{
	static const int statuses[] = { 404, 401, 500, 429 };

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		ask(10 * i + 1);
		ask(10 * i + 2);
		run(MS(200));	/* the next call is put off for what the last has found */
		expect(10 * i + 1, POLLS_FETCH);
		result_at(10 * i + 1, statuses[i], "Completed", 0);
		expect(10 * i + 1, statuses[i] == 429 ? POLLS_ANSWER : POLLS_FETCH);	/* else the leader knows */
		assert_int_equal(expect(10 * i + 2, POLLS_ANSWER)->answer->status, statuses[i]);
	}
	assert_int_equal(polls_counts(polls).answers, 0);
}

/* What the upstream throws back is as not admitted: the last that is known is told, to the leader, too. */
static void
test_thrown_back(void **state)
{
	struct polls_ask a = ask_of(2);

	(void)state;
	ask(1);
	result(1, "InProgress");
	run(MS(200));
	a.max_age_us = 0;
	polls_ask(polls, &a);
	a.ticket = ticket(3);
	polls_ask(polls, &a);
	run(MS(2));
	expect(2, POLLS_FETCH);
	result_at(2, 429, "", 0);
	expect_answer(2, "InProgress", POLLS_HIT);
	expect_answer(3, "InProgress", POLLS_HIT);
}

/* What is not there, or said not to be yet, is asked for ever more slowly; a leader that is put off can leave. */
static void
test_put_off(void **state)
{
	struct polls_ask a = ask_of(3);

	(void)state;
	ask(1);
	result_at(1, 404, "", 0);
	ask(2);
	expect(2, -1);
	polls_leave(polls, ticket(2), false);
	run(MS(2));
	expect(2, POLLS_NOTHING);
	polls_ask(polls, &a);
	run(MS(200));
	expect(3, POLLS_FETCH);
	polls_result(polls, ticket(3), answer_brief(loop_now(loop)));
	run(MS(2));
	expect_answer(3, "NotFound", POLLS_MISS);
	assert_int_equal(polls_counts(polls).answers, 0);
	ask_change(4);
	run(MS(200));
	expect(4, POLLS_FETCH);
	polls_result(polls, ticket(4), answer_brief(loop_now(loop)));
	run(MS(10));
	expect(4, POLLS_FETCH);		/* it says nothing yet: it waits on */
	run(MS(200));
	result(4, "NotStarted");
	expect_answer(4, "NotStarted", POLLS_MISS);
	ask(5);
	expect_answer(5, "NotStarted", POLLS_HIT);
}

/* A call that was sent earlier and ends later says nothing new; a terminal state is final. */
static void
test_order(void **state)
{
	struct polls_ask a = ask_of(2);

	(void)state;
	ask_with(1, 1);
	ask_with(2, 2);		/* has shown nothing yet: a call of its own */
	ask_with(3, 2);		/* joins that */
	expect(1, POLLS_FETCH);
	expect(2, POLLS_FETCH);
	result_at(1, 200, "InProgress", MS(10));
	expect_answer(1, "InProgress", POLLS_MISS);
	result_at(2, 200, "NotStarted", MS(500));
	expect_answer(2, "InProgress", POLLS_MISS);
	expect_answer(3, "InProgress", POLLS_JOIN);
	forget();
	run(MS(200));
	a = ask_of(4);
	a.max_age_us = 0;
	polls_ask(polls, &a);
	run(MS(2));
	result(4, "Completed");
	run(MS(200));
	a.ticket = ticket(5);
	polls_ask(polls, &a);
	run(MS(2));
	expect(5, POLLS_FETCH);
	result(5, "InProgress");
	expect_answer(5, "Completed", POLLS_MISS);
}

/* Own tokens: nothing is seen, and no call joined, before their own success; another's 401 is not theirs; grants end. */
static void
test_rights(void **state)
{
	(void)state;
	config->polls.grant_us = MS(900);
	ask_with(1, 1);
	result(1, "InProgress");
	ask_with(2, 2);
	expect(2, POLLS_FETCH);
	ask_with(3, 1);
	expect_answer(3, "InProgress", POLLS_HIT);
	polls_leave(polls, ticket(2), true);	/* a leader's word comes from its call */
	polls_unsent(polls, ticket(2), true);
	run(MS(2));
	expect(2, POLLS_NOTHING);
	ask_with(4, 2);
	result_at(4, 403, "", 0);
	ask_with(5, 2);
	expect(5, -1);
	run(MS(200));
	expect(5, POLLS_FETCH);		/* behind a pause: it was refused */
	ask_with(6, 1);
	expect_answer(6, "InProgress", POLLS_HIT);
	run(MS(1000));
	ask_with(7, 1);
	expect(7, POLLS_FETCH);
	assert_int_equal(polls_counts(polls).answers, 1);
}

/* A call joined by right of an earlier success is refused to its leader alone. */
static void
test_another_tokens_401(void **state)
{
	(void)state;
	ask_with(1, 1);
	result(1, "InProgress");
	ask_with(2, 2);
	result(2, "InProgress");
	run(MS(200));
	for (uint32_t i = 3; i < 6; i++) {
		struct polls_ask a = ask_of(i);

		a.shared = false;
		a.token[0] = i == 4 ? 2 : 1;
		a.max_age_us = 0;
		polls_ask(polls, &a);
		run(MS(2));
	}
	expect(3, POLLS_FETCH);
	expect(4, -1);
	result_at(3, 401, "", 0);
	expect(4, POLLS_FETCH);		/* it goes itself */
	assert_int_equal(expect(5, POLLS_ANSWER)->answer->status, 401);	/* the same token */
}

/* A change makes what is kept out of date, and what calls under way will bring: they tell their own, and nothing is kept. */
static void
test_invalidation(void **state)
{
	struct poll_id id = id_make(1, 1);

	(void)state;
	ask(1);
	result(1, "InProgress");
	run(MS(200));
	polls_invalidate(polls, id.resource, true);
	ask(2);
	expect(2, POLLS_FETCH);
	polls_invalidate(polls, id.resource, true);
	ask(3);
	expect(3, POLLS_FETCH);		/* the call of before the change is not joined */
	result(2, "InProgress");
	expect_answer(2, "InProgress", POLLS_MISS);
	assert_int_equal(polls_counts(polls).answers, 0);
	result(3, "Cancelled");
	ask(4);
	expect_answer(4, "Cancelled", POLLS_HIT);
}

/* Who waits for a change is told of it; one of them looks when the answer is due, for all. */
static void
test_changes(void **state)
{
	(void)state;
	ask(1);
	result(1, "NotStarted");
	ask_change(2);
	ask_change(3);
	run(MS(20));
	expect(2, -1);
	expect(3, -1);
	polls_leave(polls, ticket(3), false);
	run(MS(2));
	expect_answer(3, "NotStarted", POLLS_HIT);
	polls_invalidate(polls, id_make(1, 1).resource, true);
	run(MS(5));
	expect(2, POLLS_FETCH);
	ask_change(4);
	ask(5);
	result(2, "NotStarted");
	expect_answer(5, "NotStarted", POLLS_JOIN);
	forget();
	run(MS(20));
	expect(2, -1);			/* nothing new: they wait on */
	expect(4, -1);
	polls_invalidate(polls, id_make(1, 1).resource, true);
	run(MS(5));
	expect(2, POLLS_FETCH);
	polls_unsent(polls, ticket(2), true);	/* it had no call left: the next looks, at once */
	run(MS(5));
	expect_answer(2, "NotStarted", POLLS_STALE);
	expect(4, POLLS_FETCH);
	result(4, "InProgress");
	expect_answer(4, "InProgress", POLLS_MISS);
}

/* A terminal state is nothing to wait behind, and who comes when too many wait is answered. */
static void
test_changes_that_do_not_wait(void **state)
{
	struct polls_ask a = ask_of(3);

	(void)state;
	ask(1);
	result(1, "NotStarted");
	ask_change(2);
	a.changes = true;
	a.changes_max = 1;
	polls_ask(polls, &a);
	run(MS(2));
	expect(2, -1);
	expect_answer(3, "NotStarted", POLLS_HIT);
	polls_cancel(polls, ticket(2));
	run(MS(200));
	a = ask_of(4);
	a.max_age_us = 0;
	polls_ask(polls, &a);
	run(MS(2));
	result(4, "Failed");
	ask_change(5);
	expect_answer(5, "Failed", POLLS_HIT);
}

/* Too large a body is told, and not kept; nor is what was kept before it. */
static void
test_bodies_are_bounded(void **state)
{
	struct polls_ask a = ask_of(2);

	(void)state;
	ask(1);
	result(1, "InProgress");
	run(MS(200));
	a.max_age_us = 0;
	a.keep_bytes = 10;
	polls_ask(polls, &a);
	run(MS(2));
	ask(3);
	expect_answer(3, "InProgress", POLLS_HIT);
	result(2, "Completed");
	expect_answer(2, "Completed", POLLS_MISS);
	assert_int_equal(polls_counts(polls).answers, 0);
	assert_int_equal(polls_counts(polls).bytes, 0);
}

/* Who waits for a change has been told nothing yet, but knows a state: it is told that one, whatever has become of what is kept. */
static void
test_what_a_waiter_saw_is_not_lost(void **state)
{
	struct polls_ask a = ask_of(2);

	(void)state;
	assert_true(polls_are_idle(polls));
	ask_change(1);
	ask_change(3);
	assert_false(polls_are_idle(polls));
	polls_sent(polls, ticket(1));
	polls_invalidate(polls, id_make(1, 1).resource, false);	/* a cancel, while the call is under way: nothing is kept of it */
	forget();
	result(1, "InProgress");
	expect(1, POLLS_FETCH);		/* it looks again at once */
	polls_leave(polls, ticket(3), false);
	run(MS(2));
	expect_answer(3, "InProgress", POLLS_STALE);
	result(1, "Cancelled");
	expect_answer(1, "Cancelled", POLLS_MISS);
	forget();
	polls_invalidate(polls, id_make(1, 1).resource, false);
	a.changes = true;
	a.keep_bytes = 10;		/* nor of too large a body */
	polls_ask(polls, &a);
	run(MS(2));
	expect(2, POLLS_FETCH);
	result(2, "InProgress");
	polls_leave(polls, ticket(2), false);
	run(MS(2));
	expect_answer(2, "InProgress", POLLS_STALE);
}

/* Nobody waits in another caller's queue; the first call that brings something ends the others that were not sent. */
static void
test_callers_do_not_wait_for_each_other(void **state)
{
	struct polls_ask a = ask_of(3);

	(void)state;
	ask(1);
	ask(2);
	expect(2, -1);
	a.caller = 1;
	polls_ask(polls, &a);
	a.ticket = ticket(4);
	polls_ask(polls, &a);
	run(MS(2));
	expect(3, POLLS_FETCH);
	expect(4, -1);
	polls_sent(polls, ticket(3));
	a.ticket = ticket(5);
	a.caller = 2;
	polls_ask(polls, &a);
	run(MS(2));
	expect(5, -1);			/* that one was sent: whoever asks joins it */
	result(3, "InProgress");
	expect_answer(3, "InProgress", POLLS_MISS);
	expect_answer(4, "InProgress", POLLS_JOIN);
	expect_answer(5, "InProgress", POLLS_JOIN);
	expect_answer(1, "InProgress", POLLS_JOIN);	/* it leads no more */
	expect_answer(2, "InProgress", POLLS_JOIN);
	polls_unsent(polls, ticket(1), true);	/* it crosses that */
	polls_sent(polls, ticket(1));
	result(1, "NotStarted");
	forget();
	ask(6);
	expect_answer(6, "InProgress", POLLS_HIT);
}

/* One of a token that was not seen to succeed leads on, though another's has brought an answer; so does one that was sent. */
static void
test_calls_that_are_not_recalled(void **state)
{
	struct polls_ask a = ask_of(2);

	(void)state;
	ask_with(1, 1);
	ask_with(3, 3);
	a.caller = 1;
	a.shared = false;
	a.token[0] = 1;
	polls_ask(polls, &a);
	run(MS(2));
	expect(2, POLLS_FETCH);
	polls_sent(polls, ticket(2));
	result(1, "InProgress");
	expect(2, POLLS_FETCH);
	expect(3, POLLS_FETCH);
	result(2, "Completed");
	expect_answer(2, "Completed", POLLS_MISS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_polls, close_polls)

int
main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_join_and_hit), TEST(test_ages_and_peeks), TEST(test_leaders_that_end),
		TEST(test_leaving), TEST(test_other_statuses), TEST(test_thrown_back), TEST(test_put_off), TEST(test_order),
		TEST(test_rights), TEST(test_another_tokens_401), TEST(test_invalidation), TEST(test_changes),
		TEST(test_changes_that_do_not_wait), TEST(test_bodies_are_bounded), TEST(test_what_a_waiter_saw_is_not_lost),
		TEST(test_callers_do_not_wait_for_each_other), TEST(test_calls_that_are_not_recalled) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
