/* The queue of one identity: who comes next, and who is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "queue_fixture.h"

/* At an idle bucket a request is next at once, and granted when it is ready. */
static void
test_idle(void **state)
{
	(void)state;
	setup(100, 10, 10);
	assert_int_equal(submit(0, QUEUE_SUBMIT, MS(100)), QUEUE_TAKEN);
	assert_int_equal(promoted(), 0);
	assert_int_equal(call(), -1);		/* not ready yet: no token is taken */
	queue_ready(&q, &entries[0]);
	call_for(1, 1, 100000);
	assert_string_equal(ask.lanes[0].flow, "x");
	assert_int_equal(ask.lanes[0].waiting, 1);
	assert_int_equal(granted(), 0);
	assert_int_equal(q.count, 0);
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
		assert_int_equal(submit(i, classes[i], S(20)), QUEUE_TAKEN);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(promoted(), order[i]);
	for (size_t i = 6; i-- > 0;)
		queue_ready(&q, &entries[i]);
	call_for(6, 6, 0);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(granted(), order[i]);
	assert_int_equal(granted(), SIZE_MAX);
}

/* What the upstream has thrown back goes first in its class, however many wait. */
static void
test_first(void **state)
{
	(void)state;
	setup(10000, 1, 2);
	submit_ready(0, &plain);
	submit_ready(1, &plain);
	assert_int_equal(submit(2, QUEUE_SUBMIT, S(20)), QUEUE_FULL);
	entries[3] = (struct queue_entry){ .class = QUEUE_SUBMIT, .deadline = mono_add(now, S(20)), .first = true };
	assert_int_equal(queue_submit(&q, &entries[3], &plain, now), QUEUE_TAKEN);
	queue_ready(&q, &entries[3]);
	call_for(3, 3, 0);
	assert_int_equal(granted(), 3);
	assert_int_equal(granted(), 0);
}

/* Under a load of submits one grant in ten is a poll's. */
static void
test_floor_of_polls(void **state)
{
	int polls = 0;

	(void)state;
	setup(10000, 1, ENTRIES);
	for (size_t i = 0; i < ENTRIES; i++)
		assert_int_equal(submit(i, i < 40 ? QUEUE_SUBMIT : QUEUE_POLL, S(20)), QUEUE_TAKEN);
	while (queue_promote(&q, now))
		;
	for (size_t i = 0; i < ENTRIES; i++)
		queue_ready(&q, &entries[i]);
	call_for(ENTRIES, 40, 1000);
	for (int i = 0; i < 40; i++)
		polls += granted() >= 40;
	assert_int_equal(polls, 4);
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
		submit(i, i < 10 ? QUEUE_SUBMIT : QUEUE_POLL, S(60));
	while ((e = queue_promote(&q, now)) != NULL) {
		polls += e->class == QUEUE_POLL;
		told++;
	}
	assert_int_equal(polls, 1);
	assert_int_equal(told, 2);	/* one token is there, the next takes over a second */
	submit(30, QUEUE_CANCEL, S(60));
	assert_int_equal(promoted(), 30);	/* a cancel does not wait for them */
}

/* Who is next and never ready delays nobody behind it. */
static void
test_slow_is_passed(void **state)
{
	struct mono_time at;

	(void)state;
	setup(10, 10, 10);
	submit(0, QUEUE_SUBMIT, S(20));
	submit(1, QUEUE_SUBMIT, S(20));
	assert_int_equal(promoted(), 0);
	assert_int_equal(promoted(), SIZE_MAX);
	assert_true(queue_wake(&q, now, &at));
	assert_true(mono_since(at, now) <= QUEUE_SLOW_US);
	now = mono_add(now, QUEUE_SLOW_US);
	assert_int_equal(promoted(), 1);
	queue_ready(&q, &entries[1]);
	call_for(1, 1, S(1));
	assert_int_equal(granted(), 1);
	queue_ready(&q, &entries[0]);
	now = mono_add(now, 1100000);
	call_for(1, 1, S(1));
	assert_int_equal(granted(), 0);
}

/* Tell all who may be told to make ready; how many those are. */
static size_t
promote_all(void)
{
	size_t count = 0;

	while (queue_promote(&q, now) != NULL)
		count++;
	return count;
}

/*
 * Where a second has tokens for thousands, a crowd makes ready by parts, for each opens a connection; where a whole part is slow, as all are
 * whose process stood still, it is waited for. (10,000 waited, the gateway stood still for a second and a half: all opened
 * connections, 28 were answered that none could be had, and nobody else was served for 12 s.)
 */
static void
test_a_crowd_makes_ready_by_parts(void **state)
{
	static struct queue_entry crowd[4 * QUEUE_TOLD_MAX];
	size_t count = sizeof(crowd) / sizeof(crowd[0]);
	struct queue_entry *first;

	(void)state;
	setup(5000, 1, count);
	memset(crowd, 0, sizeof(crowd));
	for (size_t i = 0; i < count; i++) {
		crowd[i].class = i % 10 == 0 ? QUEUE_POLL : QUEUE_SUBMIT;
		crowd[i].deadline = mono_add(now, S(20));
		assert_int_equal(queue_submit(&q, &crowd[i], &plain, now), QUEUE_TAKEN);
	}
	assert_in_range(promote_all(), QUEUE_TOLD_MAX, QUEUE_TOLD_MAX + QUEUE_TOLD_MAX / 10 + 1);
	assert_int_equal(promote_all(), 0);
	now = mono_add(now, MS(1500));
	assert_int_equal(promote_all(), 0);
	while ((first = TAILQ_FIRST(&TAILQ_FIRST(&q.lanes)->lists[QUEUE_SLOW][QUEUE_SUBMIT])) != NULL) {
		queue_ready(&q, first);
		queue_remove(&q, first);
	}
	assert_in_range(promote_all(), QUEUE_TOLD_MAX, QUEUE_TOLD_MAX + QUEUE_TOLD_MAX / 10 + 1);
}

/* Of lanes the store has told of, the one whose turn it says is first makes ready first; then they take turns. */
static void
test_promotion_by_place(void **state)
{
	static const int64_t places[] = { 3, 0, 7, 1 };
	static const size_t order[] = { 1, 3, 0, 2 };
	struct bucket_answer a;

	(void)state;
	setup(400, 10, ENTRIES);
	for (int n = 0; n < 4; n++) {
		struct queue_lane_key key = caller(n);

		submit_ready((size_t)n, &key);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(submit_to(4 + (size_t)n + 4 * i, &key, QUEUE_SUBMIT, S(3600)), QUEUE_TAKEN);
	}
	assert_int_equal(call(), 4);
	a = said(0);
	for (size_t i = 0; i < 4; i++) {
		a.lanes[i].granted = 1;
		a.lanes[i].place = places[i];
	}
	a.granted = 4;
	queue_answered(&q, &a, now);
	for (int i = 0; i < 4; i++)
		assert_true(granted() < 4);
	for (size_t round = 0; round < 3; round++)
		for (size_t i = 0; i < 4; i++)
			assert_int_equal(promoted(), 4 + order[i] + 4 * round);
}

/* The first ones of lanes that the store has not heard of make ready where tokens come often: only then it can be asked for them. */
static void
test_promotion_of_untold(void **state)
{
	(void)state;
	setup(100, 60, ENTRIES);
	for (int n = 0; n < 40; n++) {
		struct queue_lane_key key = caller(n);

		assert_int_equal(submit_to((size_t)n, &key, QUEUE_SUBMIT, S(36000)), QUEUE_TAKEN);
	}
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(promoted(), i);
	assert_int_equal(promoted(), SIZE_MAX);
	/* When they are told, the store's word decides: nothing is expected within a second. */
	for (size_t i = 0; i < 32; i++)
		queue_ready(&q, &entries[i]);
	assert_int_equal(call(), 32);
	answer(0, S(600));
	assert_int_equal(promoted(), 32);	/* eight more have not been told */
	for (int n = 33; n < 40; n++)
		assert_int_equal(promoted(), n);
	assert_int_equal(promoted(), SIZE_MAX);
	/* A second one of a told lane waits. */
	submit_to(50, &(struct queue_lane_key){ "caller0", 1, NULL, 0 }, QUEUE_CANCEL, S(360000));
	assert_int_equal(promoted(), SIZE_MAX);
}

/*
 * Requests that their own limits keep waiting, however many are ready, do not take the places of those that could use the tokens;
 * one of them is ready for when they may.
 */
static void
test_promotion_past_limits(void **state)
{
	struct bucket_limit limit = { "r:one", 1, S(1), 1 };
	struct queue_lane_key limited = { "x", 1, &limit, 1 };
	struct bucket_answer a;
	size_t told = 0;

	(void)state;
	setup(100, 10, ENTRIES);
	for (size_t i = 0; i < 20; i++)
		submit_to(i, &limited, QUEUE_CANCEL, S(360000));
	while (promoted() != SIZE_MAX)
		told++;
	assert_in_range(told, 9, 11);		/* a second's worth: nothing is known of the limit yet */
	for (size_t i = 0; i < told; i++)
		queue_ready(&q, &entries[i]);
	assert_int_equal(call(), told);
	a = said(S(3600));
	a.granted = a.lanes[0].granted = 1;
	queue_answered(&q, &a, now);
	assert_int_equal(granted(), 0);
	now = mono_add(now, APART);
	submit_ready(20, &plain);
	assert_int_equal(call(), told);
	a = said(MS(103));
	a.lanes[0].place = ask.lanes[0].limit_count ? BUCKET_PLACE_LATER : 0;
	a.lanes[1].place = ask.lanes[1].limit_count ? BUCKET_PLACE_LATER : 0;
	queue_answered(&q, &a, now);
	for (size_t i = 21; i < 40; i++)
		submit(i, QUEUE_SUBMIT, S(3600));
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(promoted(), 21 + i);
	/* Where none of them is left that is ready, the next makes ready although nobody expects anything for it. */
	for (size_t i = 1; i < told; i++)
		queue_remove(&q, &entries[i]);
	assert_int_equal(promoted(), told);
	/* But not where the limit is less than one a second: then nobody has to be ready before it lets him. */
	limit.window_us = S(3600);
	submit_to(40, &limited, QUEUE_CANCEL, S(360000));
	queue_remove(&q, &entries[told]);
	assert_int_equal(promoted(), 26);
}

/* Full: refused at once. Too late at the present rate: refused at once, before anything else. */
static void
test_refused_at_once(void **state)
{
	size_t i = 0;

	(void)state;
	setup(100, 10, 50);
	while (submit(i, QUEUE_SUBMIT, S(2)) == QUEUE_TAKEN)
		i++;
	assert_int_equal(i, 20);	/* 9.72 a second for 2 s, and the one that is there */
	assert_int_equal(submit(i, QUEUE_SUBMIT, S(2)), QUEUE_TOO_LATE);
	assert_int_equal(submit(i, QUEUE_CANCEL, S(2)), QUEUE_TAKEN);	/* before all of them */
	for (i++; i < 50; i++)
		assert_int_equal(submit(i, QUEUE_SUBMIT, S(20)), QUEUE_TAKEN);
	assert_int_equal(submit(50, QUEUE_CANCEL, S(20)), QUEUE_FULL);
	/* Who is too late anyway is not told to displace another. */
	assert_int_equal(submit(50, QUEUE_SUBMIT, S(2)), QUEUE_TOO_LATE);
}

/* What is known of the rate decides who is too late: LEAST is how long the third of a lane waits. */
static const struct {
	const char *what;
	int64_t weight, members, left, wait_us;		/* as the store said */
	enum bucket_closed closed;
	int64_t limit_per_s;				/* an own limit */
	int64_t least_ms;				/* 0: taken whatever its patience */
} estimates[] = {
	{ "alone", 1, 1, 0, 0, BUCKET_OPEN, 0, 205 },
	{ "others of three times the weight", 4, 1, 0, 0, BUCKET_OPEN, 0, 823 },
	{ "on another member, too", 4, 2, 0, 0, BUCKET_OPEN, 0, 1646 },
	{ "an own limit", 1, 1, 0, 0, BUCKET_OPEN, 2, 1000 },
	{ "tokens that nobody wants", 1, 1, 10, 0, BUCKET_OPEN, 0, 0 },
	{ "a turn to come is in the rate", 1, 1, 0, MS(90), BUCKET_OPEN, 0, 205 },
	{ "the upstream's pause", 1, 1, 0, S(5), BUCKET_PAUSED, 0, 5205 },
	{ "a predecessor's tokens", 1, 1, 0, S(50), BUCKET_UNKNOWN, 0, 50205 },
	{ "settling", 1, 1, 0, S(2), BUCKET_SETTLING, 0, 0 },
	{ "a member not heard", 1, 1, 0, MS(50), BUCKET_UNHEARD, 0, 0 },
	{ "not known here", 1, 1, 0, 0, BUCKET_STRANGE, 0, 0 },
};

static void
test_estimates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(estimates) / sizeof(estimates[0]); i++) {
		struct bucket_limit limit = { "r:own", estimates[i].limit_per_s, S(1), 1 };
		struct queue_lane_key key = { "x", 1, &limit, limit.requests > 0 };
		struct bucket_answer a;

		print_message("%s\n", estimates[i].what);
		setup(100, 10, 50);
		submit_ready(0, &key);
		submit_ready(1, &key);
		assert_int_equal(call(), 2);
		a = said(estimates[i].wait_us);
		a.weight = estimates[i].weight;
		a.left = estimates[i].left;
		a.closed = estimates[i].closed;
		a.lanes[0].members = estimates[i].members;
		queue_answered(&q, &a, now);
		if (estimates[i].least_ms == 0) {
			assert_int_equal(submit_to(2, &key, QUEUE_SUBMIT, 1), QUEUE_TAKEN);
			continue;
		}
		assert_int_equal(submit_to(2, &key, QUEUE_SUBMIT, MS(estimates[i].least_ms - 1)), QUEUE_TOO_LATE);
		assert_int_equal(submit_to(2, &key, QUEUE_SUBMIT, MS(estimates[i].least_ms + 5)), QUEUE_TAKEN);
	}
	/* Who comes into a lane of its own has nobody before it, and counts among those that wait. */
	setup(100, 10, 50);
	for (size_t i = 0; i < 10; i++)
		submit_ready(i, &plain);
	call_for(10, 0, 0);
	assert_int_equal(submit_to(10, &(struct queue_lane_key){ "y", 3, NULL, 0 }, QUEUE_SUBMIT, MS(1)), QUEUE_TAKEN);
	assert_int_equal(submit_to(11, &(struct queue_lane_key){ "y", 3, NULL, 0 }, QUEUE_SUBMIT, MS(136)), QUEUE_TOO_LATE);
	assert_int_equal(submit_to(11, &(struct queue_lane_key){ "y", 3, NULL, 0 }, QUEUE_SUBMIT, MS(138)), QUEUE_TAKEN);
}

/* The upstream's pause begins here, before any store has heard of it: who cannot wait so long is refused at once. */
static void
test_pause(void **state)
{
	struct mono_time asked_at;

	(void)state;
	setup(100, 10, 50);
	submit_ready(0, &plain);
	submit_ready(1, &plain);
	call_for(2, 1, MS(100));
	queue_pause(&q, mono_add(now, S(5)));
	assert_null(queue_grant(&q, now, &asked_at));	/* what was in hand lapses */
	assert_int_equal(submit(2, QUEUE_CANCEL, S(4)), QUEUE_TOO_LATE);
	assert_int_equal(submit(2, QUEUE_CANCEL, S(6)), QUEUE_TAKEN);
	entries[3] = (struct queue_entry){ .class = QUEUE_SUBMIT, .deadline = mono_add(now, S(4)), .first = true };
	assert_int_equal(queue_submit(&q, &entries[3], &plain, now), QUEUE_TOO_LATE);
	assert_int_equal(call(), -1);
	now = mono_add(now, S(5) - 1);
	assert_int_equal(call(), -1);
	now = mono_add(now, 1);
	call_for(2, 1, MS(100));
	assert_int_equal(granted(), 0);
	assert_int_equal(submit(4, QUEUE_CANCEL, MS(400)), QUEUE_TAKEN);
	queue_pause(&q, mono_add(now, MS(1)));		/* shorter than the wait for the next turn: that stays */
	assert_int_equal(mono_since(q.call_at, now), MS(100));
}

/* Nobody is made next long before its token, and the wake time is when it is to be. */
static void
test_next_a_second_before(void **state)
{
	struct mono_time at;

	(void)state;
	setup(2, 3600, 10);
	submit_ready(0, &plain);
	call_for(1, 0, S(3000));
	assert_int_equal(submit(1, QUEUE_SUBMIT, S(36000)), QUEUE_TAKEN);
	queue_remove(&q, &entries[0]);
	assert_int_equal(promoted(), SIZE_MAX);
	assert_true(queue_wake(&q, now, &at));
	assert_in_range(mono_since(at, now), S(2999) - 10, S(2999) + 10);
	now = mono_add(at, -1000);
	assert_int_equal(promoted(), SIZE_MAX);
	now = at;
	assert_int_equal(promoted(), 1);
	queue_ready(&q, &entries[1]);
	assert_int_equal(call(), -1);		/* nothing before its turn */
	assert_true(queue_wake(&q, now, &at));
	assert_in_range(mono_since(at, now), 999000, 1001000);
	now = at;
	call_for(1, 1, S(1800));
	assert_int_equal(granted(), 1);
}

/* Unused tokens go to who is ready within J/2 less a sixteenth, once, and lapse after it. */
static void
test_tokens_in_hand(void **state)
{
	int64_t usable = quota.jitter_us;
	struct mono_time asked_at;

	(void)state;
	setup(100, 10, 10);
	usable = quota.jitter_us / 2 - quota.jitter_us / 32;
	assert_int_equal(submit(1, QUEUE_SUBMIT, S(20)), QUEUE_TAKEN);
	submit_ready(0, &plain);
	assert_int_equal(call(), 1);
	queue_remove(&q, &entries[0]);	/* its caller goes while the call is under way */
	answer(1, 100000);
	assert_int_equal(granted(), SIZE_MAX);
	now = mono_add(now, usable - 1);
	queue_ready(&q, &entries[1]);
	assert_ptr_equal(queue_grant(&q, now, &asked_at), &entries[1]);
	assert_int_equal(mono_since(now, asked_at), usable - 1);
	submit_ready(2, &plain);
	queue_give_back(&q, &plain, asked_at, now);
	assert_int_equal(granted(), 2);
	submit_ready(3, &plain);
	assert_int_equal(granted(), SIZE_MAX);
	queue_give_back(&q, &plain, asked_at, now);
	now = mono_add(now, 1);
	assert_int_equal(granted(), SIZE_MAX);
	queue_give_back(&q, &plain, asked_at, now);
	assert_int_equal(granted(), SIZE_MAX);
}

/* A token in hand is not asked for again; who waits for others is told all the same. */
static void
test_in_hand_is_not_wanted(void **state)
{
	(void)state;
	setup(100, 10, 10);
	for (size_t i = 0; i < 3; i++)
		submit_ready(i, &plain);
	queue_give_back(&q, &plain, now, now);
	assert_int_equal(call(), 2);
	assert_int_equal(ask.lanes[0].waiting, 2);
	answer(2, MS(100));
	assert_int_equal(granted(), 0);
	assert_int_equal(granted(), 1);
	assert_int_equal(granted(), 2);
}

/*
 * Where a call got all that it asked for, whatever is wanted by the time of its answer, the next is so far from it as it was for
 * many, 2 ms at most; also for news.
 */
static void
test_plenty(void **state)
{
	static const struct { size_t count; int64_t apart_us; } calls[] = { { 1, GATHER }, { 4, 4 * GATHER }, { 40, MS(2) } };
	struct queue_lane_key news = { "news", 1, NULL, 0 };
	struct mono_time at;

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		for (int late = 0; late < 2; late++) {
			size_t count = calls[i].count;

			setup(100000, 1, ENTRIES);
			for (size_t n = 0; n < count; n++)
				submit_ready(n, &plain);
			assert_int_equal(call(), count);
			submit_ready(count, late ? &news : &plain);	/* it comes while the call is under way */
			answer((int64_t)count, late ? S(1) : 0);
			assert_int_equal(call(), -1);
			assert_true(queue_wake(&q, now, &at));
			assert_int_equal(mono_since(at, now), calls[i].apart_us);
			for (size_t n = 0; n < count; n++)
				assert_true(granted() != SIZE_MAX);
			now = mono_add(at, -1);
			assert_int_equal(call(), -1);
			now = at;
			call_for(1, 1, 0);
			assert_int_equal(granted(), count);
		}
}

/* A closed store is asked 5 ms apart, whatever is wanted; and so is one whose upstream wants a pause. */
static void
test_closed_apart(void **state)
{
	struct bucket_answer a;

	(void)state;
	setup(100000, 1, ENTRIES);
	assert_int_equal(q.apart_us, 0);	/* nothing was asked for */
	submit_ready(0, &plain);
	call_for(1, 1, 0);
	assert_int_equal(q.apart_us, GATHER);
	queue_pause(&q, mono_add(now, S(1)));
	assert_int_equal(q.apart_us, APART);
	now = mono_add(now, S(1));
	assert_int_equal(granted(), SIZE_MAX);
	assert_int_equal(call(), 1);
	a = said(S(1));
	a.closed = BUCKET_UNHEARD;
	queue_answered(&q, &a, now);
	assert_int_equal(q.apart_us, APART);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_idle), TEST(test_order), TEST(test_first), TEST(test_floor_of_polls), TEST(test_polls_are_told),
		TEST(test_slow_is_passed), TEST(test_a_crowd_makes_ready_by_parts), TEST(test_promotion_by_place), TEST(test_promotion_of_untold),
		TEST(test_promotion_past_limits), TEST(test_refused_at_once), TEST(test_estimates), TEST(test_pause),
		TEST(test_next_a_second_before), TEST(test_tokens_in_hand), TEST(test_in_hand_is_not_wanted),
		TEST(test_plenty), TEST(test_closed_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
