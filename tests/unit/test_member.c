/* An instance as a member: what it tells, what it remembers, and when it may spend its share alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "rules/member.h"

#define S(n) ((int64_t)(n) * CLOCK_SECOND)
#define MS(n) ((int64_t)(n) * CLOCK_MS)

static struct member member;
static struct quota quota;
static struct bucket_ask ask;
static struct mono_time now;

/* A member of a fleet, born now; its predecessor may have sent something until SENT_AGO_US before. */
static int
setup_with(int64_t sent_ago_us)
{
	struct member_self self = { .id = "me", .start = 7, .sent_ago_us = sent_ago_us };
	const char *why;

	assert_true(quota_derive(&(struct config_quota){ 100, S(10), MS(250), 0, 0 }, &quota, &why));
	now.us = S(5000);
	self.born = now;
	member_init(&member, &self);
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return setup_with(-1);
}

static int
teardown(void **state)
{
	(void)state;
	member_fini(&member);
	return 0;
}

/* What it would ask now. */
static const struct bucket_ask *
asked(void)
{
	memset(&ask, 0, sizeof(ask));
	member_ask(&member, &quota, now, &ask);
	return &ask;
}

/* An answer of EPOCH that has granted COUNT. */
static struct bucket_answer
answer_of(int64_t epoch, int64_t number, int64_t count)
{
	return (struct bucket_answer){ .epoch = epoch, .number = number, .version = 3, .share = 50, .token = quota.token, .granted = count };
}

/* Ask, and have that answered at once. */
static void
hear(const struct bucket_answer *answer)
{
	asked();
	member_hear(&member, &ask, answer, now, now);
}

static void
hear_of(int64_t epoch, int64_t number, int64_t count)
{
	struct bucket_answer answer = answer_of(epoch, number, count);

	hear(&answer);
}

/* The first ask says who comes and that it knows nothing; later ones acknowledge what was heard. */
static void
test_ask(void **state)
{
	(void)state;
	now = mono_add(now, S(1));
	asked();
	assert_string_equal(ask.id, "me");
	assert_int_equal(ask.start, 7);
	assert_int_equal(ask.born_ago_us, S(1));
	assert_int_equal(ask.sent_ago_us, -1);
	assert_true(ask.epoch == 0 && ask.number == 0 && ask.version == 0 && ask.share == 0);
	assert_true(ask.fresh && ask.tells && !ask.leave);
	assert_ptr_equal(ask.quota, &quota);
	hear_of(9, 1, 0);
	assert_true(asked()->epoch == 9 && ask.number == 1 && ask.share == 50);
	assert_true(ask.fresh);			/* until it has been heard in this epoch */
	hear_of(9, 2, 0);
	assert_false(asked()->fresh);
	member_connected(&member);
	assert_true(asked()->fresh);
}

/* What its predecessor may have sent matters as long as a token may be out. */
static void
test_predecessor(void **state)
{
	(void)state;
	member_fini(&member);
	setup_with(S(3));
	now = mono_add(now, S(2));
	assert_int_equal(asked()->sent_ago_us, S(5));
	now = mono_add(now, quota.token - S(5) - 1);
	assert_int_equal(asked()->sent_ago_us, quota.token - 1);
	now = mono_add(now, 1);
	assert_int_equal(asked()->sent_ago_us, -1);
}

/* Tokens of another epoch are told, once in each; those that the bucket itself gave are not. */
static void
test_own_tokens(void **state)
{
	(void)state;
	hear_of(9, 1, 0);
	hear_of(9, 2, 4);
	assert_false(asked()->tells);
	now = mono_add(now, S(1));
	hear_of(9, 3, 2);
	hear_of(9, 4, 1);		/* of the same slot */
	now = mono_add(now, S(1));
	hear_of(12, 1, 0);		/* the store has lost its state */
	asked();
	assert_true(ask.tells);
	assert_int_equal(ask.own_count, 2);
	assert_int_equal(ask.own[0].out, 4);
	assert_in_range(ask.own[0].ago_us, S(2) - quota.slot_us, S(2));
	assert_int_equal(ask.own[1].out, 3);
	assert_in_range(ask.own[1].ago_us, S(1) - quota.slot_us, S(1));
	assert_true(asked()->tells);	/* until it is answered, */
	hear_of(12, 2, 5);
	asked();			/* then no more */
	assert_false(ask.tells);
	assert_int_equal(ask.own_count, 0);
	now = mono_add(now, S(1));
	hear_of(20, 1, 0);		/* once more: those of both are news */
	asked();
	assert_int_equal(ask.own_count, 3);
	assert_int_equal(ask.own[2].out, 5);
	/* They come back by themselves. */
	now = mono_add(now, quota.token - S(2) + quota.slot_us);
	asked();
	assert_int_equal(ask.own_count, 1);
	now = mono_add(now, S(2));
	assert_int_equal(asked()->own_count, 0);
}

/* An answer to what was asked before there was a new epoch does not count as told. */
static void
test_told_crosses(void **state)
{
	struct bucket_answer old = answer_of(9, 2, 3);
	struct bucket_ask *before = &(struct bucket_ask){ 0 };

	(void)state;
	hear_of(9, 1, 0);
	hear(&old);
	*before = *asked();			/* tells nothing: all is known */
	assert_false(before->tells);
	hear_of(12, 1, 0);
	member_hear(&member, before, &(struct bucket_answer){ .epoch = 12, .number = 2, .token = quota.token }, now, now);
	assert_true(asked()->tells);
	assert_int_equal(ask.own_count, 1);
}

/* It remembers the others, tells them in a new epoch, and takes a new epoch's list only when it has told. */
static void
test_peers(void **state)
{
	struct bucket_answer answer = answer_of(9, 1, 0);

	(void)state;
	answer.listed = true;
	answer.peer_count = 3;
	answer.peers[0] = (struct bucket_peer){ "other", -1, 50 };
	answer.peers[1] = (struct bucket_peer){ "me", -1, 50 };
	answer.peers[2] = (struct bucket_peer){ "silent", S(4), 30 };
	hear(&answer);
	assert_int_equal(asked()->version, 3);
	assert_int_equal(member_count(&member), 0);	/* it has not told what it knows yet */
	hear_of(9, 2, 0);
	assert_int_equal(member_count(&member), 3);	/* the silent one too */
	now = mono_add(now, S(2));
	answer = answer_of(12, 1, 0);
	answer.listed = true;			/* only this one has come so far */
	answer.peer_count = 1;
	answer.peers[0] = (struct bucket_peer){ "me", -1, 100 };
	hear(&answer);
	asked();
	assert_int_equal(ask.version, 0);	/* the list is not known */
	assert_int_equal(member_count(&member), 0);
	assert_true(ask.tells);
	assert_int_equal(ask.peer_count, 2);
	assert_string_equal(ask.peers[0].id, "other");
	assert_int_equal(ask.peers[0].heard_ago_us, 0);	/* not silent then: it may have been heard until now */
	assert_int_equal(ask.peers[0].share, 50);
	assert_string_equal(ask.peers[1].id, "silent");
	assert_int_equal(ask.peers[1].heard_ago_us, S(6));
	answer.number = 2;
	hear(&answer);
	assert_int_equal(asked()->version, 3);
	assert_int_equal(ask.peer_count, 0);
	assert_int_equal(member_count(&member), 1);
	hear_of(20, 1, 0);
	assert_int_equal(asked()->peer_count, 0);	/* it was the only one */
}

/* It may spend its share T and a token's time after the last answer came, and stops before it is forgotten. */
static void
test_may_spend(void **state)
{
	struct bucket_answer answer = answer_of(9, 1, 0);
	struct mono_time sent, came;

	(void)state;
	assert_false(member_may_spend(&member, &quota, now));		/* never heard */
	assert_int_equal(member_spends_in_us(&member, &quota, now), INT64_MAX);
	sent = now;
	came = mono_add(sent, MS(80));
	member_hear(&member, asked(), &answer, sent, came);
	assert_int_equal(member_spends_in_us(&member, &quota, came), BUCKET_SILENT_US + quota.token);
	now = mono_add(came, BUCKET_SILENT_US + quota.token - 1);
	assert_false(member_may_spend(&member, &quota, now));
	assert_int_equal(member_spends_in_us(&member, &quota, now), 1);
	now = mono_add(now, 1);
	assert_true(member_may_spend(&member, &quota, now));
	now = mono_add(sent, BUCKET_SILENT_US + quota.window_us + quota.jitter_us + BUCKET_FORGET_US - 1);
	assert_true(member_may_spend(&member, &quota, now));
	now = mono_add(now, 1);
	assert_false(member_may_spend(&member, &quota, now));
	assert_int_equal(member_spends_in_us(&member, &quota, now), INT64_MAX);
}

/* A share of one, or none, cannot be spent safely; another member's longer window counts. */
static void
test_may_not_spend(void **state)
{
	struct bucket_answer answer = answer_of(9, 1, 0);

	(void)state;
	answer.share = 1;
	hear(&answer);
	assert_int_equal(member_spends_in_us(&member, &quota, now), INT64_MAX);
	answer.share = 2;
	answer.token = 3 * quota.token;
	hear(&answer);
	assert_int_equal(member_spends_in_us(&member, &quota, now), BUCKET_SILENT_US + 3 * quota.token);
}

/* Spend what there is for FOR_US and say how much that was. */
static int64_t
spend(int64_t for_us)
{
	struct mono_time until = mono_add(now, for_us);
	struct bucket_answer answer;
	int64_t spent = 0;

	for (; mono_since(until, now) > 0; now = mono_add(now, MS(20))) {
		memset(&ask, 0, sizeof(ask));
		ask.lanes[0] = (struct bucket_lane){ .flow = "x", .weight = 1, .ready = 10, .waiting = 10 };
		ask.lane_count = 1;
		member_spend(&member, &quota, &ask, now, &answer);
		assert_ptr_equal(ask.quota, &quota);
		spent += answer.granted;
	}
	return spent;
}

/* Alone it spends its share and no more, tells all of that when the store is back, and begins anew the next time. */
static void
test_spend(void **state)
{
	int64_t spent = 0, told = 0;

	(void)state;
	hear_of(9, 1, 0);
	hear_of(9, 2, 0);
	assert_false(asked()->tells);
	now = mono_add(now, BUCKET_SILENT_US + quota.token);
	assert_true(member_may_spend(&member, &quota, now));
	spent = spend(quota.window_us);
	assert_in_range(spent, 46, 50);
	spent = spend(quota.window_us);
	assert_in_range(spent, 46, 50);
	asked();
	assert_true(ask.tells);			/* in the same epoch, too */
	assert_string_equal(ask.id, "me");
	for (size_t i = 0; i < ask.own_count; i++)
		told += ask.own[i].out;
	assert_in_range(told, spent, 50 + 1);	/* one more in a window that is not aligned with its own */
	hear_of(9, 3, 0);
	assert_null(member.alone);
	assert_false(member_may_spend(&member, &quota, now));
	assert_false(asked()->tells);
	hear_of(12, 1, 0);			/* what was taken alone is told to another store as well */
	asked();
	told = 0;
	for (size_t i = 0; i < ask.own_count; i++)
		told += ask.own[i].out;
	assert_in_range(told, spent, 50 + 1);
}

/* However slots change, what it remembers is bounded, and nothing of it is lost. */
static void
test_bounded(void **state)
{
	int64_t all = 0;

	(void)state;
	hear_of(1, 1, 0);
	for (int64_t epoch = 1; epoch <= 2 * BUCKET_OWN_MAX; epoch++) {
		hear_of(epoch, 2, 2);
		now = mono_add(now, MS(1));
		assert_true(member.entry_count <= BUCKET_OWN_MAX);
	}
	hear_of(INT64_MAX / 2, 1, 0);
	asked();
	assert_true(ask.own_count <= BUCKET_OWN_MAX);
	for (size_t i = 0; i < ask.own_count; i++)
		all += ask.own[i].out;
	assert_int_equal(all, 4 * BUCKET_OWN_MAX);
}

/* Where no others are there is nobody to tell. */
static void
test_without_others(void **state)
{
	struct member_self self = { .start = 7, .born = now, .sent_ago_us = -1 };

	(void)state;
	member_fini(&member);
	member_init(&member, &self);
	assert_false(asked()->tells);
	assert_string_equal(ask.id, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ask), TEST(test_predecessor), TEST(test_own_tokens), TEST(test_told_crosses), TEST(test_peers),
		TEST(test_may_spend), TEST(test_may_not_spend), TEST(test_spend), TEST(test_bounded), TEST(test_without_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
