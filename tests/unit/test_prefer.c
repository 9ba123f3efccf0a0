/* Prefer: wait=N by RFC 7240, and the RateLimit fields. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "rules/prefer.h"
#include "rules/ratelimit.h"

static const struct { const char *first, *second; int64_t seconds; } waits[] = {
	{ NULL, NULL, -1 },
	{ "wait=10", NULL, 10 },
	{ "wait=0", NULL, 0 },
	{ "WAIT = 10", NULL, 10 },
	{ "wait=\"10\"", NULL, 10 },
	{ "respond-async, wait=10", NULL, 10 },
	{ "respond-async , wait=7;x=y ; z", NULL, 7 },
	{ "respond-async", "wait=3", 3 },
	{ "wait=4, wait=5", "wait=6", 4 },		/* the first counts */
	{ "wait=x, wait=5", NULL, -1 },			/* even where it is none */
	{ "wait", NULL, -1 },
	{ "wait=", NULL, -1 },
	{ "wait=\"\"", NULL, -1 },
	{ "wait=-1", NULL, -1 },
	{ "wait=+1", NULL, -1 },
	{ "wait=1.5", NULL, -1 },
	{ "wait=10s", NULL, -1 },
	{ "wait=1 0", NULL, -1 },
	{ "waits=1", NULL, -1 },
	{ "x=\"wait=9, wait=8\"", NULL, -1 },		/* inside a quoted string */
	{ "x=\"a\\\", wait=9\", wait=8", NULL, 8 },
	{ "x=\"never ends, wait=9", NULL, -1 },
	{ "x;wait=9", NULL, -1 },			/* a parameter of another preference */
	{ "\"wait\"=9", NULL, -1 },
	{ ",,, ,wait=2,", NULL, 2 },
	{ "wait=86401", NULL, 86400 },
	{ "wait=18446744073709551615", NULL, 86400 },
	{ "wait=18446744073709551616", NULL, -1 },
	{ "", "", -1 },
	{ "\\", "\"\\", -1 },
};

static void
test_wait(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		static struct http1_head head;

		head.fields[0] = (struct http1_field){ STR("Accept"), STR("wait=99") };
		head.fields[1] = (struct http1_field){ STR("prefer"), str_from(waits[i].first) };
		head.fields[2] = (struct http1_field){ STR("Prefer"), str_from(waits[i].second) };
		head.field_count = waits[i].second ? 3 : waits[i].first ? 2 : 1;
		if (prefer_wait_s(&head) != waits[i].seconds)
			fail_msg("%s | %s: %lld", waits[i].first, waits[i].second, (long long)prefer_wait_s(&head));
	}
}

static void
test_ratelimit(void **state)
{
	static const struct { const char *name; struct config_quota quota; const char *policy; } cases[] = {
		{ "default", { .requests = 200, .window_us = 60000000, .jitter_us = 250000 }, "\"default\";q=198;w=60" },
		{ "default", { .requests = 200, .window_us = 60000000, .jitter_us = 250000, .outside = 10 }, "\"default\";q=188;w=60" },
		{ "a", { .requests = 2, .window_us = 1500000, .jitter_us = 250000 }, "\"a\";q=0;w=2" },
		{ "x", { .requests = 10000000, .window_us = 3600000000, .jitter_us = 10000 }, "\"x\";q=9999915;w=3600" },
		{ "q\"b\\c\x01\x7f", { .requests = 11, .window_us = 1000000, .jitter_us = 10000 }, "\"q\\\"b\\\\c\";q=9;w=1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config_identity identity = { .name = str_from(cases[i].name), .quota = cases[i].quota };
		struct buf out = BUF_EMPTY;

		ratelimit_policy(&out, &identity);
		buf_add_char(&out, '\0');
		assert_string_equal(out.p, cases[i].policy);
		buf_clear(&out);
		ratelimit_exhausted(&out, &identity, (int64_t)i);
		buf_add_char(&out, '\0');
		assert_non_null(strstr(out.p, i < 2 ? ";r=0;t=1" : ";r=0;t="));
		buf_fini(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_wait), cmocka_unit_test(test_ratelimit) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
