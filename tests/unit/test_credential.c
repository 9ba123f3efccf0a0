/* rules/credential: which keys may be used when and from where, and which are named before they end. */
#include "rules/credential.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#define DAY_US (INT64_C(86400) * CLOCK_SECOND)

static const struct { const char *text; int64_t us; } times[] = {
	{ "1970-01-01T00:00:01Z", 1000000 }, { "2026-08-01T12:34:56Z", 1785587696000000 }, { "2026-08-01t12:34:56z", 1785587696000000 },
	{ "2026-08-01T12:34:56.123456Z", 1785587696123456 }, { "2026-08-01T12:34:56.1Z", 1785587696100000 },
	{ "2026-08-01T12:34:56.123456789Z", 1785587696123456 }, { "2026-08-01T14:34:56+02:00", 1785587696000000 },
	{ "2026-08-01T07:04:56-05:30", 1785587696000000 }, { "2024-02-29T00:00:00Z", 1709164800000000 },
	{ "2100-03-01T00:00:00Z", 4107542400000000 },
	{ "", 0 }, { "2026-08-01", 0 }, { "2026-08-01T12:34:56", 0 }, { "2026-08-01 12:34:56Z", 0 }, { "2026-08-01T12:34Z", 0 },
	{ "2026-02-29T00:00:00Z", 0 }, { "2100-02-29T00:00:00Z", 0 }, { "2026-04-31T00:00:00Z", 0 }, { "2026-13-01T00:00:00Z", 0 },
	{ "2026-00-01T00:00:00Z", 0 }, { "2026-08-00T00:00:00Z", 0 }, { "2026-08-01T24:00:00Z", 0 }, { "2026-08-01T12:60:00Z", 0 },
	{ "2026-08-01T12:34:56.Z", 0 }, { "2026-08-01T12:34:56+2:00", 0 }, { "2026-08-01T12:34:56+0200", 0 },
	{ "2026-08-01T12:34:56+24:00", 0 }, { "2026-08-01T12:34:56+02:60", 0 }, { "2026-08-01T12:34:56ZZ", 0 },
	{ "2026-08-01T12:34:56Z ", 0 }, { "1969-12-31T23:59:59Z", 0 }, { "1970-01-01T00:00:00+00:01", 0 }, { "2026-8-01T12:34:56ZZ", 0 },
	{ "+026-08-01T12:34:56Z", 0 },
};

static void
test_date_times(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct wall_time t = { 0 };

		if (clock_parse_date_time(str_from(times[i].text), &t) != (times[i].us != 0) || t.us != times[i].us)
			fail_msg("%s: %lld", times[i].text, (long long)t.us);
	}
}

static void
test_judgement(void **state)
{
	struct network office;
	struct network_address inside, outside;
	struct config_key key = { .id = STR("k") };

	(void)state;
	assert_null(network_parse(STR("10.0.0.0/8"), &office));
	assert_true(network_parse_address(STR("10.1.2.3"), &inside) && network_parse_address(STR("192.0.2.1"), &outside));
	assert_int_equal(credential_judge_key(&key, (struct wall_time){ INT64_MAX }, &outside), CREDENTIAL_GOOD);
	key.expires.us = 1000;
	assert_int_equal(credential_judge_key(&key, (struct wall_time){ 999 }, &outside), CREDENTIAL_GOOD);
	assert_int_equal(credential_judge_key(&key, (struct wall_time){ 1000 }, &outside), CREDENTIAL_EXPIRED);
	key.networks = (struct network_list){ &office, 1 };
	assert_int_equal(credential_judge_key(&key, (struct wall_time){ 999 }, &inside), CREDENTIAL_GOOD);
	assert_int_equal(credential_judge_key(&key, (struct wall_time){ 999 }, &outside), CREDENTIAL_NETWORK);
	assert_int_equal(credential_judge_key(&key, (struct wall_time){ 1000 }, &inside), CREDENTIAL_EXPIRED);
}

/* The sentences about keys that end at US, at the time NOW. */
static void
assert_warnings(int64_t now_us, const char *expected)
{
	struct config_key keys[] = { { .id = STR("old"), .expires = { 100 * DAY_US } }, { .id = STR("for-ever") } };
	struct config_caller caller = { .name = STR("etl"), .keys = keys, .key_count = 2 };
	struct config config = { .callers = &caller, .caller_count = 1 };
	struct buf text = BUF_EMPTY;

	credential_warn_expiry(&config, (struct wall_time){ now_us }, &text);
	if (!str_eq(buf_str(&text), str_from(expected)))
		fail_msg("%.*s", STR_ARG(buf_str(&text)));
	buf_fini(&text);
}

static void
test_warnings(void **state)
{
	(void)state;
	assert_warnings(70 * DAY_US - 1, "");
	assert_warnings(70 * DAY_US, "key \"old\" of caller \"etl\" expires in 30 days (1970-04-11T00:00:00Z)\n");
	assert_warnings(98 * DAY_US, "key \"old\" of caller \"etl\" expires in 2 days (1970-04-11T00:00:00Z)\n");
	assert_warnings(98 * DAY_US + DAY_US / 24, "key \"old\" of caller \"etl\" expires in 47 hours (1970-04-11T00:00:00Z)\n");
	assert_warnings(100 * DAY_US, "key \"old\" of caller \"etl\" has expired (1970-04-11T00:00:00Z)\n");
}

/* Hundreds that end on one day are counted, not listed. */
static void
test_many_warnings(void **state)
{
	struct config_key keys[25];
	struct config_caller caller = { .name = STR("etl"), .keys = keys, .key_count = 25 };
	struct config config = { .callers = &caller, .caller_count = 1 };
	struct buf text = BUF_EMPTY;
	size_t lines = 0;

	(void)state;
	for (size_t i = 0; i < 25; i++)
		keys[i] = (struct config_key){ .id = STR("k"), .expires = { DAY_US } };
	credential_warn_expiry(&config, (struct wall_time){ 0 }, &text);
	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	assert_int_equal(lines, 21);
	assert_true(str_find(buf_str(&text), STR("5 more keys have expired or do so within 30 days\n")) < text.n);
	buf_fini(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_date_times),
		cmocka_unit_test(test_judgement),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_many_warnings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
