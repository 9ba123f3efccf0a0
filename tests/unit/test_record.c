/* Audit records: the contract's members in its order, and their bound whatever comes in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "rules/config.h"
#include "rules/record.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define UUID "4b218778-e7a5-4d73-8187-f10824047715"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct record_request request = {
	.request_id = STR_INIT(UUID), .client_request_id = STR_INIT("run-7"), .caller = STR_INIT("etl"),
	    .key = STR_INIT("k1"),
	.identity = STR_INIT("default"), .peer = STR_INIT("10.0.0.7"), .operation = OPERATION_RUN,
	.workspace = STR_INIT("ws"), .item = STR_INIT("it"), .job_type = STR_INIT("R\xc3\xa9sum\xc3\xa9 \"x\"\n"),
	    .legacy = true,
	.body_bytes = 42, .body_sha256 = STR_INIT(HASH),
};

/* Check that B holds exactly the members of EXPECT, and that braces make one JSON line of them. */
static void
is_record(struct buf *b, const char *expect)
{
	struct buf line = BUF_EMPTY;
	struct json_scan s;

	assert_true(b->n <= RECORD_BYTES_MAX);
	buf_printf(&line, "{%.*s}", (int)b->n, b->p);
	json_scan_init(&s, buf_str(&line));
	assert_int_equal(json_scan_next(&s), JSON_OBJECT);
	assert_true(json_scan_skip(&s));
	assert_int_equal(json_scan_next(&s), JSON_END);
	assert_int_equal(str_find_char(buf_str(b), '\n'), b->n);
	buf_add_char(b, '\0');
	if (expect)
		assert_string_equal(b->p, expect);
	buf_fini(b);
	buf_fini(&line);
}

#define COMMON "\"request_id\":\"" UUID "\",\"client_request_id\":\"run-7\",\"caller\":\"etl\",\"key\":\"k1\"," \
	"\"identity\":\"default\",\"peer\":\"10.0.0.7\",\"operation\":\"run\","
#define ASKED "\"workspace\":\"ws\",\"item\":\"it\",\"job_type\":\"R\xc3\xa9sum\xc3\xa9 \\\"x\\\"\\u000a\"," \
	"\"legacy\":true,\"body_bytes\":42,\"body_sha256\":\"" HASH "\""

static void
test_intent(void **state)
{
	struct buf b = BUF_EMPTY;

	(void)state;
	record_intent(&b, &request);
	is_record(&b, "\"kind\":\"intent\"," COMMON ASKED);
}

/* The outcome O of the intent of R. */
static void
outcome_of(struct buf *b, const struct record_request *r, const struct record_outcome *o)
{
	struct buf intent = BUF_EMPTY;

	record_intent(&intent, r);
	record_outcome(b, buf_str(&intent), o);
	buf_fini(&intent);
}

static void
test_outcome(void **state)
{
	struct record_outcome o = { .result = RESULT_ACCEPTED, .status = 202, .answered = 202,
	    .location = STR_INIT("https://u/v1/x"),
		.instance_id = STR_INIT("i"), .upstream_request_id = STR_INIT("u"), .attempts = 1, .wait_ms = 0,
		    .duration_ms = 7 };
	struct buf b = BUF_EMPTY;

	(void)state;
	outcome_of(&b, &request, &o);
	is_record(&b, "\"kind\":\"outcome\"," COMMON "\"result\":\"accepted\",\"status\":202,\"answered\":202,\"error"
	    "_code\":null,"
	    "\"location\":\"https://u/v1/x\",\"instance_id\":\"i\",\"upstream_request_id\":\"u\",\"attempts\":1,\"wai"
	    "t_ms\":0,"
	    "\"duration_ms\":7");
}

static void
test_refusal(void **state)
{
	struct record_refusal f = { .status = 429, .error_code = STR_INIT("TooManyRequestsForJobs") };
	struct buf b = BUF_EMPTY;

	(void)state;
	record_refusal(&b, &request, &f);
	record_count(&b, 3);
	is_record(&b, "\"kind\":\"refusal\"," COMMON ASKED ",\"status\":429,\"error_code\":\"TooManyRequestsForJobs\""
	    ",\"count\":3");
}

static void
test_resolution(void **state)
{
	struct record_resolution found = { RESOLVE_MATCHED, false, STR_INIT("https://u/i"), STR_INIT("abc"), 2 };
	struct record_resolution none = { RESOLVE_NONE, true, { NULL, 0 }, { NULL, 0 }, 3 };
	struct buf b = BUF_EMPTY;

	(void)state;
	record_resolution(&b, &request, &found);
	is_record(&b, "\"kind\":\"resolution\"," COMMON "\"result\":\"accepted\",\"why\":\"matched\",\"matched_by\":\"time\","
	    "\"location\":\"https://u/i\",\"instance_id\":\"abc\",\"lists\":2");
	b = BUF_EMPTY;
	record_resolution(&b, &request, &none);
	is_record(&b, "\"kind\":\"resolution\"," COMMON "\"result\":\"unknown\",\"why\":\"none\",\"matched_by\":null,"
	    "\"location\":null,\"instance_id\":null,\"lists\":3");
}

/* What is not known is null, never an empty string or a zero. */
static void
test_nulls(void **state)
{
	struct record_request r = { .operation = OPERATION_NONE, .body_bytes = -1 };
	struct record_outcome o = { .result = RESULT_CANCELLED, .attempts = -1, .wait_ms = -1, .duration_ms = -1 };
	struct buf b = BUF_EMPTY;

	(void)state;
	record_intent(&b, &r);
	is_record(&b, "\"kind\":\"intent\",\"request_id\":null,\"client_request_id\":null,\"caller\":null,\"key\":nul"
	    "l,\"identity\":null,"
	    "\"peer\":null,\"operation\":null,\"workspace\":null,\"item\":null,\"job_type\":null,\"legacy\":false,\"b"
	    "ody_bytes\":null,"
	    "\"body_sha256\":null");
	b = BUF_EMPTY;
	outcome_of(&b, &r, &o);
	is_record(&b, "\"kind\":\"outcome\",\"request_id\":null,\"client_request_id\":null,\"caller\":null,\"key\":nu"
	    "ll,\"identity\":null,"
	    "\"peer\":null,\"operation\":null,\"result\":\"cancelled\",\"status\":0,\"answered\":0,\"error_code\":nul"
	    "l,\"location\":null,"
	    "\"instance_id\":null,\"upstream_request_id\":null,\"attempts\":null,\"wait_ms\":null,\"duration_ms\":nul"
	    "l");
}

static void
test_results(void **state)
{
	static const char *const names[] = { "accepted", "rejected", "unknown", "refused", "failed", "cancelled" };

	(void)state;
	assert_int_equal(COUNT(names), RESULT_COUNT);
	for (int i = 0; i < RESULT_COUNT; i++)
		assert_true(str_eq(record_result_name((enum record_result)i), str_from(names[i])));
}

/*
 * Values of 100 KB of the worst bytes (each becomes six) in every member, and the largest numbers: with 4 KiB to
 * spare for what the journal adds, no record passes the bound.
 */
static void
test_bound(void **state)
{
	static const char fillers[][8] = { "\x01", "\xff", "\x80", "\"", "x", "\xc3\xa9", "\xe2\x82\xac",
	    "\xf0\x9f\x98\x80", "a\x01\xff" };
	size_t largest = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(fillers); i++) {
		struct buf long_value = BUF_EMPTY, b = BUF_EMPTY;
		struct str v;
		struct record_request r;
		struct record_outcome o;
		struct record_refusal f;

		while (long_value.n < 100000)
			buf_add_z(&long_value, fillers[i]);
		v = buf_str(&long_value);
		r = (struct record_request){ v, v, v, v, v, v, OPERATION_SCHEDULE_CREATE, v, v, v, false, INT64_MAX,
		    v };
		o = (struct record_outcome){ RESULT_CANCELLED, INT32_MIN, INT32_MIN, v, v, v, v, INT32_MAX,
		    INT64_MAX, INT64_MAX };
		f = (struct record_refusal){ INT32_MIN, v };
		for (int kind = 0; kind < 4; kind++) {
			b = BUF_EMPTY;
			if (kind == 0)
				record_intent(&b, &r);
			else if (kind == 1)
				outcome_of(&b, &r, &o);
			else if (kind == 2)
				record_refusal(&b, &r, &f);
			else
				record_stop(&b, v);
			if (kind == 2)
				record_count(&b, INT64_MIN);
			largest = b.n > largest ? b.n : largest;
			assert_true(b.n <= RECORD_BYTES_MAX - 4096);
			is_record(&b, NULL);
		}
		buf_fini(&long_value);
	}
	print_message("largest record: %zu bytes without the journal's members\n", largest);
}

/* A value that fits is never cut; one that does not loses as little as its escapes ask for. */
static void
test_cut(void **state)
{
	char value[4097];
	struct record_outcome o = { .result = RESULT_ACCEPTED };
	struct buf b = BUF_EMPTY;
	size_t at;

	(void)state;
	memset(value, 'x', sizeof(value));
	o.location = (struct str){ value, 2048 };
	outcome_of(&b, &request, &o);
	at = str_find(buf_str(&b), STR("\"location\":\"")) + 12;
	assert_int_equal(str_find_char(str_sub(buf_str(&b), at, b.n), '"'), 2048);
	buf_clear(&b);
	o.location.n = 4097;
	outcome_of(&b, &request, &o);
	assert_int_equal(str_find_char(str_sub(buf_str(&b), at, b.n), '"'), 2048);
	buf_clear(&b);
	memset(value, '\x01', sizeof(value));
	outcome_of(&b, &request, &o);
	assert_int_equal(str_find_char(str_sub(buf_str(&b), at, b.n), '"'), 2048 / 6 * 6);
	buf_fini(&b);
}

static void
test_config(void **state)
{
	struct config_key keys[] = { { .id = STR_INIT("k1") }, { .id = STR_INIT("k2") } };
	struct config_caller callers[] = { { .name = STR_INIT("etl"), .keys = keys, .key_count = 2 },
	    { .name = STR_INIT("a\"b") } };
	struct config config = { .callers = callers, .caller_count = 2 };
	struct buf b = BUF_EMPTY;

	(void)state;
	record_config(&b, &config, STR(HASH), STR("start"));
	is_record(&b, "\"kind\":\"config\",\"digest\":\"" HASH "\",\"event\":\"start\",\"body_digest\":\"sha256\",\"callers\":[{\"name\":\"etl\""
	    ",\"keys\":[\"k1\",\"k2\"]},"
	    "{\"name\":\"a\\\"b\",\"keys\":[]}]");
	config.caller_count = 0;
	config.audit_hmac.n = 16;
	b = BUF_EMPTY;
	record_config(&b, &config, STR(HASH), STR("reload"));
	is_record(&b, "\"kind\":\"config\",\"digest\":\"" HASH "\",\"event\":\"reload\",\"body_digest\":\"hmac-sha256\",\"callers\":[]");
}

/* Thousands of callers, or one with thousands of keys, do not fit: the list is cut, and the record says by how much. */
static void
test_config_bound(void **state)
{
	enum { MANY = 5000 };
	struct config_key *keys = calloc(MANY, sizeof(*keys));
	struct config_caller *callers = calloc(MANY, sizeof(*callers));
	struct config config = { .callers = callers, .caller_count = MANY };
	struct buf b = BUF_EMPTY;
	size_t listed = 0, at;
	char tail[64];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		keys[i].id = STR("0123abcd");
		callers[i] = (struct config_caller){ .name = STR("caller"), .keys = keys, .key_count = 1 };
	}
	record_config(&b, &config, STR(HASH), STR("start"));
	for (struct str rest = buf_str(&b); (at = str_find(rest, STR("\"name\""))) < rest.n; listed++)
		rest = str_sub(rest, at + 1, rest.n);
	snprintf(tail, sizeof(tail), "],\"callers_omitted\":%zu", MANY - listed);
	assert_true(listed > 200 && b.n <= RECORD_BYTES_MAX - 3500);
	assert_int_equal(str_find(buf_str(&b), str_from(tail)) + strlen(tail), b.n);
	is_record(&b, NULL);
	callers[0].key_count = MANY;
	b = BUF_EMPTY;
	record_config(&b, &config, STR(HASH), STR("start"));
	is_record(&b, "\"kind\":\"config\",\"digest\":\"" HASH "\",\"event\":\"start\",\"body_digest\":\"sha256\",\"callers\":[],\"callers_omitt"
	    "ed\":5000");
	free(keys);
	free(callers);
}

static void
test_stop(void **state)
{
	struct buf b = BUF_EMPTY;

	(void)state;
	record_stop(&b, STR("SIGTERM"));
	is_record(&b, "\"kind\":\"stop\",\"reason\":\"SIGTERM\"");
}

#define UNKNOWN "\"result\":\"unknown\",\"status\":0,\"answered\":0,\"error_code\":\"JobgateOutcomeUnknown\"," \
	"\"location\":null,\"instance_id\":null,\"upstream_request_id\":null,\"attempts\":null,\"wait_ms\":null,\"duration_ms\":null"

/* An intent that a start found open gets an outcome with its own common members, byte for byte. */
static void
test_unknown_from_intent(void **state)
{
	struct buf line = BUF_EMPTY, b = BUF_EMPTY;
	struct record_request r = request;

	(void)state;
	r.caller = STR("a\"\\\n\xff\xc3\xa9");
	r.client_request_id = (struct str){ NULL, 0 };
	buf_add_z(&line, "{\"v\":1,\"journal\":\"" UUID "\",\"instance\":\"h\",\"seq\":9,\"time\":\"t\",");
	record_intent(&line, &r);
	buf_add_z(&line, ",\"prev\":\"" HASH "\",\"hash\":\"" HASH "\"}\n");
	record_unknown_from_intent(&b, buf_str(&line));
	is_record(&b, "\"kind\":\"outcome\",\"request_id\":\"" UUID "\",\"client_request_id\":null,\"caller\":\"a\\\""
	    "\\\\\\u000a\\ufffd\xc3\xa9\","
	    "\"key\":\"k1\",\"identity\":\"default\",\"peer\":\"10.0.0.7\",\"operation\":\"run\"," UNKNOWN);
	buf_fini(&line);
}

/* A line that is not as we write it never makes a record that is no JSON or goes beyond the bound. */
static void
test_unknown_from_anything(void **state)
{
	static const char nothing[] = "\"kind\":\"outcome\",\"request_id\":null,\"client_request_id\":null,\"caller\""
	    ":null,\"key\":null,"
	    "\"identity\":null,\"peer\":null,\"operation\":null," UNKNOWN;
	static const char *const lines[] = { "", "\n", "[]", "{", "{}", "null",
	    "{\"request_id\":{\"a\":1},\"caller\":[\"x\"],\"key\":true}",
		"{\"a\":{\"request_id\":\"x\"}}", "{\"request_id\":", "{\"request_id\":\"x", "\xff",
		    "{\"operation\":null,\"peer\"}" };
	struct buf line = BUF_EMPTY, b = BUF_EMPTY;

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		b = BUF_EMPTY;
		record_unknown_from_intent(&b, str_from(lines[i]));
		is_record(&b, nothing);
	}
	buf_add_z(&line, "{\"caller\":\"");
	for (int i = 0; i < 100000; i++)
		buf_add_char(&line, 'x');
	buf_add_z(&line, "\",\"request_id\":\"r\",\"request_id\":\"s\",\"key\":7,\"torn");
	b = BUF_EMPTY;
	record_unknown_from_intent(&b, buf_str(&line));
	is_record(&b, "\"kind\":\"outcome\",\"request_id\":\"r\",\"client_request_id\":null,\"caller\":null,\"key\":7,"
	    "\"identity\":null,\"peer\":null,\"operation\":null," UNKNOWN);
	buf_fini(&line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_intent),
		cmocka_unit_test(test_outcome),
		cmocka_unit_test(test_refusal), cmocka_unit_test(test_resolution),
		cmocka_unit_test(test_nulls),
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_config_bound),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_unknown_from_intent),
		cmocka_unit_test(test_unknown_from_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
