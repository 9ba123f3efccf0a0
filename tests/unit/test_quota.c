/* What a stated quota permits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "rules/bucket.h"

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

/* B + r (W + J) is Q exactly, and no sum of the bucket leaves the integers that a double holds. */
static void
test_bounds(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		struct quota q = { 0 };
		const char *why = NULL;

		assert_int_equal(quota_derive(&bounds[i].stated, &q, &why), bounds[i].good);
		assert_int_equal(why == NULL, bounds[i].good);
		if (!bounds[i].good)
			continue;
		assert_true(q.depth + q.refill * (q.window_us + q.jitter_us) == q.requests * q.token);
		assert_true(q.refill * (bucket_full_us(&q) + 1) + q.depth < INT64_C(1) << 53);
	}
}

static void
test_for_people(void **state)
{
	struct config_quota stated = { 200, MINUTE, 250000, 0, 1 }, small = { 100, 10000000, 250000, 0, 1 };
	struct quota q;
	const char *why;

	(void)state;
	assert_true(quota_derive(&stated, &q, &why));
	assert_true(fabs(quota_rate_per_s(&q) - 3.3018) < 0.001);
	assert_true(fabs(quota_burst(&q) - 1.066) < 0.001);
	assert_true(fabs(quota_utilisation(&q) - 0.9905) < 0.0005);
	assert_true(fabs(quota_seconds_for(&q, 150) - 45.1) < 0.1);	/* the 45 s of the design */
	assert_true(quota_seconds_for(&q, 1) == 0);
	assert_true(quota_derive(&small, &q, &why));
	assert_true(fabs(quota_utilisation(&q) - 0.964) < 0.0005);	/* the 96.4 % of the issue */
}

/* Returning tokens: what is derived stays within the integers that a double holds, and slots span W + J. */
static void
test_returning(void **state)
{
	struct quota q;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		struct config_quota stated = bounds[i].stated;

		stated.burst = 0;
		assert_int_equal(quota_derive(&stated, &q, &why), bounds[i].good);
		if (!bounds[i].good)
			continue;
		assert_true(q.returning && q.burst >= 1 && q.burst < q.requests);
		assert_true(q.slot_us * QUOTA_SLOTS >= q.window_us + q.jitter_us);
		assert_true(q.burst * q.token + 2 * q.requests <= INT64_C(1) << 53);
		assert_true(q.depth + q.refill < INT64_C(1) << 53);
		stated.burst = q.requests;
		assert_true(quota_derive(&stated, &q, &why) && q.burst <= q.requests);
		stated.burst = q.requests + 1;
		assert_false(quota_derive(&stated, &q, &why));
	}
	assert_true(quota_derive(&(struct config_quota){ 200, MINUTE, 250000, 0, 0 }, &q, &why));
	assert_true(quota_burst(&q) == 150);
	assert_true(quota_utilisation(&q) >= 0.985);
	assert_true(quota_seconds_for(&q, 150) == 0);
	assert_true(fabs(quota_seconds_for(&q, 200) - 60.5) < 0.1);
	assert_true(fabs(quota_seconds_for(&q, 400) - 121) < 0.1);
	assert_true(fabs(quota_seconds_after_burst(&q) - 1.21) < 0.01);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bounds), cmocka_unit_test(test_for_people),
		cmocka_unit_test(test_returning) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
