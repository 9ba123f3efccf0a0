/* Over how many workers connections are spread: one until it is busy, all where they are, one again where that carries it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "gate/spread.h"

#define WORKERS 3

struct watched {
	struct spread spread;
	struct spread_window windows[WORKERS];
	int64_t waited_us[WORKERS];
	struct mono_time now;
};

static void
watched_init(struct watched *w)
{
	memset(w, 0, sizeof(*w));
	w->now.us = CLOCK_SECOND;
	spread_init(&w->spread, WORKERS, false);
}

/* A window passes in which the workers are so busy; who is at 0 notes nothing. */
static void
pass(struct watched *w, const int busy_percent[WORKERS])
{
	w->now.us += SPREAD_WINDOW_US;
	for (size_t i = 0; i < WORKERS; i++) {
		w->waited_us[i] += SPREAD_WINDOW_US * (100 - busy_percent[i]) / 100;
		if (busy_percent[i] > 0 && spread_is_due(&w->spread, &w->windows[i], w->now))
			spread_note(&w->spread, i, &w->windows[i], w->now, w->waited_us[i]);
	}
}

/* COUNT windows like that; over how many workers connections are spread then. */
static size_t
pass_many(struct watched *w, int count, int first, int second, int third)
{
	const int busy_percent[WORKERS] = { first, second, third };

	for (int i = 0; i < count; i++)
		pass(w, busy_percent);
	return atomic_load(&w->spread.active);
}

static void
test_one_carries_what_it_can(void **state)
{
	struct watched w;

	(void)state;
	watched_init(&w);
	assert_int_equal(pass_many(&w, 50, 85, 0, 0), 1);
	for (size_t number = 0; number < 10; number++)
		assert_int_equal(spread_home(&w.spread, number), 0);
}

static void
test_grows_and_shrinks(void **state)
{
	struct watched w;

	(void)state;
	watched_init(&w);
	assert_int_equal(pass_many(&w, 2, 99, 0, 0), 2);
	assert_int_equal(pass_many(&w, 50, 70, 70, 0), 2);
	assert_int_equal(pass_many(&w, 2, 99, 80, 0), 3);
	assert_int_equal(pass_many(&w, 50, 99, 99, 99), 3);
	assert_int_equal(pass_many(&w, 50, 50, 50, 50), 2);
	assert_int_equal(pass_many(&w, 50, 35, 35, 0), 1);
}

/* A second worker was just joined: that it has told nothing yet is no sign that it is not needed. */
static void
test_waits_for_those_who_joined(void **state)
{
	struct watched w;

	(void)state;
	watched_init(&w);
	assert_int_equal(pass_many(&w, 2, 99, 0, 0), 2);
	assert_int_equal(pass_many(&w, 2, 60, 0, 0), 2);
	assert_int_equal(pass_many(&w, 6, 60, 60, 0), 2);
	assert_int_equal(pass_many(&w, 10, 60, 0, 0), 1);	/* it has had nothing to do */
}

/* A pause is no rest between requests, and no measure of what comes behind it. */
static void
test_pauses_tell_nothing(void **state)
{
	struct watched w;

	(void)state;
	watched_init(&w);
	pass_many(&w, 1, 50, 0, 0);
	for (int i = 0; i < 10; i++) {
		w.now.us += 10 * SPREAD_WINDOW_US;	/* and WAITED_US stays: as if it had been busy */
		pass_many(&w, 1, 50, 0, 0);
		assert_int_equal(atomic_load(&w.spread.active), 1);
	}
}

/* With all at work a connection stays where it was accepted. */
static void
test_all_at_work(void **state)
{
	struct watched w;

	(void)state;
	watched_init(&w);
	pass_many(&w, 2, 99, 0, 0);
	pass_many(&w, 2, 99, 99, 0);
	for (size_t k = 0; k < WORKERS; k++)
		for (size_t n = 0; n < 5; n++)
			assert_int_equal(spread_home(&w.spread, k + n * WORKERS), k);
}

static void
test_stop(void **state)
{
	struct watched w;

	(void)state;
	watched_init(&w);
	assert_true(spread_begin(&w.spread) && !spread_is_quiet(&w.spread));
	spread_stop(&w.spread);
	assert_false(spread_begin(&w.spread) || spread_is_quiet(&w.spread));
	spread_end(&w.spread);
	assert_true(spread_is_quiet(&w.spread));
}

/* A single worker is never asked. */
static void
test_one_worker(void **state)
{
	struct spread spread = { .count = 0 };
	struct spread_window window = { { 0 }, 0 };

	(void)state;
	spread_init(&spread, 1, false);
	assert_false(spread_is_due(&spread, &window, (struct mono_time){ CLOCK_SECOND }));
}

/* All at work at any load, where that was asked for. */
static void
test_all(void **state)
{
	struct spread spread = { .count = 0 };

	(void)state;
	spread_init(&spread, WORKERS, true);
	assert_false(spread_moves(&spread));
	assert_int_equal(spread_active(&spread), WORKERS);
	for (size_t number = 0; number < 2 * WORKERS; number++)
		assert_int_equal(spread_home(&spread, number), number % WORKERS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_carries_what_it_can), cmocka_unit_test(test_grows_and_shrinks),
		cmocka_unit_test(test_waits_for_those_who_joined), cmocka_unit_test(test_pauses_tell_nothing),
		cmocka_unit_test(test_all_at_work), cmocka_unit_test(test_stop), cmocka_unit_test(test_one_worker),
		cmocka_unit_test(test_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
