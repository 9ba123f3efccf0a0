/* The queue of one identity: order, bounds, estimates, wake times, and random walks against the promise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "rules/bucket.h"
#include "rules/queue.h"

#define ENTRIES 64
#define MS(n) ((int64_t)(n) * CLOCK_MS)

static struct queue q;
static struct quota quota;
static struct queue_entry entries[ENTRIES];
static struct mono_time now;

/* A queue of a quota of REQUESTS in WINDOW_S with an open store that was looked at. */
static void
setup(int64_t requests, int64_t window_s, size_t capacity)
{
	struct config_quota stated = { requests, window_s * CLOCK_SECOND, 250000, 0, 1 };
	const char *why;

	assert_true(quota_derive(&stated, &quota, &why));
	now.us = INT64_C(5000000000);
	queue_init(&q, &quota, capacity, 0, now);
	queue_set_open(&q, true, now);
	assert_int_equal(queue_call(&q, now), 0);	/* the first look starts the filling */
	queue_called(&q, 0, now);
	queue_answered(&q, &(struct bucket_take){ 0, 0, .refill = q.quota.refill }, now);
}

static enum queue_verdict
submit(size_t i, enum queue_class class, int64_t patience_us)
{
	entries[i] = (struct queue_entry){ .class = class, .deadline = mono_add(now, patience_us) };
	return queue_submit(&q, &entries[i], now);
}

/* Answer a call for what the queue asks for, with GRANTED tokens and a wait. */
static void
answer(int64_t asked, int64_t granted, int64_t wait_us)
{
	assert_int_equal(queue_call(&q, now), asked);
	queue_called(&q, asked, now);
	assert_int_equal(queue_call(&q, now), -1);	/* one call under way */
	queue_answered(&q, &(struct bucket_take){ granted, wait_us, .refill = q.quota.refill }, now);
}

static size_t
index_of(const struct queue_entry *e)
{
	return e ? (size_t)(e - entries) : SIZE_MAX;
}

static size_t
granted(void)
{
	struct mono_time asked_at;

	return index_of(queue_grant(&q, now, &asked_at));
}

/* At an idle bucket a request is next at once, and granted when it is ready. */
static void
test_idle(void **state)
{
	(void)state;
	setup(100, 10, 10);
	assert_int_equal(submit(0, QUEUE_SUBMIT, MS(100)), QUEUE_TAKEN);
	assert_int_equal(index_of(queue_promote(&q, now)), 0);
	assert_int_equal(queue_call(&q, now), -1);	/* not ready yet: no token is taken */
	queue_ready(&q, &entries[0]);
	answer(1, 1, 100000);
	assert_int_equal(granted(), 0);
	assert_int_equal(q.count, 0);
	queue_fini(&q);
}

/* Cancels, then submits, then polls; by arrival within a class, whoever was ready first. */
static void
test_order(void **state)
{
	static const enum queue_class classes[] = { QUEUE_POLL, QUEUE_SUBMIT, QUEUE_SUBMIT, QUEUE_CANCEL, QUEUE_POLL, QUEUE_CANCEL };
	static const size_t order[] = { 3, 5, 1, 2, 0, 4 };

	(void)state;
	setup(10000, 1, 10);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(submit(i, classes[i], MS(20000)), QUEUE_TAKEN);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(index_of(queue_promote(&q, now)), order[i]);
	for (size_t i = 6; i-- > 0;)
		queue_ready(&q, &entries[i]);
	answer(6, 6, 0);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(granted(), order[i]);
	assert_int_equal(granted(), SIZE_MAX);
	queue_fini(&q);
}

/* Under a load of submits one grant in ten is a poll's. */
static void
test_floor_of_polls(void **state)
{
	int polls = 0;

	(void)state;
	setup(10000, 1, ENTRIES);
	for (size_t i = 0; i < ENTRIES; i++)
		assert_int_equal(submit(i, i < 40 ? QUEUE_SUBMIT : QUEUE_POLL, MS(20000)), QUEUE_TAKEN);
	while (queue_promote(&q, now))
		;
	for (size_t i = 0; i < ENTRIES; i++)
		queue_ready(&q, &entries[i]);
	answer(ENTRIES, 40, 1000);
	for (int i = 0; i < 40; i++)
		polls += granted() >= 40;
	assert_int_equal(polls, 4);
	queue_fini(&q);
}

/* A poll is told to make ready too where submits fill every place: else it would never be ready for its floor. */
static void
test_polls_are_told(void **state)
{
	int polls = 0, told = 0;
	struct queue_entry *e;

	(void)state;
	setup(10, 10, ENTRIES);
	for (size_t i = 0; i < 20; i++)
		submit(i, i < 10 ? QUEUE_SUBMIT : QUEUE_POLL, MS(60000));
	while ((e = queue_promote(&q, now)) != NULL) {
		polls += e->class == QUEUE_POLL;
		told++;
	}
	assert_int_equal(polls, 1);
	assert_int_equal(told, 2);	/* one token is there, the next takes over a second */
	submit(30, QUEUE_CANCEL, MS(60000));
	assert_int_equal(index_of(queue_promote(&q, now)), 30);	/* a cancel does not wait for them */
	queue_fini(&q);
}

/* Who is next and never ready delays nobody behind it. */
static void
test_slow_is_passed(void **state)
{
	struct mono_time at;

	(void)state;
	setup(10, 10, 10);
	submit(0, QUEUE_SUBMIT, MS(20000));
	submit(1, QUEUE_SUBMIT, MS(20000));
	assert_int_equal(index_of(queue_promote(&q, now)), 0);
	assert_null(queue_promote(&q, now));
	assert_true(queue_wake(&q, now, &at));
	assert_true(mono_since(at, now) <= QUEUE_SLOW_US);
	now = mono_add(now, QUEUE_SLOW_US);
	assert_int_equal(index_of(queue_promote(&q, now)), 1);
	queue_ready(&q, &entries[1]);
	answer(1, 1, 1000000);
	assert_int_equal(granted(), 1);
	queue_ready(&q, &entries[0]);
	now = mono_add(now, 1100000);
	answer(1, 1, 1000000);
	assert_int_equal(granted(), 0);
	queue_fini(&q);
}

/* Full, or too late at the present rate: refused at once; who can be served is taken. */
static void
test_refused_at_once(void **state)
{
	size_t i = 0;

	(void)state;
	setup(100, 10, 50);
	while (submit(i, QUEUE_SUBMIT, MS(2000)) == QUEUE_TAKEN)
		i++;
	assert_in_range(i, 20, 21);	/* 9.64 a second for 2 s, and the one that is there */
	assert_int_equal(submit(i, QUEUE_SUBMIT, MS(2000)), QUEUE_TOO_LATE);
	assert_int_equal(submit(i, QUEUE_CANCEL, MS(2000)), QUEUE_TAKEN);	/* before all of them */
	for (i++; i < 50; i++)
		assert_int_equal(submit(i, QUEUE_SUBMIT, MS(20000)), QUEUE_TAKEN);
	assert_int_equal(submit(50, QUEUE_CANCEL, MS(20000)), QUEUE_FULL);
	queue_fini(&q);
}

/* Others take most of the tokens: after a while the estimate knows. */
static void
test_share_is_learnt(void **state)
{
	(void)state;
	setup(100, 10, ENTRIES);
	for (size_t i = 0; i < 50; i++)
		submit(i, QUEUE_SUBMIT, MS(600000));
	for (size_t i = 0; i < 40; i++) {	/* one in three of ten a second */
		while (queue_promote(&q, now))
			;
		queue_ready(&q, &entries[i]);
		now = mono_add(now, 311000);
		answer(1, 1, 0);
		assert_int_equal(granted(), i);
	}
	assert_true(q.share > 0.3 && q.share < 0.37);
	assert_int_equal(submit(60, QUEUE_SUBMIT, MS(2500)), QUEUE_TOO_LATE);	/* ten before it, at three a second */
	assert_int_equal(submit(60, QUEUE_SUBMIT, MS(4000)), QUEUE_TAKEN);
	queue_fini(&q);
}

/* Nobody is made next long before its token, and the wake time is when it is to be. */
static void
test_next_a_second_before(void **state)
{
	struct mono_time at;

	(void)state;
	setup(2, 3600, 10);
	now = mono_add(now, 1000);
	queue_called(&q, 0, now);
	queue_answered(&q, &(struct bucket_take){ 0, INT64_C(3000000000), .refill = q.quota.refill }, now);
	assert_int_equal(submit(0, QUEUE_SUBMIT, INT64_C(3600000000)), QUEUE_TAKEN);
	assert_null(queue_promote(&q, now));
	assert_true(queue_wake(&q, now, &at));
	assert_in_range(mono_since(at, now), INT64_C(2999000000) - 10, INT64_C(2999000000) + 10);
	now = mono_add(at, -1000);
	assert_null(queue_promote(&q, now));
	now = at;
	assert_int_equal(index_of(queue_promote(&q, now)), 0);
	queue_ready(&q, &entries[0]);
	assert_int_equal(queue_call(&q, now), -1);	/* nothing before t */
	assert_true(queue_wake(&q, now, &at));
	assert_in_range(mono_since(at, now), 999000, 1001000);
	now = at;
	assert_int_equal(queue_call(&q, now), 1);
	queue_fini(&q);
}

/* Unused tokens go to who is ready within J/2, once, and lapse after it; a cancelled one's token goes to the next. */
static void
test_tokens_in_hand(void **state)
{
	struct mono_time asked_at;

	(void)state;
	setup(100, 10, 10);
	submit(0, QUEUE_SUBMIT, MS(20000));
	submit(1, QUEUE_SUBMIT, MS(20000));
	queue_ready(&q, &entries[0]);
	assert_int_equal(queue_call(&q, now), 1);
	queue_called(&q, 1, now);
	queue_remove(&q, &entries[0]);	/* its caller goes while the call is under way */
	queue_answered(&q, &(struct bucket_take){ 1, 100000, .refill = q.quota.refill }, now);
	assert_int_equal(granted(), SIZE_MAX);
	now = mono_add(now, 100000);
	queue_ready(&q, &entries[1]);
	assert_ptr_equal(queue_grant(&q, now, &asked_at), &entries[1]);
	assert_int_equal(mono_since(now, asked_at), 100000);
	submit(2, QUEUE_SUBMIT, MS(20000));
	queue_ready(&q, &entries[2]);
	queue_give_back(&q, asked_at);
	now = mono_add(now, 25000);	/* J/2 has passed */
	assert_int_equal(granted(), SIZE_MAX);
	assert_int_equal(q.held_count, 0);
	queue_fini(&q);
}

/* A shut queue keeps everybody, tells nobody, and ends them at their own time. */
static void
test_store_away(void **state)
{
	struct mono_time at;

	(void)state;
	setup(100, 10, 10);
	submit(0, QUEUE_SUBMIT, MS(500));
	submit(1, QUEUE_SUBMIT, MS(300));
	queue_ready(&q, &entries[0]);
	queue_called(&q, 1, now);
	queue_failed(&q, now);
	queue_set_open(&q, false, now);
	assert_null(queue_promote(&q, now));
	now = mono_add(now, MS(200));
	assert_int_equal(queue_call(&q, now), -1);
	assert_true(queue_wake(&q, now, &at));
	assert_int_equal(mono_since(at, now), MS(100));
	assert_null(queue_expire(&q, now));
	now = at;
	assert_ptr_equal(queue_expire(&q, now), &entries[1]);
	queue_set_open(&q, true, now);
	answer(1, 1, 0);
	assert_int_equal(granted(), 0);
	queue_fini(&q);
}

/* Retry-After: 1 to 60, and at most as many callers in a second as tokens. */
static void
test_retry_after(void **state)
{
	int returns[61] = { 0 };

	(void)state;
	setup(100, 10, 10);
	for (int i = 0; i < 400; i++) {
		int64_t s = queue_retry_after(&q, QUEUE_SUBMIT, MS(20000), now);

		assert_in_range(s, 1, 60);
		returns[s]++;
	}
	for (int s = 1; s <= 60; s++)
		assert_true(returns[s] <= 11);
	setup(2, 3600, 10);	/* an hour between tokens cannot be said in a minute: half of it, and spread */
	assert_int_equal(submit(0, QUEUE_SUBMIT, INT64_C(3600000000)), QUEUE_TAKEN);
	for (int i = 0; i < 31; i++)
		assert_in_range(queue_retry_after(&q, QUEUE_SUBMIT, MS(20000), now), 30, 60);
	assert_int_equal(queue_retry_after(&q, QUEUE_SUBMIT, MS(20000), now), 30);
	queue_fini(&q);
}

/* --- random walks: N instances with queues of their own on one bucket --- */

#define INSTANCES 3
#define WALK_ENTRIES 200

struct instance {
	struct queue queue;
	struct queue_entry entries[WALK_ENTRIES];
	struct mono_time answer_at;		/* of the call under way */
	struct bucket_take take;
	struct mono_time ready_at[WALK_ENTRIES];
	size_t taken, expired;
};

static struct instance instances[INSTANCES];
static int64_t grants[100000];
static size_t grant_count;

/* Do what the limiter does in a turn, and what the callers do. */
static void
walk_turn(struct instance *in, struct bucket *bucket)
{
	struct queue *queue = &in->queue;
	struct queue_entry *e;
	struct mono_time asked_at;
	int64_t count;

	if (queue->calling && now.us >= in->answer_at.us)
		queue_answered(queue, &in->take, now);
	for (size_t i = 0; i < WALK_ENTRIES; i++) {
		e = &in->entries[i];
		if (e->stage == QUEUE_OUT) {
			*e = (struct queue_entry){ .class = (enum queue_class)(lrand48() % QUEUE_CLASS_COUNT),
				.deadline = mono_add(now, 1 + lrand48() % 20000000) };
			(void)queue_submit(queue, e, now);
		}
		if ((e->stage == QUEUE_NEXT || e->stage == QUEUE_SLOW) && now.us >= in->ready_at[i].us)
			queue_ready(queue, e);
	}
	while ((e = queue_expire(queue, now)) != NULL)
		in->expired++;
	while ((e = queue_grant(queue, now, &asked_at)) != NULL) {
		assert_true(mono_since(now, asked_at) < quota.jitter_us / 2);
		assert_true(mono_since(e->deadline, now) > 0);
		in->taken++;
		grants[grant_count++] = now.us;
	}
	while ((e = queue_promote(queue, now)) != NULL)
		in->ready_at[e - in->entries] = mono_add(now, lrand48() % 100 == 0 ? 30000000 : lrand48() % 60000);
	count = queue_call(queue, now);
	if (count >= 0) {
		queue_called(queue, count, now);
		in->take = bucket_take(bucket, &quota, count, 0, now.us + 100);	/* arrives, */
		in->answer_at = mono_add(now, 100 + lrand48() % 900);		/* and is answered */
	}
}

/* Jump to the next time at which any of them has something to do. */
static void
walk_sleep(void)
{
	struct mono_time next = mono_add(now, 50000), at;

	for (size_t k = 0; k < INSTANCES; k++) {
		struct instance *in = &instances[k];

		if (queue_wake(&in->queue, now, &at) && at.us < next.us)
			next = at;
		if (in->queue.calling && in->answer_at.us < next.us)
			next = in->answer_at;
	}
	now.us = next.us > now.us ? next.us + lrand48() % 300 : now.us + 50;	/* timers are a little late */
}

static void
walk(uint64_t seed, int64_t requests, int64_t window_s, double least)
{
	struct bucket bucket = { 0 };
	struct mono_time start;
	double used;

	setup(requests, window_s, 10);
	queue_fini(&q);
	srand48((long)seed);
	grant_count = 0;
	start = now;
	for (size_t k = 0; k < INSTANCES; k++) {
		instances[k] = (struct instance){ 0 };
		queue_init(&instances[k].queue, &quota, 1000, 0, now);
		queue_set_open(&instances[k].queue, true, now);
		for (size_t i = 0; i < WALK_ENTRIES; i++)
			instances[k].entries[i].stage = QUEUE_OUT;
	}
	while (mono_since(now, start) < 6 * window_s * CLOCK_SECOND) {
		for (size_t k = 0; k < INSTANCES; k++)
			walk_turn(&instances[k], &bucket);
		walk_sleep();
	}
	for (size_t i = 0; i + (size_t)requests < grant_count; i++)
		assert_true(grants[i + (size_t)requests] - grants[i] > quota.window_us + quota.jitter_us / 2);
	used = (double)grant_count / (double)requests / 6;
	print_message("seed %" PRIu64 ": %" PRId64 " in %" PRId64 " s: %.1f %% of the quota (permitted %.1f), shares %zu %zu %zu\n",
	    seed, requests, window_s, used * 100, quota_utilisation(&quota) * 100, instances[0].taken, instances[1].taken,
	    instances[2].taken);
	assert_true(used >= least);
	for (size_t k = 0; k < INSTANCES; k++)
		assert_true(grant_count < 50 || instances[k].taken > grant_count / 4);
	for (size_t k = 0; k < INSTANCES; k++)
		queue_fini(&instances[k].queue);
}

static void
test_walks(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);

	(void)state;
	walk(seed, 100, 10, 0.955);
	walk(seed + 1, 200, 60, 0.98);
	walk(seed + 2, 1000, 10, 0.96);
	walk(seed + 3, 2000, 1, 0.77);	/* W + J + L is 1.27 W */
	walk(seed + 4, 5, 60, 0.72);	/* (Q - 1) / Q of 30 is 23; the first token takes its time, which leaves 22 */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle), cmocka_unit_test(test_order), cmocka_unit_test(test_floor_of_polls),
		cmocka_unit_test(test_polls_are_told), cmocka_unit_test(test_slow_is_passed), cmocka_unit_test(test_refused_at_once),
		cmocka_unit_test(test_share_is_learnt), cmocka_unit_test(test_next_a_second_before),
		cmocka_unit_test(test_tokens_in_hand), cmocka_unit_test(test_store_away), cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
