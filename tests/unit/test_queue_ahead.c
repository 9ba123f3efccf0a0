/* The queue of one identity: tokens taken ahead of need. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "queue_fixture.h"

#define PLENTY 100000

/* Answer the call: all that was asked for is granted, STOCK more are there, and as many as MEMBERS may have tokens ahead. */
static void
grant_all(int64_t stock, size_t members)
{
	struct bucket_answer a = said(0);

	a.left = stock;
	for (size_t i = 0; i < ask.lane_count; i++) {
		a.lanes[i].granted = ask.lanes[i].ready;
		a.granted += ask.lanes[i].ready;
	}
	queue_set_ahead(&q, members);
	queue_answered(&q, &a, now);
}

/* COUNT requests of KEY come, and each is granted a token. */
static void
serve(size_t count, const struct queue_lane_key *key)
{
	for (size_t i = 0; i < count; i++) {
		submit_ready(0, key);
		assert_int_equal(granted(), 0);
	}
}

/* A queue of a large quota in which COUNT requests of KEY were served, 2 ms ago. */
static void
setup_used(size_t count, const struct queue_lane_key *key, int64_t stock, size_t members)
{
	setup(1000000, 10, ENTRIES);
	for (size_t i = 0; i < count; i++)
		submit_ready(i, key);
	if (count > 0) {
		assert_int_equal(call(), count);
		grant_all(stock, members);
	}
	for (size_t i = 0; i < count; i++)
		assert_int_equal(granted(), i);
	now = mono_add(now, MS(2));
}

/* What was used in 2 ms, five times: who comes then waits for nobody, and half-way down more are asked for. */
static void
test_who_comes_finds_one(void **state)
{
	struct mono_time at, asked_at, called_at;

	(void)state;
	setup_used(8, &plain, PLENTY, 1);
	submit_ready(0, &plain);
	assert_int_equal(call(), 1 + 40);
	assert_int_equal(ask.lane_count, 1);
	assert_int_equal(ask.lanes[0].waiting, 1 + 40);
	called_at = now;
	now = mono_add(now, 300);
	grant_all(PLENTY, 1);
	assert_int_equal(granted(), 0);
	serve(20, &plain);
	assert_int_equal(call(), -1);
	assert_false(queue_wake(&q, now, &at));
	submit_ready(0, &plain);
	assert_ptr_equal(queue_grant(&q, now, &asked_at), &entries[0]);
	assert_int_equal(asked_at.us, called_at.us);	/* P1: dated by the call that took it */
	assert_int_equal(call(), -1);			/* 19 are left, but the last call was just now */
	assert_true(queue_wake(&q, now, &at));
	assert_int_equal(mono_since(at, called_at), MS(1));
	now = mono_add(called_at, MS(2));
	assert_int_equal(call(), 110 - 19);		/* 22 in 2 ms, nobody waits */
	assert_string_equal(ask.lanes[0].flow, "x");
	serve(19, &plain);				/* while it is under way */
	submit_ready(0, &plain);
	assert_int_equal(granted(), SIZE_MAX);
	grant_all(PLENTY, 1);
	assert_int_equal(granted(), 0);			/* of those that were asked for nobody */
	serve(90, &plain);
	submit_ready(0, &plain);
	assert_int_equal(granted(), SIZE_MAX);
}

/* A queue with forty tokens in hand and nobody in it, as of a call that was just answered. */
static void
setup_in_hand(void)
{
	setup_used(8, &plain, PLENTY, 1);
	submit_ready(0, &plain);
	assert_int_equal(call(), 1 + 40);
	grant_all(PLENTY, 1);
	assert_int_equal(granted(), 0);
}

/* Who will be ready soon has one at once, as many as are in hand; the others are told to make ready. */
static void
test_at_once(void **state)
{
	(void)state;
	setup_in_hand();
	for (size_t i = 0; i < 42; i++) {
		entries[i] = (struct queue_entry){ .class = QUEUE_SUBMIT, .deadline = mono_add(now, S(60)), .at_once = i != 1, .looks = true };
		assert_int_equal(queue_submit(&q, &entries[i], &plain, now), QUEUE_TAKEN);
	}
	assert_int_equal(promoted(), 1);
	assert_int_equal(promoted(), 41);	/* forty are before it */
	assert_int_equal(promoted(), SIZE_MAX);
	for (size_t i = 0; i < 40; i++)
		assert_int_equal(granted(), i + (i > 0));
	assert_int_equal(granted(), SIZE_MAX);
}

/* They are anybody's that has no limits of his own. */
static void
test_whose_they_are(void **state)
{
	static const struct bucket_limit limit = { "c:z", 10, 1000000, 5 };
	static const struct queue_lane_key other = { "y", 3, NULL, 0 }, limited = { "z", 1, &limit, 1 };

	(void)state;
	setup_used(8, &plain, PLENTY, 1);
	submit_ready(0, &other);
	call_for(1 + 40, 1 + 40, 0);		/* without a word about what may be */
	assert_int_equal(granted(), 0);
	serve(40, &other);
	setup_used(8, &plain, PLENTY, 1);
	submit_ready(1, &limited);
	assert_int_equal(call(), 1 + 40);
	assert_int_equal(ask.lane_count, 2);	/* not in the name of who has limits */
	assert_int_equal(ask.lanes[0].ready, 1);
	assert_int_equal(ask.lanes[1].ready, 40);
	assert_int_equal(ask.lanes[1].limit_count, 0);
	assert_string_equal(ask.lanes[1].flow, "x");
	grant_all(PLENTY, 1);
	assert_int_equal(granted(), 1);
	submit_ready(1, &limited);
	assert_int_equal(granted(), SIZE_MAX);
	serve(40, &other);			/* past who may not have them */
	assert_int_equal(granted(), SIZE_MAX);
}

/* Nobody asks for more than is wanted where others are to be heard, tokens are few, or the quota is small. */
static void
test_where_none_are_taken(void **state)
{
	static const struct { int64_t stock; size_t members; } none[] = { { PLENTY, 0 }, { 8 * 40 - 1, 1 }, { 3 * 8 * 40 - 1, 3 }, { 0, 1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		setup_used(8, &plain, none[i].stock, none[i].members);
		submit_ready(0, &plain);
		assert_int_equal(call(), 1);
		grant_all(none[i].stock, none[i].members);
	}
	setup_used(0, &plain, PLENTY, 1);	/* nobody has come before */
	submit_ready(0, &plain);
	assert_int_equal(call(), 1);
	grant_all(PLENTY, 1);
	setup(200, 60, ENTRIES);		/* a half of a hundredth is one: it saves nothing */
	for (size_t i = 0; i < 8; i++)
		submit_ready(i, &plain);
	assert_int_equal(call(), 8);
	grant_all(PLENTY, 1);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(granted(), i);
	now = mono_add(now, MS(2));
	submit_ready(0, &plain);
	assert_int_equal(call(), 1);
}

/* Those in hand lapse when they are half as old as a token may be, */
static void
test_they_lapse(void **state)
{
	(void)state;
	setup_in_hand();
	now = mono_add(now, quota.jitter_us / 4 - 1);
	serve(1, &plain);
	now = mono_add(now, 1);
	submit_ready(0, &plain);
	assert_int_equal(granted(), SIZE_MAX);
	assert_int_equal(call(), 1);		/* two in 62 ms are none in 10 */
}

/* and when the answer that is heard next says that others are there, the upstream pauses, the quota is another, or the store is away. */
static void
test_they_are_dropped(void **state)
{
	struct quota other;

	(void)state;
	for (int how = 0; how < 6; how++) {
		setup_used(8, &plain, PLENTY, 1);
		submit_ready(0, &plain);
		assert_int_equal(call(), 1 + 40);
		if (how != 1)
			grant_all(PLENTY, 1);
		other = quota;
		other.burst--;
		if (how == 0)
			queue_set_ahead(&q, 0);
		else if (how == 1)
			grant_all(PLENTY, 0);
		else if (how == 2)
			queue_pause(&q, now);
		else if (how == 3)
			queue_set_quota(&q, &other, ENTRIES, 0);
		else if (how == 4)
			queue_failed(&q, now);
		else
			queue_set_open(&q, false, now);
		if (how != 2)
			assert_int_equal(granted(), 0);	/* what he waited for is his */
		submit_ready(1, &plain);
		assert_int_equal(granted(), SIZE_MAX);
	}
}

/*
 * Bursts with nothing between them let the most lapse: of a quota a half of a hundredth, and once as much that was saved. And the promise
 * holds: no window has more than the quota, those included.
 */
static void
test_few_lapse(void **state)
{
	static int64_t taken[100000];
	struct bucket *bucket = bucket_new();
	struct bucket_answer a;
	size_t taken_count = 0, used = 0, most = 0, before = 0;
	struct mono_time start, asked_at;

	(void)state;
	setup(10000, 10, ENTRIES);
	quota.burst = 7500;
	queue_set_quota(&q, &quota, ENTRIES, 0);
	srand48(time(NULL));
	start = now;
	while (mono_since(now, start) < S(60)) {
		for (long burst = lrand48() % 40; burst > 0; burst--) {
			submit_ready(0, &plain);
			if (granted() == SIZE_MAX && call() >= 0) {
				ask.start = 1;
				ask.sent_ago_us = -1;
				ask.quota = &quota;
				bucket_take(bucket, &ask, now.us, &a);
				for (int64_t n = a.granted; n > 0; n--)
					taken[taken_count++] = now.us;
				queue_set_ahead(&q, 1);
				queue_answered(&q, &a, now);
				used += granted() == 0;
			} else {
				used += entries[0].stage == QUEUE_OUT;
			}
			queue_remove(&q, &entries[0]);
			now = mono_add(now, lrand48() % 200);
		}
		now = mono_add(now, lrand48() % 400000);
		most = taken_count - used - before > most ? taken_count - used - before : most;
		before = taken_count - used;
	}
	while (queue_grant(&q, now, &asked_at))
		used++;
	for (size_t i = 0; i + 10000 < taken_count; i++)
		assert_true(taken[i + 10000] - taken[i] > quota.window_us);
	print_message("%zu used, %zu lapsed\n", used, taken_count - used);
	assert_true(used > 3000);
	assert_in_range(taken_count - used, 60, (60 / 10 + 1) * 10000 / 200);
	bucket_free(&bucket);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_who_comes_finds_one), TEST(test_at_once), TEST(test_whose_they_are), TEST(test_where_none_are_taken), TEST(test_they_lapse),
		TEST(test_they_are_dropped), TEST(test_few_lapse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
