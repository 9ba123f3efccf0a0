/* The bucket in C, scenario by scenario: shape, limits and order. That the script says the same is test_bucket_script's; whole fleets are test_fleet's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "bucket_fixture.h"

/* A bucket never seen grants nothing for T where others may come, and evenly from the first where none can. */
static void
test_begin(void **state)
{
	const struct bucket_answer *a;
	int64_t begun;

	(void)state;
	setup(100, 1);
	begun = now;
	want_only(A, "x", 3);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_STRANGE);	/* the epoch is news to it */
	assert_int_equal(a->granted, 0);
	assert_int_equal(a->wait_us, 0);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_SETTLING);
	assert_int_equal(a->wait_us, T);
	for (now += MS(500); now < begun + T; now += MS(500)) {
		a = call(A);
		assert_int_equal(a->closed, BUCKET_SETTLING);
		assert_int_equal(a->wait_us, begun + T - now);
	}
	a = call(A);
	assert_int_equal(a->closed, BUCKET_OPEN);

	setup(100, 1);
	A->ask.id[0] = '\0';
	want_only(A, "x", 3);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_OPEN);
	assert_int_equal(a->granted, 0);
	assert_in_range(a->wait_us, quota.token / 100, quota.token / 100 + 1);
	assert_int_equal(a->share, 0);
	now += a->wait_us;
	assert_int_equal(call(A)->granted, 1);
}

/* Who comes late by L loses nothing; who comes when told gets all that there is. */
static void
test_pace(void **state)
{
	/* From half a slot on the log, which counts by slots, keeps a few tokens back. */
	static const struct { int64_t us, least; } late[] = { { 0, 999 }, { QUOTA_LATENESS_US, 999 }, { 40000, 995 } };

	(void)state;
	for (size_t i = 0; i < sizeof(late) / sizeof(late[0]); i++) {
		int64_t begun, granted = 0;

		setup(100, 1);
		open_alone();
		begun = now;
		want_only(A, "x", 10);
		while (now < begun + 10 * quota.token) {
			const struct bucket_answer *a = call(A);

			granted += a->granted;
			assert_true(a->granted <= 1 && a->out <= 100);
			now += a->wait_us + (a->granted ? late[i].us : 0);
		}
		assert_in_range(granted, late[i].least, 1000);
	}
}

/* Credit for a burst grows while nobody waits, and not while somebody does. */
static void
test_burst(void **state)
{
	const struct bucket_answer *a;

	(void)state;
	setup(100, 75);
	open_alone();
	keep(1, quota.token);
	want_only(A, "x", 100);
	a = call(A);
	assert_int_equal(a->granted, 75);
	assert_in_range(a->bursts, 73, 75);		/* what the pace had is of the pace */
	assert_in_range(a->rate, 25, 27);		/* the others come at that, */
	for (int64_t until = now + 3 * quota.token; now < until; now += a->wait_us) {
		a = call(A);
		assert_true(a->granted <= 1);		/* evenly, also when the burst has come back */
		A->ask.lanes[0].ready = A->ask.lanes[0].waiting = 10;
	}
	/* A second without anybody is worth its part. */
	want_only(A, "x", 0);
	call(A);
	now += S(1);
	call(A);
	want_only(A, "x", 100);
	assert_in_range(call(A)->granted, 9, 11);
	/* So is one that was slept through, but no more than two. */
	want_only(A, "x", 0);
	call(A);
	now += quota.token;
	want_only(A, "x", 100);
	assert_in_range(call(A)->granted, 19, 22);
}

/* A token comes back W + J after the end of its slot. */
static void
test_return(void **state)
{
	int64_t taken, end;

	(void)state;
	setup(100, 75);
	open_alone();
	keep(1, quota.token);
	want_only(A, "x", 75);
	assert_int_equal(call(A)->granted, 75);
	taken = now;
	end = (taken / quota.slot_us + 1) * quota.slot_us;
	want_only(A, "x", 0);
	now = taken + out_us();
	assert_int_equal(call(A)->out, 75);
	now = end + out_us() - 1;
	assert_int_equal(call(A)->out, 75);
	now++;
	assert_int_equal(call(A)->out, 0);
}

/* The upstream's pause stops all; each takes a tenth of the rate, a hundredth comes back in W + J. */
static void
test_pause(void **state)
{
	const struct bucket_answer *a;

	(void)state;
	setup(1000, 750);
	open_with(2);
	A->ask.pause_us = S(5);
	want_only(A, "x", 5);
	a = call(A);
	A->ask.pause_us = 0;
	assert_int_equal(a->closed, BUCKET_PAUSED);
	assert_int_equal(a->paused_us, S(5));
	assert_int_equal(a->granted, 0);
	assert_int_equal(a->limit, 950);
	now += S(1);
	want_only(B, "x", 5);
	B->ask.pause_us = S(2);		/* the same trouble, not longer */
	a = call(B);
	assert_int_equal(a->paused_us, S(4));
	assert_int_equal(a->wait_us, S(4));
	assert_int_equal(a->limit, 950);
	B->ask.pause_us = S(5);		/* longer */
	assert_int_equal(call(B)->paused_us, S(5));
	B->ask.pause_us = INT64_MAX;
	assert_int_equal(call(B)->paused_us, BUCKET_PAUSE_MAX_US);
	B->ask.pause_us = 0;
	assert_int_equal(call(B)->limit, 950);
	keep(2, BUCKET_PAUSE_MAX_US);
	want_only(A, "x", 100);
	a = call(A);
	assert_int_equal(a->closed, BUCKET_OPEN);
	assert_true(a->granted <= 50);	/* re-entry is even, but for what half a second is worth */
	assert_int_equal(a->limit, 950);
	keep(2, out_us() + MS(1));
	assert_int_equal(call(A)->limit, 960);
	keep(2, 9 * out_us());
	assert_int_equal(call(A)->limit, 1000);
	for (int i = 0; i < 80; i++) {
		A->ask.pause_us = 1;
		call(A);
		now += 2;
	}
	A->ask.pause_us = 0;
	assert_in_range(call(A)->limit, 100, 109);	/* never below a tenth; cuts are rounded */
}

/* A lane's own limits: all of them and the identity's give, or none does. */
static void
test_own_limits(void **state)
{
	const struct bucket_answer *a;
	struct bucket_lane *lane;

	(void)state;
	setup(100, 75);
	open_alone();
	keep(1, quota.token);
	A->ask.limit_count = 2;
	A->ask.limits[0] = (struct bucket_limit){ "r:fast", 10, S(1), 4 };
	A->ask.limits[1] = (struct bucket_limit){ "r:slow", 1, S(2), 2 };
	want_only(A, "x", 10);
	lane = &A->ask.lanes[0];
	lane->limits[0] = 0;
	lane->limits[1] = 1;
	lane->limit_count = 2;
	a = call(A);
	assert_int_equal(a->granted, 2);	/* both are full: the slow one says how many */
	assert_int_equal(a->wait_us, S(2));
	assert_int_equal(a->lanes[0].place, BUCKET_PLACE_LATER);
	want_only(A, "x", 10);			/* the fast one alone has lost only two */
	A->ask.lanes[0].limit_count = 1;
	assert_int_equal(call(A)->granted, 2);
	want_only(A, "x", 10);			/* without limits nobody waits for them */
	want(A, "y", 10)->limit_count = 1;
	a = call(A);
	assert_int_equal(a->lanes[0].granted, 10);
	assert_int_equal(a->lanes[1].granted, 0);
	assert_int_equal(a->wait_us, MS(100));
	now += S(2);
	want_only(A, "x", 0);
	call(A);
	want_only(A, "y", 200);			/* the identity's are gone: the limits keep theirs */
	assert_in_range(call(A)->granted, 50, 80);
	want_only(A, "x", 1);
	A->ask.lanes[0].limit_count = 1;
	a = call(A);
	assert_int_equal(a->granted, 0);
	for (int i = 0; i < 5 && a->granted == 0; i++) {
		now += a->wait_us;
		a = call(A);
	}
	assert_int_equal(a->granted, 1);
	/* A limit never seen has been filling since the epoch began; another window begins empty. */
	A->ask.limits[0] = (struct bucket_limit){ "r:new", 1, S(3600), 5 };
	want_only(A, "x", 1);
	A->ask.lanes[0].limit_count = 1;
	now += S(2);
	assert_int_equal(call(A)->granted, 0);
	A->ask.limits[0].window_us = S(60);
	assert_int_equal(call(A)->granted, 0);
	assert_true(A->answer.wait_us > S(5));	/* as long as anybody's turns are looked ahead */
}

/* Callers share by weight, through whichever members they come. */
static void
test_weights(void **state)
{
	int64_t granted[3] = { 0 };

	(void)state;
	setup(100, 1);
	open_with(2);
	for (int i = 0; i < 3000; i++, now += MS(20)) {
		want_only(A, "light", 5);
		want_only(B, "light", 5);
		want(B, "heavy", 5)->weight = 3;
		call(A);
		granted[0] += A->answer.granted;
		call(B);
		granted[1] += B->answer.lanes[0].granted;
		granted[2] += B->answer.lanes[1].granted;
		assert_int_equal(A->answer.weight, i == 0 ? 1 : 4);
		assert_int_equal(A->answer.lanes[0].members, i == 0 ? 1 : 2);
	}
	assert_true(granted[0] + granted[1] + granted[2] > 560);
	assert_in_range(granted[2] * 100 / (granted[0] + granted[1]), 290, 310);
	assert_in_range(granted[0] * 100 / granted[1], 90, 110);	/* of one caller: by turns */
}

/*
 * Each of many callers comes once, while somebody always waits: 512 that had theirs were remembered for ever, since only they could have
 * moved virtual time on, and whoever else came was never served.
 */
static void
test_more_callers_than_are_remembered(void **state)
{
	char name[16];

	(void)state;
	setup(20000, 100);
	open_with(1);
	for (int i = 0; i < 3000; i++, now += MS(20)) {
		snprintf(name, sizeof(name), "caller%d", i);
		want_only(A, name, 1);
		want(A, "slow", 1)->ready = 0;
		assert_int_equal(call(A)->lanes[0].granted, 1);
	}
}

/* Where all that are remembered wait, one more is served when one of them has gone. */
static void
test_no_place_for_one_more(void **state)
{
	char name[16];

	(void)state;
	setup(2, 1);
	open_with(17);
	for (size_t i = 0; i < 512; i++) {
		snprintf(name, sizeof(name), "caller%zu", i);
		if (i % 32 == 0)
			members[i / 32].ask.lane_count = 0;
		want(&members[i / 32], name, 5);
	}
	for (size_t i = 0; i < 16; i++)
		call(&members[i]);
	want_only(&members[16], "one more", 1);
	assert_int_equal(call(&members[16])->weight, 512);
	assert_int_equal(members[16].answer.lanes[0].members, 0);	/* nobody who waits has given way */
	members[0].ask.lane_count = 31;
	call(&members[0]);
	assert_int_equal(call(&members[16])->weight, 512);	/* of 511 and one more */
	assert_int_equal(members[16].answer.lanes[0].members, 1);
}

/* What is another member's is left for it; what it has not fetched after 10 ms is anybody's. */
static void
test_left_for_another(void **state)
{
	const struct bucket_answer *a;
	int64_t waits = 0;

	(void)state;
	setup(100, 1);
	open_with(2);
	want_only(A, "x", 5);
	call(A);
	want_only(B, "y", 5);
	call(B);
	A->ask.lanes[0].ready = 0;		/* nobody fetches its turns there */
	for (int i = 0; i < 10; i++) {
		a = call(B);
		if (a->granted == 0 && a->wait_us == MS(11)) {
			int64_t left_at = now;

			waits++;
			now = left_at + MS(10);
			assert_int_equal(call(B)->granted, 0);
			now = left_at + MS(11);
			assert_int_equal(call(B)->granted, 1);
		} else {
			now += a->wait_us;
		}
		A->ask.lanes[0].waiting = 5;
	}
	assert_true(waits >= 3);
	/* When B is told to come, A's turns are taken into account. */
	now += T + 1;				/* what A told is too old */
	call(B);
	now += S(1);
	for (int i = 0; i < 5; i++) {
		a = call(B);
		assert_true(a->wait_us != MS(11));
		now += a->wait_us;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begin), cmocka_unit_test(test_pace), cmocka_unit_test(test_burst),
		cmocka_unit_test(test_return), cmocka_unit_test(test_pause), cmocka_unit_test(test_own_limits),
		cmocka_unit_test(test_weights), cmocka_unit_test(test_more_callers_than_are_remembered),
		cmocka_unit_test(test_no_place_for_one_more), cmocka_unit_test(test_left_for_another),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
