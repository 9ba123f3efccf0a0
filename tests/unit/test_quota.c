/* What a stated quota permits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "rules/quota.h"

#define MINUTE INT64_C(60000000)
#define HOUR INT64_C(3600000000)

static const struct { struct config_quota stated; bool good; } bounds[] = {
	{ { 200, MINUTE, 250000, 0, 1 }, true },
	{ { 2, HOUR, 250000, 0, 1 }, true },
	{ { 10000000, 1000000, 1000, 0, 1 }, true },
	{ { 10000000, HOUR, HOUR, 9999998, 1 }, true },
	{ { 1, MINUTE, 250000, 0, 1 }, false },
	{ { 10000001, MINUTE, 250000, 0, 1 }, false },
	{ { 200, 999999, 250000, 0, 1 }, false },
	{ { 200, HOUR + 1, 250000, 0, 1 }, false },
	{ { 200, MINUTE, 0, 0, 1 }, false },
	{ { 200, MINUTE, -1, 0, 1 }, false },
	{ { 200, MINUTE, 250000, 199, 1 }, false },
	{ { 200, MINUTE, 250000, -1, 1 }, false },
	{ { 200, MINUTE, 250000, INT64_MAX, 1 }, false },
	{ { INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, 1 }, false },
};

/* Slots span W + J, and no sum of the bucket leaves the integers that a double holds. */
static void
test_bounds(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		struct config_quota stated = bounds[i].stated;
		struct quota q = { 0 };
		const char *why = NULL;

		assert_int_equal(quota_derive(&stated, &q, &why), bounds[i].good);
		assert_int_equal(why == NULL, bounds[i].good);
		if (!bounds[i].good)
			continue;
		assert_true(q.slot_us * QUOTA_SLOTS >= q.window_us + q.jitter_us);
		assert_true(q.token == (QUOTA_SLOTS + 1) * q.slot_us);
		assert_true(q.burst == 1);
		stated.burst = 0;
		assert_true(quota_derive(&stated, &q, &why) && q.burst >= 1 && q.burst < q.requests);
		assert_true(q.burst * q.token + 2 * q.requests <= INT64_C(1) << 53);
		assert_true(q.token + q.requests * (q.slot_us + QUOTA_LATENESS_US) < INT64_C(1) << 53);
		stated.burst = q.requests;
		assert_true(quota_derive(&stated, &q, &why) && q.burst <= q.requests);
		stated.burst = q.requests + 1;
		assert_false(quota_derive(&stated, &q, &why));
		stated.burst = -1;
		assert_false(quota_derive(&stated, &q, &why));
	}
}

/* A share is the same window with less in it; its burst is three quarters of it, or the stated one where that is less. */
static void
test_share(void **state)
{
	static const struct { int64_t burst, share, expected; } shares[] = {
		{ 0, 66, 49 }, { 0, 2, 1 }, { 1, 66, 1 }, { 40, 66, 40 }, { 60, 66, 49 }, { 0, 200, 150 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		struct quota whole, share;
		const char *why;

		assert_true(quota_derive(&(struct config_quota){ 200, MINUTE, 250000, 0, shares[i].burst }, &whole, &why));
		share = quota_share(&whole, shares[i].share);
		assert_int_equal(share.requests, shares[i].share);
		assert_int_equal(share.burst, shares[i].expected);
		assert_true(share.slot_us == whole.slot_us && share.token == whole.token);
	}
}

static void
test_for_people(void **state)
{
	struct config_quota even = { 200, MINUTE, 250000, 0, 1 }, stated = { 200, MINUTE, 250000, 0, 0 };
	struct quota q;
	const char *why;

	(void)state;
	assert_true(quota_derive(&even, &q, &why));
	assert_true(fabs(quota_rate_per_s(&q) - 3.3066) < 0.001);
	assert_true(fabs(quota_utilisation(&q) - 0.992) < 0.0005);
	assert_true(fabs(quota_seconds_for(&q, 150) - 45.3) < 0.1);
	assert_true(quota_seconds_for(&q, 1) == 0);
	assert_true(quota_derive(&stated, &q, &why));
	assert_int_equal(q.burst, 150);
	assert_true(quota_utilisation(&q) >= 0.985);
	assert_true(quota_seconds_for(&q, 150) == 0);
	assert_true(fabs(quota_seconds_for(&q, 200) - 60.5) < 0.1);
	assert_true(fabs(quota_seconds_for(&q, 400) - 121) < 0.1);
	assert_true(fabs(quota_seconds_after_burst(&q) - 1.21) < 0.01);
	stated.burst = 200;	/* all of it: who comes then waits for the first to return */
	assert_true(quota_derive(&stated, &q, &why));
	assert_true(fabs(quota_seconds_after_burst(&q) - 60.5) < 0.1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bounds), cmocka_unit_test(test_share),
		cmocka_unit_test(test_for_people) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
