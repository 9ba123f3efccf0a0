/* The bucket's members, scenario by scenario: shares, silence, lost state, restarts; and random walks against the promise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "bucket_fixture.h"

/* Each believes to have Q/N at most, at any time together no more than Q; a silent one's is kept back. */
static void
test_shares(void **state)
{
	const struct bucket_answer *a;

	(void)state;
	setup(100, 75);
	assert_int_equal(call(A)->share, 100);
	assert_int_equal(call(B)->share, 0);	/* A may believe to have all */
	assert_int_equal(call(A)->share, 50);
	assert_int_equal(call(B)->share, 0);	/* not yet known to have been heard: told now */
	call(A);
	assert_int_equal(call(B)->share, 50);
	open_with(3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(members[i].ask.share, 33);
	assert_int_equal(A->answer.reserved, 0);

	now += T - MS(600);
	keep(2, MS(600) + 1);			/* C is silent */
	a = call(A);
	assert_int_equal(a->reserved, 33);
	assert_true(a->listed || a->version == A->ask.version);
	keep(2, quota.token);
	want_only(A, "x", 100);
	assert_int_equal(call(A)->granted, 67);	/* and not 75 */
	/* It comes back: its share is free when it is known to have heard so. */
	assert_int_equal(call(C)->closed, BUCKET_STRANGE);
	assert_int_equal(C->answer.wait_us, 0);
	assert_int_equal(call(C)->reserved, 0);
	assert_int_equal(C->answer.closed, BUCKET_OPEN);
}

/* A member's list says who is there, what they may believe to have, and since when they are silent. */
static void
test_list(void **state)
{
	const struct bucket_answer *a;
	int64_t heard;

	(void)state;
	setup(100, 75);
	open_with(3);
	assert_false(call(A)->listed);
	assert_false(call(C)->listed);
	heard = now;
	now += MS(500);
	keep(2, T + MS(500));
	A->ask.version--;
	a = call(A);
	assert_true(a->listed);
	assert_int_equal(a->peer_count, 3);
	assert_string_equal(a->peers[2].id, "member2");
	assert_int_equal(a->peers[0].heard_ago_us, -1);
	assert_int_equal(a->peers[1].heard_ago_us, -1);
	assert_in_range(a->peers[2].heard_ago_us, now - heard, now - heard + 1);
	assert_int_equal(a->peers[2].share, 33);
	assert_false(call(A)->listed);
}

/* Who has long been silent is forgotten, and its share is the others' again. */
static void
test_forget(void **state)
{
	int64_t heard;

	(void)state;
	setup(100, 75);
	open_with(2);
	call(B);
	heard = now;
	call(A);
	keep(1, 2 * T + 2 * out_us() + BUCKET_FORGET_US - MS(100));
	assert_int_equal(call(A)->reserved, 50);
	now = heard + 2 * T + 2 * out_us() + BUCKET_FORGET_US;
	assert_int_equal(call(A)->reserved, 50);
	now++;
	assert_int_equal(call(A)->reserved, 0);
	assert_int_equal(call(A)->share, 100);
}

/* Good-bye: the share is free at once; what was taken is out as before. */
static void
test_leave(void **state)
{
	const struct bucket_answer *a;

	(void)state;
	setup(100, 75);
	open_with(2);
	keep(2, quota.token);
	want_only(B, "x", 60);
	assert_int_equal(call(B)->granted, 60);
	B->ask.leave = true;
	a = call(B);
	assert_int_equal(a->granted, 0);
	keep(1, 2 * T);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_OPEN);
	assert_int_equal(a->reserved, 0);
	assert_int_equal(a->share, 100);
	assert_int_equal(a->out, 60);
}

/*
 * A process that begins anew cannot tell what the one before has taken. Where the bucket knows that, nothing is lost; where it may
 * not, all that may still be out is waited for.
 */
static const struct {
	const char *what;
	bool leaves, is_lost, rejoins_first;	/* the old one says good-bye; the state goes; the new one comes before that */
	int64_t sent_ago_us;
	enum bucket_closed closed;
} restarts[] = {
	{ "the state is there", false, false, false, 1000000, BUCKET_OPEN },
	{ "the state is gone", false, true, false, 1000000, BUCKET_UNKNOWN },
	{ "the state is gone, and nothing was sent", false, true, false, -1, BUCKET_OPEN },
	{ "it had said good-bye, the state is there", true, false, false, 1000000, BUCKET_OPEN },
	{ "it had said good-bye, the state is gone", true, true, false, 1000000, BUCKET_UNKNOWN },
	/* What the old one took was in the state that is gone, and the new one, though it knows the old epoch, never knew it. */
	{ "the state goes soon after it has come", false, true, true, 1000000, BUCKET_UNKNOWN },
};

static void
test_restart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(restarts) / sizeof(restarts[0]); i++) {
		const struct bucket_answer *a;

		print_message("%s\n", restarts[i].what);
		setup(100, 75);
		open_with(1);
		keep(1, 2 * quota.token);
		if (restarts[i].leaves) {
			A->ask.leave = true;
			call(A);
		}
		member_begin(0, 2, restarts[i].sent_ago_us);
		if (restarts[i].rejoins_first)
			keep(1, MS(600));
		if (restarts[i].is_lost) {
			bucket_free(&bucket);
			bucket = bucket_new();
		}
		keep(1, T + MS(100));
		a = call(A);
		assert_int_equal(a->closed, restarts[i].closed);
		if (a->closed == BUCKET_OPEN)
			continue;
		A->ask.sent_ago_us = -1;
		assert_in_range(a->wait_us, quota.token - S(4), quota.token - S(3));
		now += a->wait_us;
		call(A);	/* silent meanwhile */
		assert_int_equal(call(A)->closed, BUCKET_OPEN);
	}
}

/* Who was cut off may have spent its share to the last before it ended: that is out when its successor comes. */
static void
test_restart_after_silence(void **state)
{
	(void)state;
	setup(100, 75);
	open_with(2);
	call(B);
	keep(1, T + out_us() + S(5));
	member_begin(1, 2, S(1));
	B->ask.born_ago_us = MS(100);
	call(B);
	call(B);
	assert_int_equal(call(B)->reserved, 0);
	assert_int_equal(B->answer.out, 50);
	now += out_us();
	call(A);
	assert_int_equal(call(A)->out, 0);
}

/* A store that has lost its newest state (a copy that lags, a flush) is found out by who has heard more: all tell first. */
static void
test_stale_state(void **state)
{
	const struct bucket_answer *a;
	int64_t epoch, lost;

	(void)state;
	setup(100, 75);
	open_with(2);
	keep(2, quota.token);
	epoch = A->answer.epoch;
	A->ask.number += 7;			/* answers of the copy that is gone */
	lost = now;
	a = call(A);
	assert_true(a->epoch > epoch);
	assert_int_equal(a->closed, BUCKET_STRANGE);
	assert_int_equal(a->granted, 0);
	A->ask.own[0] = (struct bucket_own){ MS(50), 40, 38 };
	A->ask.own_count = 1;
	a = call(A);				/* tells */
	assert_int_equal(a->out, 40);
	while (now < lost + T) {
		want_only(A, "x", 5);
		assert_int_equal(call(A)->granted, 0);
		now += MS(500);
	}
	a = call(A);
	assert_int_equal(a->closed, BUCKET_UNHEARD);	/* B has not told yet */
	call(B);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_UNHEARD);
	B->ask.own[0] = (struct bucket_own){ MS(100), 20, 0 };
	B->ask.own_count = 1;
	call(B);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_OPEN);
	assert_in_range(a->out, 60, 62);

	/* All is gone: a member that is only told of is waited for until what it took has come back. */
	bucket_free(&bucket);
	bucket = bucket_new();
	A->ask.own_count = 0;
	A->ask.peers[0] = (struct bucket_peer){ "member1", MS(300), 50 };
	A->ask.peer_count = 1;
	lost = now;
	keep(1, T + MS(100));
	assert_int_equal(call(A)->closed, BUCKET_UNHEARD);
	keep(1, lost + MS(200) + T + out_us() - MS(100) - now);	/* told half a second after the loss, of 300 ms before */
	assert_int_equal(call(A)->closed, BUCKET_UNHEARD);
	keep(1, MS(200));
	a = call(A);
	assert_int_equal(a->closed, BUCKET_OPEN);
	assert_int_equal(a->reserved, 50);
}

/* A fresh connection may lead to another server: the others are to be heard there first. */
static void
test_fresh(void **state)
{
	const struct bucket_answer *a;

	(void)state;
	setup(100, 75);
	open_with(2);
	now += MS(100);
	A->ask.fresh = true;
	want_only(A, "x", 1);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_UNHEARD);
	assert_int_equal(a->granted, 0);
	assert_int_equal(a->wait_us, MS(50));
	call(B);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_OPEN);
	assert_int_equal(a->granted, 1);
	/* Who was silent already has taken nothing but of its share, which is kept back. */
	now += MS(500);
	keep(1, T);
	A->ask.fresh = true;
	a = call(A);
	assert_int_equal(a->closed, BUCKET_OPEN);
	assert_int_equal(a->reserved, 50);
}

static void
test_crowded(void **state)
{
	const struct bucket_answer *a;

	(void)state;
	setup(1000, 750);
	open_with(BUCKET_MEMBERS_MAX);
	want_only(&members[BUCKET_MEMBERS_MAX], "x", 1);
	a = call(&members[BUCKET_MEMBERS_MAX]);
	assert_int_equal(a->closed, BUCKET_CROWDED);
	assert_int_equal(a->granted, 0);
	assert_int_equal(a->share, 0);
	assert_int_equal(a->wait_us, S(1));
	A->ask.leave = true;
	call(A);
	a = call(&members[BUCKET_MEMBERS_MAX]);
	assert_true(a->closed != BUCKET_CROWDED);
}

/* Members that state different quotas: the smallest holds, until all state another. */
static void
test_smallest_quota(void **state)
{
	struct quota other;
	const char *why;

	(void)state;
	setup(100, 75);
	assert_true(quota_derive(&(struct config_quota){ 50, S(20), MS(250), 0, 10 }, &other, &why));
	open_with(2);
	B->ask.quota = &other;
	assert_int_equal(call(B)->limit, 50);
	assert_int_equal(call(A)->limit, 50);
	assert_int_equal(A->answer.token, other.token);
	keep(2, 2 * other.token);
	want_only(A, "x", 100);
	assert_int_equal(call(A)->granted, 10);
	keep(2, other.window_us);
	assert_int_equal(call(A)->out, 10);	/* as long as the longest window says */
	B->ask.quota = &quota;
	call(B);
	assert_int_equal(call(A)->limit, 100);
	assert_int_equal(A->answer.token, quota.token);
}

/* A clock that steps back neither freezes the bucket nor mints. */
static void
test_clock_back(void **state)
{
	const struct bucket_answer *a;
	int64_t wait;

	(void)state;
	setup(100, 75);
	open_with(2);
	keep(2, quota.token);
	want_only(A, "x", 100);
	assert_int_equal(call(A)->granted, 75);
	wait = A->answer.wait_us;
	now -= S(3600);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_OPEN);
	assert_int_equal(a->granted, 0);
	assert_int_equal(a->out, 75);
	assert_in_range(a->wait_us, wait - 1, wait + 1);
	now += a->wait_us;
	call(B);
	assert_int_equal(call(A)->granted, 1);
	keep(2, out_us() - S(1));
	assert_int_equal(call(A)->out, 76);
	keep(2, S(1) + 2 * quota.slot_us);
	assert_in_range(call(A)->out, 0, 1);
}

/* What nobody wants is told, as stock; it is anybody's who comes. */
static void
test_left_over(void **state)
{
	(void)state;
	setup(100, 75);
	open_with(2);
	keep(2, quota.token);
	assert_int_equal(call(A)->left, 75);
	assert_int_equal(A->answer.wait_us, 0);
	want_only(B, "x", 5);
	assert_int_equal(call(B)->granted, 5);
	assert_int_equal(B->answer.left, 70);
	assert_in_range(call(A)->left, 70, 71);
}

#define WALK_GRANTS 4000

/* Random calls, greedy, late, idle and out of turn, by three members: no window of W + J holds more than Q. */
static void
walk(uint64_t seed)
{
	static int64_t grants[WALK_GRANTS + BUCKET_TOKENS_MAX];
	struct config_quota stated;
	const char *why;
	int64_t count = 0;

	srand48((long)seed);
	setup(100, 1);
	stated = (struct config_quota){ 2 + lrand48() % 400, S(1) + lrand48() % S(20), 1000 + lrand48() % S(1), 0, 0 };
	assert_true(quota_derive(&stated, &quota, &why));
	for (int step = 0; step < 20000 && count < WALK_GRANTS; step++) {
		struct who *w = &members[lrand48() % 3];
		long kind = lrand48() % 10;
		const struct bucket_answer *a;

		want_only(w, lrand48() % 2 ? "x" : "y", lrand48() % 300);
		a = lrand48() % 20 ? call(w) : call_unheard(w);
		for (int64_t i = 0; i < a->granted; i++)
			grants[count++] = now;
		now += kind < 7 ? a->wait_us % S(1) : kind == 7 ? lrand48() % 30000 : kind == 8 ? lrand48() % (3 * quota.token / quota.requests) : 0;
		if (lrand48() % 500 == 0)
			now += out_us();
	}
	for (int64_t i = 0; i + quota.requests < count; i++)
		if (grants[i + quota.requests] - grants[i] <= out_us())
			fail_msg("seed %" PRIu64 ": more than the quota", seed);
}

static void
test_walks(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);

	(void)state;
	print_message("walks from seed %" PRIu64 "\n", seed);
	for (uint64_t i = 0; i < 50; i++)
		walk(seed + i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares), cmocka_unit_test(test_list), cmocka_unit_test(test_forget),
		cmocka_unit_test(test_leave), cmocka_unit_test(test_restart), cmocka_unit_test(test_restart_after_silence),
		cmocka_unit_test(test_stale_state), cmocka_unit_test(test_fresh), cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_smallest_quota), cmocka_unit_test(test_clock_back), cmocka_unit_test(test_left_over),
		cmocka_unit_test(test_walks),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
