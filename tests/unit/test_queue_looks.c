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
	submit_ready(i, &plain);
	entries[i].looks = true;
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

int
main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_looks) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
