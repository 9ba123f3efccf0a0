/* A status as text: durations, tables, why nothing is granted, and whatever else may come as JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "rules/report_private.h"
#include "rules/report_text.h"

#define HEAD "{\"program\":\"jobgate\",\"limiter\":{\"store\":{\"kind\":\"redis\",\"on_failure\":\"share\"},\"identities\":[{\"name\":\"x\","
#define TAIL "}]}}"

static const struct { int64_t ms; const char *text; } durations[] = {
	{ -1, "0 ms" }, { 0, "0 ms" }, { 999, "999 ms" }, { 1000, "1 s" }, { 3240, "3.2 s" }, { 9960, "10.0 s" }, { 60000, "60 s" },
	{ 119999, "119 s" }, { 120000, "2 min" }, { 7199999, "119 min" }, { 7200000, "2 h 0 min" }, { 172799999, "47 h 59 min" },
	{ 172800000, "2 d 0 h" }, { INT64_MAX, "106751991167 d 7 h" },
};

static void
test_durations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		struct buf out = BUF_EMPTY;

		report_add_ms(&out, durations[i].ms);
		if (!str_eq(buf_str(&out), str_from(durations[i].text)))
			fail_msg("%lld: %.*s", (long long)durations[i].ms, STR_ARG(buf_str(&out)));
		buf_fini(&out);
	}
}

static void
test_table(void **state)
{
	static const struct { const char *rows, *sides, *text; } cases[] = {
		{ "", "lr", "" },
		{ "a\t1\tx\nlong\t22\tyy\n", "lrl", "  a      1  x\n  long  22  yy\n" },
		{ "0123456789012345678901234567890123456789\tx\n", "ll", "  0123456789012345678901234567890123..  x\n" },
		{ "\t\t\n", "lrl", "        \n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = BUF_EMPTY;

		report_table(&out, str_from(cases[i].rows), cases[i].sides);
		if (!str_eq(str_trim(buf_str(&out)), str_trim(str_from(cases[i].text))))
			fail_msg("%zu: [%.*s]", i, STR_ARG(buf_str(&out)));
		buf_fini(&out);
	}
}

/* An identity's members of JSON, and what stands in the text. */
static const struct { const char *json, *text; } whys[] = {
	{ "\"state\":\"open\",\"rate_per_s\":3.31", "granting   3.31 a second to the whole fleet\n" },
	{ "\"state\":\"open\",\"rate_per_s\":3.31,\"next_turn_ms\":300", "to the whole fleet, the next here in 300 ms\n" },
	{ "\"state\":\"open\",\"rate_per_s\":0.017,\"quota\":{\"window_ms\":60000},\"out\":150,\"reserved\":66,\"limit\":200",
	    "NOTHING for now: all tokens are out, or kept back\n" },
	{ "\"state\":\"open\",\"alone\":true", "ALONE: the store is away, this instance spends its share\n" },
	{ "\"state\":\"settling\",\"opens_in_ms\":1500", "the bucket is new to the store and waits for the members to come; at most 1.5 s more\n" },
	{ "\"state\":\"unheard\"", "NOTHING: the other members are to be heard first\n" },
	{ "\"state\":\"unheard\",\"members\":[{\"id\":\"m1\",\"silent_ms\":5},{\"id\":\"m2\",\"silent_ms\":null},{\"id\":\"me\",\"self\":true}]",
	    "NOTHING: member m1 is to be heard first\n" },
	{ "\"state\":\"unheard\",\"members\":[{\"id\":\"m1\",\"silent_ms\":5},{\"id\":\"m2\",\"silent_ms\":5}]",
	    "NOTHING: the 2 members that are silent (see below) are to be heard first\n" },
	{ "\"state\":\"unknown\"", "what it had taken must come back first\n" },
	{ "\"state\":\"paused\",\"opens_in_ms\":23000", "the upstream has answered 429 and wants a pause; at most 23 s more\n" },
	{ "\"state\":\"strange\"", "NOTHING: this instance tells the store anew" },
	{ "\"state\":\"crowded\"", "NOTHING: the store knows as many members as it can" },
	{ "\"state\":\"left\"", "NOTHING: this instance has said good-bye" },
	{ "\"state\":\"store_away\",\"opens_in_ms\":9000,\"share\":7",
	    "the store is away, requests wait until the share of 7 may be spent here; at most 9 s more\n" },
	{ "\"state\":\"store_away\",\"opens_in_ms\":null", "this instance has no share that it could spend alone\n" },
	{ "\"state\":\"open\",\"limit\":180,\"quota\":{\"requests\":200}", "180 instead of 200 (90 %)" },
	{ "\"heard_ago_ms\":null", "tokens     not known" },
	{ "\"heard_ago_ms\":5000,\"out\":3,\"limit\":9,\"reserved\":4", "3 of 9 out (0 taken by this instance), 0 free that nobody wants, "
	    "4 kept for silent members; as of 5 s ago\n" },
	{ "\"heard_ago_ms\":5,\"out\":3,\"limit\":9,\"ahead\":2", "0 free that nobody wants, 2 in hand here for who comes next\n" },
	{ "\"state\":\"open\",\"queue\":{\"lanes\":[{\"caller\":\"etl\",\"making_ready\":1}]}", "connection to the upstream or journal\n" },
	{ "\"state\":\"open\",\"queue\":{\"more_lanes\":3,\"more_waiting\":7}", "and 3 more, in which 7 wait\n" },
};

static void
test_whys(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(whys) / sizeof(whys[0]); i++) {
		struct buf json = BUF_EMPTY, out = BUF_EMPTY;

		buf_printf(&json, "%s%s%s", HEAD, whys[i].json, TAIL);
		assert_true(report_text(buf_str(&json), &out));
		if (str_find(buf_str(&out), str_from(whys[i].text)) == out.n)
			fail_msg("%s: %.*s", whys[i].json, STR_ARG(buf_str(&out)));
		buf_fini(&json);
		buf_fini(&out);
	}
}

static void
test_none_of_ours(void **state)
{
	static const char *const cases[] = { "", "{", "[]", "null", "{}", "{\"program\":\"jobgate\"}", "{\"limiter\":{}}", "\xff",
		"{\"program\":\"other\",\"limiter\":{}}", "{\"program\":\"jobgate\",\"limiter\":{}}x" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = BUF_EMPTY;

		assert_false(report_text(str_from(cases[i]), &out));
		assert_int_equal(out.n, 0);
	}
	assert_false(report_text((struct str){ NULL, 0 }, NULL));
}

/* What a terminal would obey does not reach it. */
static void
test_printable(void **state)
{
	struct buf out = BUF_EMPTY;

	(void)state;
	assert_true(report_text(STR("{\"program\":\"jobgate\",\"instance\":\"\\u001b[2J\\n\\t\\u00e9\",\"reasons\":[\"\\u009b\",1],"
	    "\"limiter\":{\"identities\":[3,null,{\"members\":[{\"id\":\"\\ta\\r\"}]}],\"throttled\":{\"last\":[0,{\"time\":\"\\b\"}]}}}"), &out));
	for (size_t i = 0; i < out.n; i++)
		assert_true(out.p[i] == '\n' || (out.p[i] >= ' ' && out.p[i] <= '~'));
	assert_true(str_find(buf_str(&out), STR("?[2J??")) < out.n);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_whys),
		cmocka_unit_test(test_none_of_ours),
		cmocka_unit_test(test_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
