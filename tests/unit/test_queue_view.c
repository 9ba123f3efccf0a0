/* Who waits in a queue: the fullest lanes, the oldest, and which own limits are said to hold. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "rules/queue_view.h"

#define ENTRIES 64

static struct queue q;
static struct quota quota;
static struct queue_entry entries[ENTRIES];
static size_t entry_count;
static struct queue_view view;
static struct mono_time now;

/* A queue of 10 a second whose store answers. */
static int
setup(void **state)
{
	struct config_quota stated = { .requests = 100, .window_us = 10 * CLOCK_SECOND, .jitter_us = 250000, .burst = 1 };
	const char *why;

	(void)state;
	assert_true(quota_derive(&stated, &quota, &why));
	now.us = INT64_C(5000000000);
	entry_count = 0;
	queue_init(&q, &quota, 1000, 0, now);
	queue_set_open(&q, true, now);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	queue_fini(&q);
	return 0;
}

/* One more of FLOW waits, under LIMIT where there is one. */
static struct queue_entry *
submit(const char *flow, const struct bucket_limit *limit)
{
	struct queue_lane_key key = { flow, 1, limit, limit != NULL };
	struct queue_entry *e = &entries[entry_count++];

	assert_true(entry_count <= ENTRIES);
	*e = (struct queue_entry){ .class = QUEUE_SUBMIT, .deadline = mono_add(now, 600 * (int64_t)CLOCK_SECOND) };
	assert_int_equal(queue_submit(&q, e, &key, now), QUEUE_TAKEN);
	return e;
}

/* Call the store, which grants nothing and says where each lane's turn is. */
static void
call(const int64_t *places, enum bucket_closed closed)
{
	static struct bucket_ask ask;
	static struct bucket_answer answer;

	memset(&ask, 0, sizeof(ask));
	memset(&answer, 0, sizeof(answer));
	q.again = true;
	assert_true(queue_call(&q, now, &ask));
	answer.rate = quota.requests;
	answer.token = quota.token;
	answer.weight = (int64_t)ask.lane_count;
	answer.closed = closed;
	for (size_t i = 0; i < ask.lane_count; i++)
		answer.lanes[i] = (struct bucket_lane_answer){ 0, places[i], 1 };
	queue_answered(&q, &answer, now);
}

static void
test_nobody(void **state)
{
	(void)state;
	queue_view(&q, now, &view);
	assert_int_equal(view.lane_count + view.more_lanes + view.more_waiting + view.ready + view.making_ready, 0);
	assert_int_equal(view.oldest_us, 0);
}

static void
test_counts_and_ages(void **state)
{
	struct queue_entry *e;

	(void)state;
	submit("one", NULL);
	now = mono_add(now, 3 * CLOCK_SECOND);
	for (int i = 0; i < 3; i++)
		submit("many", NULL);
	e = queue_promote(&q, now);
	assert_non_null(e);
	queue_ready(&q, e);
	assert_non_null(queue_promote(&q, now));
	now = mono_add(now, 2 * CLOCK_SECOND);
	queue_view(&q, now, &view);
	assert_int_equal(view.lane_count, 2);
	assert_string_equal(view.lanes[0].lane->flow, "many");
	assert_int_equal(view.lanes[0].oldest_us, 2 * CLOCK_SECOND);
	assert_int_equal(view.lanes[1].oldest_us, 5 * CLOCK_SECOND);
	assert_int_equal(view.oldest_us, 5 * CLOCK_SECOND);
	assert_int_equal(view.ready, 1);
	assert_int_equal(view.making_ready, 1);
}

/* Who was thrown back stands first and has waited least: the one behind it is the oldest. */
static void
test_thrown_back(void **state)
{
	struct queue_lane_key key = { "etl", 1, NULL, 0 };
	struct queue_entry *e = &entries[ENTRIES - 1];

	(void)state;
	submit("etl", NULL);
	now = mono_add(now, 4 * CLOCK_SECOND);
	*e = (struct queue_entry){ .class = QUEUE_SUBMIT, .first = true, .deadline = mono_add(now, CLOCK_SECOND) };
	assert_int_equal(queue_submit(&q, e, &key, now), QUEUE_TAKEN);
	queue_view(&q, now, &view);
	assert_int_equal(view.lanes[0].oldest_us, 4 * CLOCK_SECOND);
}

static void
test_fullest_of_many(void **state)
{
	char flow[8];

	(void)state;
	for (int i = 0; i < 25; i++) {
		snprintf(flow, sizeof(flow), "f%d", i);
		submit(flow, NULL);
		if (i >= 22)
			submit(flow, NULL);
	}
	queue_view(&q, now, &view);
	assert_int_equal(view.lane_count, QUEUE_VIEW_LANES);
	for (size_t i = 0; i < view.lane_count; i++)
		assert_int_equal(view.lanes[i].lane->count, i < 3 ? 2 : 1);
	assert_int_equal(view.more_lanes, 5);
	assert_int_equal(view.more_waiting, 5);
}

static const struct bucket_limit narrow = { "c:etl", 1, CLOCK_SECOND, 1 }, wide = { "c:etl", 100, CLOCK_SECOND, 1 };

static const struct {
	const struct bucket_limit *limit;
	int64_t place;
	enum bucket_closed closed;
	bool told, open, held;
} holds[] = {
	{ &narrow, BUCKET_PLACE_LATER, BUCKET_OPEN, true, true, true },
	{ &wide, BUCKET_PLACE_LATER, BUCKET_OPEN, true, true, false },	/* the quota is narrower */
	{ &narrow, 0, BUCKET_OPEN, true, true, false },			/* its turn is the next */
	{ &narrow, BUCKET_PLACE_LATER, BUCKET_PAUSED, true, true, false },	/* nobody gets anything */
	{ &narrow, BUCKET_PLACE_LATER, BUCKET_OPEN, false, true, false },	/* the store has not said */
	{ &narrow, BUCKET_PLACE_LATER, BUCKET_OPEN, true, false, false },	/* there is no store */
	{ NULL, BUCKET_PLACE_LATER, BUCKET_OPEN, true, true, false },
};

static void
test_what_holds(void **state)
{
	for (size_t i = 0; i < sizeof(holds) / sizeof(holds[0]); i++) {
		setup(state);
		submit("etl", holds[i].limit);
		if (holds[i].told)
			call(&holds[i].place, holds[i].closed);
		if (!holds[i].open)
			queue_set_open(&q, false, now);
		queue_view(&q, now, &view);
		if (view.lanes[0].held != (holds[i].held ? 1 : 0))
			fail_msg("row %zu: %llx", i, (unsigned long long)view.lanes[0].held);
		teardown(state);
	}
	setup(state);
}

/* Each of two lanes could have five a second; the rule that both are under lets six through, and so holds both. */
static void
test_a_limit_that_two_share(void **state)
{
	static const struct bucket_limit rule = { "r:notebooks", 6, CLOCK_SECOND, 1 };
	static const int64_t places[] = { BUCKET_PLACE_LATER, BUCKET_PLACE_LATER };

	(void)state;
	submit("a", &rule);
	submit("b", &rule);
	call(places, BUCKET_OPEN);
	queue_view(&q, now, &view);
	assert_int_equal(view.lanes[0].held, 1);
	assert_int_equal(view.lanes[1].held, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_counts_and_ages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thrown_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fullest_of_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_limit_that_two_share, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
