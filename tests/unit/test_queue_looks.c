/* The queue of one identity: who has something to be asked of the store besides a token. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "queue_fixture.h"

/* A ready one that has something to be asked of the store for it alone. */
static void
submit_looking(size_t i)
{
	assert_int_equal(submit_to(i, &plain, QUEUE_SUBMIT, S(60)), QUEUE_TAKEN);
	entries[i].looks = true;
	queue_ready(&q, &entries[i]);
}

/*
 * A token of a call is for who went with it: one that came before him, and was ready after, is to be looked for first. (Under load on a
 * fleet an identical run was sent a second time so, though its lost answer was in the store.)
 */
static void
test_looks(void **state)
{
	(void)state;
	setup(100, 10, 10);
	assert_int_equal(submit(0, QUEUE_SUBMIT, S(60)), QUEUE_TAKEN);
	entries[0].looks = true;
	submit_looking(1);
	assert_int_equal(call(), 1);
	queue_look(&q, &entries[1]);
	queue_ready(&q, &entries[0]);
	answer(1, 0);
	assert_int_equal(granted(), 1);
	assert_int_equal(granted(), SIZE_MAX);
	now = mono_add(now, MS(1));
	assert_int_equal(call(), 1);
	queue_look(&q, &entries[0]);
	answer(1, 0);
	assert_int_equal(granted(), 0);
	/* Nor is one that came back. */
	submit_looking(2);
	queue_give_back(&q, &plain, now, now);
	assert_int_equal(granted(), SIZE_MAX);
	now = mono_add(now, MS(1));
	assert_int_equal(call(), 0);		/* it has its token, and asks only for what is its alone, */
	queue_look(&q, &entries[2]);
	assert_int_equal(granted(), SIZE_MAX);
	queue_failed(&q, now);
	assert_int_equal(granted(), SIZE_MAX);
	now = mono_add(now, MS(20));
	assert_int_equal(call(), 0);		/* once more where nobody answered */
	queue_look(&q, &entries[2]);
	answer(0, 0);
	assert_int_equal(granted(), 2);
	/* A poll of the same lane has nothing to be looked for. */
	submit_looking(3);
	assert_int_equal(submit(4, QUEUE_POLL, S(60)), QUEUE_TAKEN);
	queue_ready(&q, &entries[4]);
	queue_give_back(&q, &plain, now, now);
	assert_int_equal(granted(), 4);
}

/* Answer the call: all that was asked for is granted, plenty is left, and TWO instances may take some ahead. */
static void
grant_ahead(void)
{
	struct bucket_answer a = said(0);

	a.left = 100000;
	for (size_t i = 0; i < ask.lane_count; i++) {
		a.lanes[i].granted = ask.lanes[i].ready;
		a.granted += ask.lanes[i].ready;
	}
	queue_set_ahead(&q, 2);
	queue_answered(&q, &a, now);
}

/* A queue with forty tokens in hand, and nobody in it. */
static void
setup_ahead(void)
{
	setup(1000000, 10, ENTRIES);
	for (size_t i = 0; i < 8; i++)
		submit_ready(i, &plain);
	assert_int_equal(call(), 8);
	grant_ahead();
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(granted(), i);
	now = mono_add(now, MS(2));
	submit_ready(0, &plain);
	assert_int_equal(call(), 1 + 40);
	grant_ahead();
	assert_int_equal(granted(), 0);
	now = mono_add(now, MS(3));
}

/* With a token in hand, who came since is glanced for, several at once; who comes meanwhile waits for the next glance. */
static void
test_glance(void **state)
{
	(void)state;
	setup_ahead();
	assert_false(queue_glance(&q));		/* nobody is there */
	submit_looking(0);
	submit_looking(1);
	assert_int_equal(granted(), SIZE_MAX);
	assert_int_equal(call(), -1);
	assert_true(queue_glance(&q));
	assert_false(queue_glance(&q));		/* one at a time */
	submit_looking(2);
	assert_int_equal(granted(), SIZE_MAX);
	queue_glanced(&q, true);
	assert_int_equal(granted(), 0);
	assert_int_equal(granted(), 1);
	assert_int_equal(granted(), SIZE_MAX);
	assert_true(queue_glance(&q));
	queue_glanced(&q, true);
	assert_int_equal(granted(), 2);
	submit_ready(3, &plain);		/* nothing can be there for this one */
	assert_int_equal(granted(), 3);
	assert_false(queue_glance(&q));
}

/* An answer that says so of all counts as a glance that was made when its call was. */
static void
test_a_call_is_a_glance(void **state)
{
	(void)state;
	setup_ahead();
	for (size_t i = 0; i < 21; i++) {
		submit_ready(0, &plain);
		assert_int_equal(granted(), 0);
	}
	submit_looking(0);
	assert_true(call() > 20);		/* less than half is in hand; nobody is asked for */
	assert_int_equal(ask.lanes[0].waiting, ask.lanes[0].ready);
	submit_looking(1);
	grant_ahead();
	assert_int_equal(granted(), 0);
	assert_int_equal(granted(), SIZE_MAX);
	assert_true(queue_glance(&q));
}

/* Something is there, or nobody says: the tokens lapse, and who is ready goes with a call. */
static void
test_a_glance_that_finds_something(void **state)
{
	(void)state;
	setup_ahead();
	submit_looking(0);
	assert_true(queue_glance(&q));
	queue_glanced(&q, false);
	assert_int_equal(granted(), SIZE_MAX);
	assert_false(queue_glance(&q));
	assert_int_equal(call(), 1);
	queue_look(&q, &entries[0]);
	answer(1, 0);
	assert_int_equal(granted(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_looks), TEST(test_glance), TEST(test_a_call_is_a_glance),
		TEST(test_a_glance_that_finds_something) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
