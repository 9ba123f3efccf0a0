/* Counters: several threads count, one adds up; slots of callers outlive a reload that reorders them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>

#include "gate/stats.h"

#define THREADS 3
#define COUNTS 100000

static void *
count(void *arg)
{
	struct stats *stats = arg;

	for (int i = 0; i < COUNTS; i++) {
		stats_add(&stats->outcomes[RESULT_ACCEPTED], 1);
		stats_observe(&stats->upstream_duration, i % 2000);
	}
	return NULL;
}

static void
test_threads_lose_no_count(void **state)
{
	struct stats *stats = stats_new();
	pthread_t threads[THREADS];
	uint64_t observed = 0;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, stats), 0);
	while (atomic_load(&stats->outcomes[RESULT_ACCEPTED]) < COUNTS)
		continue;	/* a reader beside the writers */
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < STATS_BUCKETS; i++)
		observed += atomic_load(&stats->upstream_duration.buckets[i]);
	assert_int_equal(atomic_load(&stats->outcomes[RESULT_ACCEPTED]), THREADS * COUNTS);
	assert_int_equal(observed, THREADS * COUNTS);
	stats_free(&stats);
}

static void
test_histogram_bounds(void **state)
{
	static const struct { int64_t us; int bucket; } cases[] = { { -1, 0 }, { 0, 0 }, { 1000, 0 }, { 1001, 1 }, { 2000, 1 },
		{ 2001, 2 }, { 65536000, 16 }, { 65536001, 17 }, { INT64_MAX / 2, 17 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stats *stats = stats_new();

		stats_observe(&stats->upstream_duration, cases[i].us);
		assert_int_equal(atomic_load(&stats->upstream_duration.buckets[cases[i].bucket]), 1);
		stats_free(&stats);
	}
}

static void
test_code_slots(void **state)
{
	static const struct { int status, slot_status; } cases[] = { { 202, 202 }, { 0, 0 }, { 429, 429 }, { 299, 200 },
		{ 418, 400 }, { 599, 500 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(stats_code_at(stats_code_slot(cases[i].status)), cases[i].slot_status);
}

/* A reload turned two callers round and their counters changed hands. */
static void
test_labels_follow_names(void **state)
{
	struct config_identity identity = { .name = STR_INIT("default") };
	struct config_caller before[2] = { { .name = STR_INIT("a") }, { .name = STR_INIT("b") } };
	struct config_caller after[3] = { { .name = STR_INIT("c") }, { .name = STR_INIT("b") }, { .name = STR_INIT("a") } };
	struct config one = { .callers = before, .caller_count = 2, .identities = &identity, .identity_count = 1 };
	struct config two = { .callers = after, .caller_count = 3, .identities = &identity, .identity_count = 1 };
	static struct stats_labels labels;

	(void)state;
	stats_label(&labels, &one);
	stats_label(&labels, &two);
	assert_int_equal(stats_caller_slot(&before[0]), stats_caller_slot(&after[2]));
	assert_int_equal(stats_caller_slot(&before[1]), stats_caller_slot(&after[1]));
	assert_int_equal(stats_caller_slot(&after[0]), 2);
	assert_int_equal(stats_caller_slot(NULL), STATS_CALLER_UNKNOWN);
	stats_labels_fini(&labels);
}

static void
test_many_callers_share_other(void **state)
{
	struct config_identity identity = { .name = STR_INIT("default") };
	static struct config_caller callers[STATS_CALLERS_MAX + 5];
	static char names[STATS_CALLERS_MAX + 5][32];
	struct config config = { .callers = callers, .caller_count = STATS_CALLERS_MAX + 5, .identities = &identity,
		.identity_count = 1 };
	static struct stats_labels labels;

	(void)state;
	for (size_t i = 0; i < config.caller_count; i++) {
		snprintf(names[i], sizeof(names[i]), "caller-%zu", i);
		callers[i].name = str_from(names[i]);
	}
	stats_label(&labels, &config);
	assert_int_equal(stats_caller_slot(&callers[STATS_CALLERS_MAX - 1]), STATS_CALLERS_MAX - 1);
	assert_int_equal(stats_caller_slot(&callers[STATS_CALLERS_MAX]), STATS_CALLER_OTHER);
	assert_int_equal(stats_caller_slot(&callers[STATS_CALLERS_MAX + 4]), STATS_CALLER_OTHER);
	stats_labels_fini(&labels);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_lose_no_count),
		cmocka_unit_test(test_histogram_bounds),
		cmocka_unit_test(test_code_slots),
		cmocka_unit_test(test_labels_follow_names),
		cmocka_unit_test(test_many_callers_share_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
