/* A bucket and its members, each with what it asks and has heard. */
#ifndef JOBGATE_TESTS_BUCKET_FIXTURE_H
#define JOBGATE_TESTS_BUCKET_FIXTURE_H

#define TEST_UNUSED __attribute__((unused))

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "rules/bucket.h"

#define S(n) ((int64_t)(n) * CLOCK_SECOND)
#define MS(n) ((int64_t)(n) * CLOCK_MS)
#define T BUCKET_SILENT_US
#define MEMBERS (BUCKET_MEMBERS_MAX + 1)

/* A member and what it has heard. */
struct who {
	struct bucket_ask ask;
	struct bucket_answer answer;
};

static struct bucket *bucket;
static struct quota quota;
static struct who members[MEMBERS];
static int64_t now;

#define A (&members[0])
#define B (&members[1])
#define C (&members[2])

/* How long a token is out: W + J. */
static TEST_UNUSED int64_t
out_us(void)
{
	return quota.window_us + quota.jitter_us;
}

/* Member I, whose process has just begun for the START-th time. */
static TEST_UNUSED void
member_begin(size_t i, int64_t start, int64_t sent_ago_us)
{
	members[i].ask = (struct bucket_ask){ .start = start, .sent_ago_us = sent_ago_us, .quota = &quota, .fresh = true };
	snprintf(members[i].ask.id, BUCKET_NAME_BYTES, "member%zu", i);
}

/* A new bucket of REQUESTS in 10 s and a quarter, BURST at once, and members that know nothing. */
static TEST_UNUSED void
setup(int64_t requests, int64_t burst)
{
	struct config_quota stated = { requests, S(10), MS(250), 0, burst };
	const char *why;

	bucket_free(&bucket);
	bucket = bucket_new();
	assert_true(quota_derive(&stated, &quota, &why));
	now = S(1000000);
	for (size_t i = 0; i < MEMBERS; i++)
		member_begin(i, 1, -1);
}

static TEST_UNUSED int
teardown(void **state)
{
	(void)state;
	bucket_free(&bucket);
	return 0;
}

/* W wants COUNT tokens for a flow, and as many wait. */
static TEST_UNUSED struct bucket_lane *
want(struct who *w, const char *flow, int64_t count)
{
	struct bucket_lane *lane = &w->ask.lanes[w->ask.lane_count++];

	*lane = (struct bucket_lane){ .weight = 1, .ready = count, .waiting = count };
	snprintf(lane->flow, BUCKET_NAME_BYTES, "%s", flow);
	return lane;
}

/* W wants only this. */
static TEST_UNUSED void
want_only(struct who *w, const char *flow, int64_t count)
{
	w->ask.lane_count = 0;
	if (count > 0)
		want(w, flow, count);
}

/* Call, and lose the answer. */
static const struct bucket_answer *
call_unheard(struct who *w)
{
	bucket_take(bucket, &w->ask, now, &w->answer);
	return &w->answer;
}

/* Call and hear; who has come into a new epoch tells what it knows by its next call. */
static const struct bucket_answer *
call(struct who *w)
{
	const struct bucket_answer *a = call_unheard(w);
	bool known = a->epoch == w->ask.epoch;

	w->ask.tells = !known;
	w->ask.fresh = w->ask.fresh && !known;
	w->ask.epoch = a->epoch;
	w->ask.number = a->number;
	w->ask.version = a->version;
	w->ask.share = a->share;
	return a;
}

/* Let FOR_US pass, in which the first COUNT members call every half second and want nothing. */
static TEST_UNUSED void
keep(size_t count, int64_t for_us)
{
	int64_t until = now + for_us;

	for (; now < until; now += until - now < MS(500) ? until - now : MS(500))
		for (size_t i = 0; i < count; i++) {
			want_only(&members[i], "", 0);
			call(&members[i]);
		}
}

/* The first COUNT members are there, and nothing is closed. */
static TEST_UNUSED void
open_with(size_t count)
{
	keep(count, 2 * T);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(call(&members[i])->closed, BUCKET_OPEN);
}

/* It is this instance's alone. */
static TEST_UNUSED void
open_alone(void)
{
	A->ask.id[0] = '\0';
	assert_int_equal(call(A)->closed, BUCKET_OPEN);
}

#endif
