/* gate/runs: what is known of the runs that were sent lately. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gate/runs.h"

#define SECOND (int64_t)CLOCK_SECOND

static const struct str none = { NULL, 0 };
static struct runs *runs;

/* A UUID with N in it; the text is good until the eighth call after this. */
static struct str
uuid(unsigned n)
{
	static char texts[8][37];
	static unsigned at;
	char *text = texts[at++ % 8];

	snprintf(text, 37, "%08x-0000-4000-8000-000000000000", n);
	return (struct str){ text, 36 };
}

static struct mono_time
at(int64_t seconds)
{
	return (struct mono_time){ seconds * SECOND };
}

static int
setup(void **state)
{
	(void)state;
	runs = runs_new(at(1000));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	runs_free(&runs);
	assert_null(runs);
	return 0;
}

static void
test_a_run_is_open_until_its_instance_is_known(void **state)
{
	(void)state;
	runs_sent(runs, uuid(1), uuid(10), at(2000));
	assert_true(runs_any_open(runs, uuid(1), uuid(11), at(1990), at(2010)));
	assert_false(runs_any_open(runs, uuid(1), uuid(10), at(1990), at(2010)));	/* itself */
	assert_false(runs_any_open(runs, uuid(2), uuid(11), at(1990), at(2010)));	/* another item's */
	assert_false(runs_any_open(runs, uuid(1), uuid(11), at(2001), at(2010)));	/* at another time */
	assert_false(runs_any_open(runs, uuid(1), uuid(11), at(1990), at(1999)));
	runs_ended(runs, uuid(10), RUNS_UNKNOWN, none);
	assert_true(runs_any_open(runs, uuid(1), uuid(11), at(1990), at(2010)));
	runs_ended(runs, uuid(10), RUNS_INSTANCE, uuid(0xabc));
	assert_false(runs_any_open(runs, uuid(1), uuid(11), at(1990), at(2010)));
	assert_true(runs_has_instance(runs, uuid(1), STR("00000ABC-0000-4000-8000-000000000000")));
	assert_false(runs_has_instance(runs, uuid(2), uuid(0xabc)));
}

static void
test_what_started_nothing_is_forgotten(void **state)
{
	(void)state;
	runs_sent(runs, uuid(1), uuid(10), at(2000));
	runs_ended(runs, uuid(10), RUNS_NOTHING, none);
	assert_false(runs_any_open(runs, uuid(1), uuid(11), at(1990), at(2010)));
	runs_ended(runs, uuid(10), RUNS_UNKNOWN, none);	/* not known any more: nothing */
	assert_false(runs_any_open(runs, uuid(1), uuid(11), at(1990), at(2010)));
}

static void
test_sent_again_it_counts_from_then(void **state)
{
	(void)state;
	runs_sent(runs, uuid(1), uuid(10), at(2000));
	runs_ended(runs, uuid(10), RUNS_NOTHING, none);	/* that was answered 429 */
	runs_sent(runs, uuid(1), uuid(10), at(2060));
	assert_false(runs_any_open(runs, uuid(1), uuid(11), at(1990), at(2010)));
	assert_true(runs_any_open(runs, uuid(1), uuid(11), at(2050), at(2070)));
}

/* What is too old is given up, and of its time nothing is said any more. */
static void
test_it_knows_how_far_back_it_knows(void **state)
{
	int64_t keep = RUNS_KEEP_US / SECOND;

	(void)state;
	assert_true(runs_knows_since(runs, at(1000)));
	assert_false(runs_knows_since(runs, at(999)));
	runs_sent(runs, uuid(1), uuid(10), at(2000));
	runs_sent(runs, uuid(1), uuid(11), at(2000 + keep));
	assert_true(runs_any_open(runs, uuid(1), uuid(12), at(2000), at(2000)));
	runs_sent(runs, uuid(1), uuid(12), at(2001 + keep));
	assert_false(runs_any_open(runs, uuid(1), uuid(13), at(2000), at(2000)));
	assert_false(runs_knows_since(runs, at(2000)));
	assert_true(runs_knows_since(runs, at(2001)));
}

/* More than there is room for: the oldest go, whatever their age. */
static void
test_there_is_a_bound(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 70000; n++)
		runs_sent(runs, uuid(n % 500), uuid(n), at(2000 + n / 100));
	assert_false(runs_knows_since(runs, at(2000)));
	assert_true(runs_knows_since(runs, at(2050)));
	assert_true(runs_any_open(runs, uuid(69999 % 500), uuid(1), at(2699), at(2699)));
}

/* The ring was full, and more than once: what is in it is found by request and by item, and what it had before is not. */
static void
test_a_full_ring_finds_its_own(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 200000; n++) {
		runs_sent(runs, uuid(n / 100), uuid(n), at(2000 + n / 100));
		runs_ended(runs, uuid(n), n % 2 ? RUNS_INSTANCE : RUNS_NOTHING, uuid(n));
	}
	for (unsigned n = 140001; n < 200000; n += 1998)
		assert_true(runs_has_instance(runs, uuid(n / 100), uuid(n)));
	assert_false(runs_has_instance(runs, uuid(1400), uuid(140000)));	/* it started nothing */
	assert_false(runs_has_instance(runs, uuid(1000), uuid(100001)));
	assert_false(runs_any_open(runs, uuid(1999), uuid(1), at(2000), at(9999)));
	runs_ended(runs, uuid(100001), RUNS_NOTHING, none);	/* not known any more */
	assert_true(runs_knows_since(runs, at(3345)));
	assert_false(runs_knows_since(runs, at(3340)));
}

/* All of one item: looking for a request once went through all runs of its item, which made each slower than the one before. */
static void
test_one_item_may_have_them_all(void **state)
{
	clock_t began = clock();

	(void)state;
	for (unsigned n = 0; n < 70000; n++) {
		runs_sent(runs, uuid(1), uuid(n), at(2000 + n / 100));
		runs_ended(runs, uuid(n), RUNS_INSTANCE, uuid(n));
	}
	assert_true(runs_has_instance(runs, uuid(1), uuid(69999)));
	assert_true(clock() - began < 3 * CLOCKS_PER_SEC);	/* 0.1 s; by item 9 s */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_run_is_open_until_its_instance_is_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_started_nothing_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sent_again_it_counts_from_then, setup, teardown),
		cmocka_unit_test_setup_teardown(test_it_knows_how_far_back_it_knows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_there_is_a_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_full_ring_finds_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_item_may_have_them_all, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
