/* What a Retry-After means, and the dates in it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "rules/retry.h"

/* Sat, 01 Aug 2026 12:00:00 GMT */
#define NOW INT64_C(1785585600000000)

static const struct { const char *value; int64_t seconds; } cases[] = {
	{ NULL, 5 }, { "", 5 }, { "0", 1 }, { "1", 1 }, { "7", 7 }, { "007", 7 }, { "300", 300 }, { "301", 300 },
	{ "99999999999999999999999999", 300 }, { "-1", 5 }, { "1.5", 5 }, { "soon", 5 }, { " 7", 5 },
	{ "Sat, 01 Aug 2026 12:00:09 GMT", 9 }, { "Sat, 01 Aug 2026 11:00:00 GMT", 1 }, { "Sun, 02 Aug 2026 12:00:00 GMT", 300 },
	{ "Sat, 01 Aug 2026 12:01:60 GMT", 120 }, { "Sat, 32 Aug 2026 12:00:09 GMT", 5 }, { "Sat, 01 Aux 2026 12:00:09 GMT", 5 },
	{ "Sat, 01 Aug 2026 12:00:09 UTC", 5 }, { "Saturday, 01-Aug-26 12:00:09 GMT", 5 },
};

static void
test_retry_after(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(retry_after_us(str_from(cases[i].value), (struct wall_time){ NOW }),
		    cases[i].seconds * CLOCK_SECOND);
}

/* What is written is read back, over four centuries. */
static void
test_dates(void **state)
{
	(void)state;
	for (int64_t us = 0; us < INT64_C(12622780800000000); us += INT64_C(7654321987654)) {
		struct wall_time t = { us }, back;
		char text[CLOCK_RFC3339_BYTES], http[CLOCK_HTTP_BYTES];

		clock_format_rfc3339(t, text);
		assert_true(clock_parse_rfc3339(str_from(text), &back) && back.us == us);
		clock_format_http(t, http);
		assert_true(clock_parse_http(str_from(http), &back) && back.us == us - us % CLOCK_SECOND);
	}
}

/* Moments of one second and of its neighbours, in turn: nothing of the former one's text is left where it does not belong. */
static void
test_dates_in_turn(void **state)
{
	static const int64_t us[] = { 0, 999999, 1000000, 1, NOW + 999999, NOW, NOW - 1, NOW + 1000000, -1, 0, INT64_MAX, NOW + 5 };
	static const char *const texts[] = { "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.999999Z", "1970-01-01T00:00:01.000000Z",
		"1970-01-01T00:00:00.000001Z", "2026-08-01T12:00:00.999999Z", "2026-08-01T12:00:00.000000Z", "2026-08-01T11:59:59.999999Z",
		"2026-08-01T12:00:01.000000Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000000Z", "4247-01-10T04:00:54.775807Z",
		"2026-08-01T12:00:00.000005Z" };

	(void)state;
	for (size_t i = 0; i < sizeof(us) / sizeof(us[0]); i++) {
		char text[CLOCK_RFC3339_BYTES];

		clock_format_rfc3339((struct wall_time){ us[i] }, text);
		assert_string_equal(text, texts[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_retry_after), cmocka_unit_test(test_dates),
		cmocka_unit_test(test_dates_in_turn) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
