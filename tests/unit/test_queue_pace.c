/* The queue of one identity: tokens in hand, asks and answers, wake times, and random walks against the promise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "queue_fixture.h"

/* A lane's tokens serve another only where nobody is left in it and neither has limits of its own. */
static const struct { size_t from_limits, to_limits; bool somebody_left, passed; } passings[] = {
	{ 0, 0, false, true }, { 0, 0, true, false }, { 0, 1, false, false }, { 1, 0, false, false }, { 1, 1, false, false },
};

static void
test_passing_on(void **state)
{
	static const struct bucket_limit limits[] = { { "r:one", 10, 1000000, 5 }, { "r:two", 10, 1000000, 5 } };

	(void)state;
	for (size_t i = 0; i < sizeof(passings) / sizeof(passings[0]); i++)
		for (int first = 0; first < 2; first++) {	/* whichever stands before the other */
			struct queue_lane_key from = { "from", 1, &limits[0], passings[i].from_limits };
			struct queue_lane_key to = { "to", 1, &limits[1], passings[i].to_limits };
			struct mono_time asked_at, given = now;

			setup(100, 10, 10);
			given = now;
			submit_ready(first ? 0 : 1, first ? &from : &to);
			submit_ready(first ? 1 : 0, first ? &to : &from);
			if (passings[i].somebody_left)
				assert_int_equal(submit_to(2, &from, QUEUE_SUBMIT, S(60)), QUEUE_TAKEN);
			queue_give_back(&q, &from, given, now);
			queue_remove(&q, &entries[0]);
			now = mono_add(now, MS(20));
			assert_int_equal(index_of(queue_grant(&q, now, &asked_at)), passings[i].passed ? 1 : SIZE_MAX);
			if (passings[i].passed)
				assert_int_equal(asked_at.us, given.us);
			assert_int_equal(granted(), SIZE_MAX);
			if (passings[i].somebody_left) {	/* kept for who is there when he is ready */
				queue_ready(&q, &entries[2]);
				assert_int_equal(granted(), 2);
			}
		}
}

/* Requests of one caller with other limits are another lane; the configuration's present numbers are told. */
static void
test_lanes_and_limits(void **state)
{
	struct bucket_limit limits[] = { { "c:x", 10, 1000000, 5 }, { "r:a", 20, 1000000, 5 } };
	struct queue_lane_key both = { "x", 2, limits, 2 }, one = { "x", 2, limits, 1 };

	(void)state;
	setup(100, 10, 10);
	submit_ready(0, &both);
	submit_ready(1, &one);
	assert_int_equal(submit_to(2, &one, QUEUE_SUBMIT, S(60)), QUEUE_TAKEN);
	limits[1].requests = 30;
	assert_int_equal(submit_to(3, &both, QUEUE_SUBMIT, S(60)), QUEUE_TAKEN);
	assert_int_equal(call(), 2);
	assert_int_equal(ask.lane_count, 2);
	assert_int_equal(ask.limit_count, 2);		/* each once */
	assert_int_equal(ask.limits[1].requests, 30);
	assert_int_equal(ask.lanes[0].limit_count, 2);
	assert_int_equal(ask.lanes[0].weight, 2);
	assert_int_equal(ask.lanes[1].limit_count, 1);
	assert_int_equal(ask.lanes[1].limits[0], ask.lanes[0].limits[0]);
	assert_int_equal(ask.lanes[1].ready, 1);
	assert_int_equal(ask.lanes[1].waiting, 2);
	answer(0, 0);
}

/* A full queue: who has less than another takes the place of that one's last, who waits longest for a turn. */
static void
test_displace(void **state)
{
	struct queue_lane_key x = caller(0), y = caller(1), z = caller(2);

	(void)state;
	setup(100, 10, 6);
	assert_null(queue_displace(&q, &x));		/* nobody is there */
	submit_to(0, &x, QUEUE_SUBMIT, S(60));
	submit_to(1, &x, QUEUE_POLL, S(60));
	submit_to(2, &x, QUEUE_SUBMIT, S(60));
	submit_to(3, &x, QUEUE_CANCEL, S(60));
	submit_to(4, &y, QUEUE_SUBMIT, S(60));
	submit_to(5, &y, QUEUE_SUBMIT, S(60));
	assert_int_equal(submit_to(6, &y, QUEUE_SUBMIT, S(60)), QUEUE_FULL);
	assert_null(queue_displace(&q, &x));		/* he has most himself */
	assert_int_equal(index_of(queue_displace(&q, &y)), 1);	/* the least of classes first */
	assert_int_equal(entries[1].stage, QUEUE_OUT);
	assert_int_equal(submit_to(6, &y, QUEUE_SUBMIT, S(60)), QUEUE_TAKEN);
	assert_null(queue_displace(&q, &y));		/* three of each */
	assert_int_equal(index_of(queue_displace(&q, &z)), 2);	/* then the last to come */
	assert_int_equal(submit_to(7, &z, QUEUE_SUBMIT, S(60)), QUEUE_TAKEN);
	assert_int_equal(index_of(queue_displace(&q, &z)), 6);
	assert_int_equal(submit_to(8, &z, QUEUE_SUBMIT, S(60)), QUEUE_TAKEN);
	assert_null(queue_displace(&q, &z));
	/* Whoever was told to make ready keeps his place. */
	setup(100, 10, 3);
	submit_ready(0, &x);
	submit_ready(1, &x);
	submit_ready(2, &x);
	assert_null(queue_displace(&q, &y));
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
	assert_int_equal(call(), 1);
	queue_failed(&q, now);
	assert_int_equal(call(), -1);			/* not at once again, */
	assert_true(queue_wake(&q, now, &at));
	assert_true(mono_since(at, now) <= MS(10));
	now = mono_add(now, MS(10));
	assert_int_equal(call(), 1);			/* but then */
	queue_failed(&q, now);
	queue_set_open(&q, false, now);
	assert_int_equal(promoted(), SIZE_MAX);
	now = mono_add(now, MS(190));
	assert_int_equal(call(), -1);
	assert_true(queue_wake(&q, now, &at));
	assert_int_equal(mono_since(at, now), MS(100));
	assert_null(queue_expire(&q, now));
	assert_int_equal(submit(2, QUEUE_SUBMIT, 1), QUEUE_TAKEN);	/* how long it lasts is not known */
	queue_remove(&q, &entries[2]);
	now = at;
	assert_ptr_equal(queue_expire(&q, now), &entries[1]);
	queue_set_open(&q, true, now);
	call_for(1, 1, 0);
	assert_int_equal(granted(), 0);
}

/* More lanes than a call holds take turns, those first that could be sent. */
static void
test_many_lanes(void **state)
{
	bool told[40] = { false };

	(void)state;
	setup(10000, 1, ENTRIES);
	for (int n = 0; n < 40; n++) {
		struct queue_lane_key key = caller(n);

		if (n % 2)
			submit_ready((size_t)n, &key);
		else
			submit_to((size_t)n, &key, QUEUE_SUBMIT, S(60));
	}
	assert_int_equal(call(), 20);
	assert_int_equal(ask.lane_count, BUCKET_LANES_MAX);
	for (size_t i = 0; i < ask.lane_count; i++) {
		int n = atoi(ask.lanes[i].flow + strlen("caller"));

		assert_int_equal(n % 2, i < 20);
		told[n] = true;
	}
	answer(0, 0);
	now = mono_add(now, APART);
	assert_int_equal(call(), 20);
	for (size_t i = 0; i < ask.lane_count; i++)
		told[atoi(ask.lanes[i].flow + strlen("caller"))] = true;
	for (int n = 0; n < 40; n++)
		assert_true(told[n]);
	answer(20, 0);
	for (int n = 0; n < 20; n++)
		assert_int_equal(granted() % 2, 1);
	assert_int_equal(granted(), SIZE_MAX);
}

/* Nor have more limits room than a call holds: who is left out comes the next time. */
static void
test_many_limits(void **state)
{
	static struct bucket_limit limits[2][BUCKET_LANE_LIMITS_MAX];
	struct queue_lane_key keys[2] = { { "x", 1, limits[0], BUCKET_LANE_LIMITS_MAX }, { "y", 1, limits[1], BUCKET_LANE_LIMITS_MAX } };

	(void)state;
	setup(10000, 1, ENTRIES);
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < BUCKET_LANE_LIMITS_MAX; i++) {
			limits[k][i] = (struct bucket_limit){ "", 1000, S(1), 5 };
			snprintf(limits[k][i].name, BUCKET_NAME_BYTES, "r:%d of %d", i, k);
		}
	submit_ready(0, &keys[0]);
	submit_ready(1, &keys[1]);
	for (int round = 0; round < 4; round++) {
		assert_int_equal(call(), 1);
		assert_int_equal(ask.lane_count, 1);
		assert_string_equal(ask.lanes[0].flow, keys[round % 2].flow);
		assert_in_range(ask.limit_count, BUCKET_LANE_LIMITS_MAX, BUCKET_LIMITS_MAX);
		answer(0, 0);
		now = mono_add(now, APART);
	}
}

/* The store may ask to be called again at once, three times in a row; then only in a while. */
static void
test_agains(void **state)
{
	struct bucket_answer a;

	(void)state;
	setup(100, 10, 10);
	submit_ready(0, &plain);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(call(), 1);
		a = said(0);
		a.closed = BUCKET_STRANGE;
		queue_answered(&q, &a, now);
	}
	assert_int_equal(call(), -1);
	now = mono_add(now, MS(99));
	assert_int_equal(call(), -1);
	now = mono_add(now, MS(1));
	call_for(1, 0, 0);			/* content at last: the count begins anew */
	now = mono_add(now, APART);
	assert_int_equal(call(), 1);
	a.closed = BUCKET_STRANGE;
	queue_answered(&q, &a, now);
	assert_int_equal(call(), 1);
	answer(1, 0);
}

/* Where tokens are short calls stand 5 ms apart, also for news. */
static void
test_apart(void **state)
{
	struct mono_time at;

	(void)state;
	setup(10000, 1, ENTRIES);
	now = mono_add(now, APART);
	for (size_t i = 0; i < 10; i++)
		submit_ready(i, &plain);
	call_for(10, 4, 0);
	assert_int_equal(call(), -1);
	assert_true(queue_wake(&q, now, &at));
	assert_int_equal(mono_since(at, now), APART);
	now = mono_add(now, APART - 1);
	submit_ready(10, &(struct queue_lane_key){ "news", 1, NULL, 0 });
	assert_int_equal(call(), -1);
	now = mono_add(now, 1);
	call_for(7, 7, 0);
	for (size_t i = 0; i < 11; i++)
		assert_true(granted() != SIZE_MAX);
	submit_ready(11, &plain);
	now = mono_add(now, 7 * GATHER);
	call_for(1, 1, 0);
	assert_int_equal(granted(), 11);
	/* A lane that the store does not know of does not wait for this instance's next turn. */
	submit_ready(12, &plain);
	now = mono_add(now, APART);
	call_for(1, 0, S(1));
	submit_ready(13, &plain);
	assert_int_equal(call(), -1);
	submit_ready(14, &(struct queue_lane_key){ "new", 1, NULL, 0 });
	assert_true(queue_wake(&q, now, &at));
	assert_int_equal(mono_since(at, now), APART);
	now = at;
	call_for(3, 0, S(1));
	assert_int_equal(call(), -1);
}

/* A call that took a while comes a little later than WAIT after it was sent: half the way, 2 ms at most. */
static void
test_way(void **state)
{
	static const struct { int64_t took_us, later_us; } ways[] = { { 0, 0 }, { 1000, 500 }, { 4000, 2000 }, { 50000, 2000 } };

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct mono_time sent;

		setup(10, 10, 10);
		submit_ready(0, &plain);
		sent = now;
		assert_int_equal(call(), 1);
		now = mono_add(now, ways[i].took_us);
		answer(0, MS(500));
		assert_int_equal(mono_since(q.due, sent), MS(500) + ways[i].later_us);
	}
}

/* Where nobody wants anything the store is called so often that it keeps this member among those it hears. */
static void
test_keep(void **state)
{
	struct mono_time at;

	(void)state;
	setup(100, 10, 10);
	assert_false(queue_wake(&q, now, &at));
	queue_set_quota(&q, &quota, 10, MS(650));
	assert_true(queue_wake(&q, now, &at));
	assert_int_equal(mono_since(at, now), MS(650));
	now = mono_add(now, MS(649));
	assert_int_equal(call(), -1);
	now = at;
	assert_int_equal(call(), 0);
	assert_int_equal(ask.lane_count, 0);
	answer(0, S(1000));
	now = mono_add(now, MS(650));
	assert_int_equal(call(), 0);		/* whatever the wait */
	queue_failed(&q, now);
	assert_true(queue_wake(&q, now, &at));
	assert_int_equal(mono_since(at, now), MS(650));
}

/* Another quota is told at once, also where a call with the old one is under way. */
static void
test_reload(void **state)
{
	struct quota other = quota;
	struct mono_time at;

	(void)state;
	setup(2, 3600, 10);
	other = quota;
	other.requests = 100;
	queue_set_quota(&q, &other, 10, 0);
	assert_true(queue_wake(&q, now, &at));
	assert_true(mono_since(at, now) <= 0);
	call_for(0, 0, 0);
	submit_ready(0, &plain);
	assert_int_equal(call(), 1);
	other.requests = 200;
	queue_set_quota(&q, &other, 10, 0);
	answer(0, S(1800));			/* the old quota's word */
	call_for(1, 1, 0);
	assert_int_equal(granted(), 0);
}

/* Retry-After: 1 to 60, and at most as many callers in a second as tokens. */
static void
test_retry_after(void **state)
{
	int returns[61] = { 0 };

	(void)state;
	setup(100, 10, 10);
	for (int i = 0; i < 400; i++) {
		int64_t s = queue_retry_after(&q, &plain, QUEUE_SUBMIT, S(20), now);

		assert_in_range(s, 1, 60);
		returns[s]++;
	}
	for (int s = 1; s <= 60; s++)
		assert_true(returns[s] <= 11);
	setup(2, 3600, 10);	/* an hour between tokens cannot be said in a minute: half of it, and spread */
	assert_int_equal(submit(0, QUEUE_SUBMIT, S(3600)), QUEUE_TAKEN);
	for (int i = 0; i < 31; i++)
		assert_in_range(queue_retry_after(&q, &plain, QUEUE_SUBMIT, S(20), now), 30, 60);
	assert_int_equal(queue_retry_after(&q, &plain, QUEUE_SUBMIT, S(20), now), 30);
}

/* Places are handed out for a lane: nobody waits in it during a pause, but those who are refused return one by one all the same. */
static void
test_retry_after_pause(void **state)
{
	struct bucket_answer a;
	int64_t last = 0;

	(void)state;
	setup(60, 60, 10);
	queue_set_quota(&q, &quota, 10, MS(650));
	for (int i = 0; i < 10; i++) {
		int64_t s;

		now = mono_add(now, MS(650));
		assert_int_equal(call(), 0);
		a = said(S(20) - (int64_t)i * MS(650));
		a.closed = BUCKET_PAUSED;
		queue_answered(&q, &a, now);
		s = queue_retry_after(&q, &plain, QUEUE_SUBMIT, 0, now) * CLOCK_SECOND + now.us;
		assert_true(i == 0 || s > last);
		last = s;
	}
	assert_true(last - now.us > S(20));	/* ten at one a second, from some fourteen on */
	now = mono_add(now, S(60));
	assert_int_equal(call(), 0);
	answer(0, 0);
	now = mono_add(now, MS(650));
	assert_int_equal(call(), 0);
	answer(0, 0);
	assert_true(TAILQ_EMPTY(&q.lanes));	/* then it is forgotten */
}

/* --- random walks: N instances with queues of their own on one bucket --- */

#define INSTANCES 3
#define WALK_ENTRIES 200

struct instance {
	struct queue queue;
	struct member member;
	struct queue_entry entries[WALK_ENTRIES];
	struct queue_lane_key keys[WALK_ENTRIES];
	struct mono_time answer_at;		/* of the call under way */
	struct bucket_ask ask;
	struct bucket_answer answer;
	struct mono_time ready_at[WALK_ENTRIES];
	size_t taken, expired;
};

static struct instance instances[INSTANCES];
static int64_t grants[100000];
static size_t grant_count;
static size_t own_count;		/* of those, how many with an own limit */
static struct bucket_limit own = { "r:own", 1, 1000000, 3 };

/* A new request in slot I. */
static void
walk_submit(struct instance *in, size_t i)
{
	struct queue_entry *e = &in->entries[i];

	in->keys[i] = caller((int)(lrand48() % 5));
	if (lrand48() % 4 == 0) {
		in->keys[i].limits = &own;
		in->keys[i].limit_count = 1;
	}
	*e = (struct queue_entry){ .class = (enum queue_class)(lrand48() % QUEUE_CLASS_COUNT),
		.deadline = mono_add(now, 1 + lrand48() % 20000000) };
	(void)queue_submit(&in->queue, e, &in->keys[i], now);
}

/* Ask the bucket. */
static void
walk_call(struct instance *in, struct bucket *bucket)
{
	if (in->queue.calling)
		return;		/* the ask is that call's */
	memset(&in->ask, 0, sizeof(in->ask));
	if (!queue_call(&in->queue, now, &in->ask))
		return;
	member_ask(&in->member, &quota, now, &in->ask);
	bucket_take(bucket, &in->ask, now.us + 100, &in->answer);	/* arrives, */
	in->answer_at = mono_add(now, 100 + lrand48() % 900);		/* and is answered */
}

/* Do what the limiter does in a turn, and what the callers do. */
static void
walk_turn(struct instance *in, struct bucket *bucket)
{
	struct queue *queue = &in->queue;
	struct queue_entry *e;
	struct mono_time asked_at;

	if (queue->calling && now.us >= in->answer_at.us) {
		member_hear(&in->member, &in->ask, &in->answer, queue->called_at, now);
		queue_answered(queue, &in->answer, now);
	}
	for (size_t i = 0; i < WALK_ENTRIES; i++) {
		e = &in->entries[i];
		if (e->stage == QUEUE_OUT)
			walk_submit(in, i);
		if ((e->stage == QUEUE_NEXT || e->stage == QUEUE_SLOW) && now.us >= in->ready_at[i].us)
			queue_ready(queue, e);
	}
	while ((e = queue_expire(queue, now)) != NULL)
		in->expired++;
	while ((e = queue_grant(queue, now, &asked_at)) != NULL) {
		const struct queue_lane_key *key = &in->keys[e - in->entries];

		assert_true(mono_since(now, asked_at) < quota.jitter_us / 2);
		assert_true(mono_since(e->deadline, now) > 0);
		if (lrand48() % 30 == 0) {	/* its caller goes: the token is another's */
			queue_give_back(queue, key, asked_at, now);
			continue;
		}
		in->taken++;
		own_count += key->limit_count;
		grants[grant_count++] = now.us;
	}
	while ((e = queue_promote(queue, now)) != NULL)
		in->ready_at[e - in->entries] = mono_add(now, lrand48() % 100 == 0 ? 30000000 : lrand48() % 60000);
	walk_call(in, bucket);
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
	struct bucket *bucket = bucket_new();
	struct mono_time start;
	double used;

	setup(requests, window_s, 10);
	srand48((long)seed);
	grant_count = own_count = 0;
	start = now;
	for (size_t k = 0; k < INSTANCES; k++) {
		struct member_self self = { .start = 1, .born = now, .sent_ago_us = -1 };

		instances[k] = (struct instance){ 0 };
		snprintf(self.id, sizeof(self.id), "instance%zu", k);
		member_init(&instances[k].member, &self);
		queue_init(&instances[k].queue, &quota, 1000, MEMBER_KEEP_US, now);
		queue_set_open(&instances[k].queue, true, now);
		for (size_t i = 0; i < WALK_ENTRIES; i++)
			instances[k].entries[i].stage = QUEUE_OUT;
	}
	while (mono_since(now, start) < BUCKET_SILENT_US + 6 * window_s * CLOCK_SECOND) {
		for (size_t k = 0; k < INSTANCES; k++)
			walk_turn(&instances[k], bucket);
		walk_sleep();
	}
	for (size_t i = 0; i + (size_t)requests < grant_count; i++)
		assert_true(grants[i + (size_t)requests] - grants[i] > quota.window_us + quota.jitter_us / 2);
	used = (double)grant_count / (double)requests / 6;
	print_message("seed %" PRIu64 ": %" PRId64 " in %" PRId64 " s: %.1f %% of the quota (permitted %.1f), shares %zu %zu %zu, "
	    "%zu with a limit\n", seed, requests, window_s, used * 100, quota_utilisation(&quota) * 100, instances[0].taken,
	    instances[1].taken, instances[2].taken, own_count);
	assert_true(used >= least);
	assert_true(own_count <= (size_t)(6 * window_s + 3 + 2) && own_count > 0);
	for (size_t k = 0; k < INSTANCES; k++)
		assert_true(grant_count < 50 || instances[k].taken > grant_count / 4);
	for (size_t k = 0; k < INSTANCES; k++) {
		queue_fini(&instances[k].queue);
		member_fini(&instances[k].member);
	}
	bucket_free(&bucket);
}

static void
test_walks(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);

	(void)state;
	/* One in thirty comes back unused, and is lost where nobody else is ready in its lane. */
	walk(seed, 100, 10, 0.92);
	walk(seed + 1, 200, 60, 0.945);
	walk(seed + 2, 1000, 10, 0.96);
	walk(seed + 3, 2000, 1, 0.72);	/* W + J and a slot are 1.26 W */
	walk(seed + 4, 5, 60, 0.8);	/* of thirty in all */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_passing_on), TEST(test_lanes_and_limits), TEST(test_displace), TEST(test_store_away), TEST(test_many_lanes),
		TEST(test_many_limits), TEST(test_agains), TEST(test_apart), TEST(test_way), TEST(test_keep),
		TEST(test_reload), TEST(test_retry_after), TEST(test_retry_after_pause), TEST(test_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
