/* A queue with an open store, and requests for it. */
#ifndef JOBGATE_TESTS_QUEUE_FIXTURE_H
#define JOBGATE_TESTS_QUEUE_FIXTURE_H

#define TEST_UNUSED __attribute__((unused))

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rules/member.h"
#include "rules/queue.h"

#define ENTRIES 64
#define MS(n) ((int64_t)(n) * CLOCK_MS)
#define S(n) ((int64_t)(n) * CLOCK_SECOND)
#define APART MS(5)
#define GATHER 100

static struct queue q;
static struct quota quota;
static struct queue_entry entries[ENTRIES];
static struct mono_time now;
static struct bucket_ask ask;		/* the last */

static const struct queue_lane_key plain = { "x", 1, NULL, 0 };

/* Call; says how many tokens are asked for, in all lanes; -1: no call is due. */
static TEST_UNUSED int64_t
call(void)
{
	int64_t ready = 0;

	memset(&ask, 0, sizeof(ask));
	if (!queue_call(&q, now, &ask))
		return -1;
	for (size_t i = 0; i < ask.lane_count; i++)
		ready += ask.lanes[i].ready;
	return ready;
}

/* What an open bucket of this quota says, to be changed. */
static TEST_UNUSED struct bucket_answer
said(int64_t wait_us)
{
	struct bucket_answer a = { .wait_us = wait_us, .rate = quota.requests, .token = quota.token, .limit = quota.requests };

	for (size_t i = 0; i < BUCKET_LANES_MAX; i++) {
		a.lanes[i].members = 1;
		a.lanes[i].place = BUCKET_PLACE_LATER;
	}
	for (size_t i = 0; i < ask.lane_count; i++)
		a.weight += ask.lanes[i].weight;
	return a;
}

/* Answer the call with GRANTED tokens, to the lanes in their order as much as each asked for. */
static TEST_UNUSED void
answer(int64_t granted, int64_t wait_us)
{
	struct bucket_answer a = said(wait_us);

	a.granted = granted;
	for (size_t i = 0; i < ask.lane_count; i++) {
		a.lanes[i].granted = granted < ask.lanes[i].ready ? granted : ask.lanes[i].ready;
		granted -= a.lanes[i].granted;
	}
	assert_int_equal(granted, 0);
	queue_answered(&q, &a, now);
}

/* The queue asks for COUNT, and has GRANTED. */
static TEST_UNUSED void
call_for(int64_t count, int64_t granted, int64_t wait_us)
{
	assert_int_equal(call(), count);
	assert_false(queue_call(&q, now, &(struct bucket_ask){ 0 }));	/* one call under way */
	answer(granted, wait_us);
}

/* A queue of a quota of REQUESTS in WINDOW_S with an open store that was looked at. */
static TEST_UNUSED void
setup(int64_t requests, int64_t window_s, size_t capacity)
{
	struct config_quota stated = { requests, window_s * CLOCK_SECOND, 250000, 0, 1 };
	const char *why;

	queue_fini(&q);
	assert_true(quota_derive(&stated, &quota, &why));
	now.us = INT64_C(5000000000);
	queue_init(&q, &quota, capacity, 0, now);
	assert_int_equal(call(), -1);		/* no store yet */
	queue_set_open(&q, true, now);
	call_for(0, 0, 0);			/* the first look */
	assert_int_equal(call(), -1);
}

static TEST_UNUSED int
before(void **state)
{
	(void)state;
	queue_init(&q, &(struct quota){ .requests = 2, .token = 1 }, 0, 0, now);
	return 0;
}

static TEST_UNUSED int
after(void **state)
{
	(void)state;
	queue_fini(&q);
	return 0;
}

static TEST_UNUSED enum queue_verdict
submit_to(size_t i, const struct queue_lane_key *key, enum queue_class class, int64_t patience_us)
{
	entries[i] = (struct queue_entry){ .class = class, .deadline = mono_add(now, patience_us) };
	return queue_submit(&q, &entries[i], key, now);
}

static TEST_UNUSED enum queue_verdict
submit(size_t i, enum queue_class class, int64_t patience_us)
{
	return submit_to(i, &plain, class, patience_us);
}

/* A ready one. */
static TEST_UNUSED void
submit_ready(size_t i, const struct queue_lane_key *key)
{
	assert_int_equal(submit_to(i, key, QUEUE_SUBMIT, S(3600)), QUEUE_TAKEN);
	queue_ready(&q, &entries[i]);
}

static TEST_UNUSED size_t
index_of(const struct queue_entry *e)
{
	return e ? (size_t)(e - entries) : SIZE_MAX;
}

static TEST_UNUSED size_t
promoted(void)
{
	return index_of(queue_promote(&q, now));
}

static TEST_UNUSED size_t
granted(void)
{
	struct mono_time asked_at;

	return index_of(queue_grant(&q, now, &asked_at));
}

/* A caller called N, of weight 1. */
static TEST_UNUSED struct queue_lane_key
caller(int n)
{
	static char names[ENTRIES][16];

	snprintf(names[n], sizeof(names[n]), "caller%d", n);
	return (struct queue_lane_key){ names[n], 1, NULL, 0 };
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before, after)

#endif
