/* The body of a run: what passes, what is refused in which words, and what any shape costs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "rules/jobbody.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Check BODY, which must pass. */
static void
passes(struct str body)
{
	struct jobbody_result r;
	struct arena arena;

	arena_init(&arena);
	jobbody_check(&arena, body, &r);
	if (!r.ok)
		fail_msg("%.*s: %.*s", STR_ARG(body), STR_ARG(r.message));
	assert_int_equal(r.fault_total, 0);
	assert_int_equal(r.fault_count, 0);
	arena_fini(&arena);
}

/* Check BODY, which must be refused with exactly the faults of the NULL-ended list, in this order. */
static void
refused(const char *body, const char *const *faults)
{
	struct jobbody_result r;
	struct arena arena;
	size_t n = 0;

	arena_init(&arena);
	jobbody_check(&arena, str_from(body), &r);
	assert_false(r.ok);
	for (; faults[n]; n++) {
		if (n >= r.fault_count || !str_eq(r.faults[n].message, str_from(faults[n])))
			fail_msg("%s: fault %zu is %.*s", body, n, n < r.fault_count ? (int)r.faults[n].message.n : 4,
			    n < r.fault_count ? r.faults[n].message.p : "none");
		assert_string_equal(r.faults[n].code, "InvalidParameter");
	}
	if (r.fault_count != n)
		fail_msg("%s: also %.*s", body, STR_ARG(r.faults[n].message));
	assert_int_equal(r.fault_total, n);
	assert_true(n != 1 || str_eq(r.message, r.faults[0].message));
	arena_fini(&arena);
}

/* The reference page's four examples, the empty bodies of real clients, and what the page leaves open. */
static void
test_passes(void **state)
{
	static const char *const bodies[] = {
		"", "\"\"", " \"\" ", "{}", "{\"executionData\":{}}", "{\"parameters\":[]}",
		"{\"executionData\":null,\"parameters\":null}",
		/* the page's */
		"{\n\"executionData\": {\n\"executeOption\": \"ApplyChangesIfNeeded\"\n},\n\"parameters\": [\n"
		    "{\n\"name\": \"Threshold\",\n\"value\": \"start\",\n\"type\": \"Automatic\"\n},\n"
		    "{\n\"name\": \"OrderKey\",\n\"value\": 25,\n\"type\": \"Automatic\"\n}\n]\n}",
		"{\"executionData\":{\"tableName\":\"Table1\",\"optimizeSettings\":{\"vOrder\":true}}}",
		"{\"parameters\":[{\"name\":\"param1\",\"value\":\"value1\",\"type\":\"Text\"},"
		    "{\"name\":\"param2\",\"value\":true,\"type\":\"Boolean\"},"
		    "{\"name\":\"param3\",\"value\":123,\"type\":\"Number\"}]}",
		/* numbers of any size, members and types that are not known, escapes */
		"{\"more\":{\"a\":[1,2]},\"executionData\":{\"n\":123456789012345678901234567890123456789,\"e\":1e999}}",
		"{\"parameters\":[{\"name\":\"p\",\"type\":\"SomethingNew\",\"value\":{\"deep\":[{}]},\"note\":1}]}",
		"{\"parameters\":[{\"\\u006eame\":\"p\",\"typ\\u0065\":\"Te\\u0078t\",\"valu\\u0065\":\"x\"}]}",
		/* keys that are the same in different objects, or differ in case */
		"{\"executionData\":{\"a\":1,\"A\":1,\"b\":{\"a\":1},\"c\":[{\"a\":1},{\"a\":1}]},\"a\":1}",
		"{\"parameters\":[{\"name\":\"a\",\"type\":\"Text\",\"value\":\"\"},"
		    "{\"name\":\"b\",\"type\":\"Text\",\"value\":\"\"}]}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bodies); i++)
		passes(str_from(bodies[i]));
	passes((struct str){ NULL, 0 });
}

/* Every type, with values that are of it and values that are not. */
static void
test_values(void **state)
{
	static const char not_variable[] = "the value is no VariableReference: not a string, or empty";
	static const char not_integer[] = "the value is no Integer: not a number without fraction and exponent";
	static const char not_number[] = "the value is no Number", not_text[] = "the value is no Text: not a string";
	static const char not_boolean[] = "the value is no Boolean: neither true nor false";
	static const char not_date[] = "the value is no DateTime: not a real date as \"YYYY-MM-DDTHH:mm:ssZ\"";
	static const char not_guid[] = "the value is no Guid: not 00000000-0000-0000-0000-000000000000";
	static const struct { const char *type, *value, *fault; } cases[] = {
		{ "VariableReference", "\"$(/**/lib/var)\"", NULL }, { "VariableReference", "\"\"", not_variable },
		{ "VariableReference", "1", not_variable }, { "VariableReference", "null", not_variable },
		{ "Integer", "0", NULL }, { "Integer", "-0", NULL }, { "Integer", "-7", NULL },
		{ "Integer", "123456789012345678901234567890", NULL }, { "Integer", "1.0", not_integer },
		{ "Integer", "1e2", not_integer }, { "Integer", "1E2", not_integer }, { "Integer", "\"1\"",
		    not_integer },
		{ "Integer", "true", not_integer }, { "Integer", "null", not_integer }, { "Integer", "[1]",
		    not_integer },
		{ "Number", "1", NULL }, { "Number", "-1.5e+300", NULL }, { "Number", "1e999", NULL },
		{ "Number", "\"1\"", not_number }, { "Number", "null", not_number }, { "Number", "{}", not_number },
		{ "Text", "\"\"", NULL }, { "Text", "\"\\n\\u00e9\"", NULL }, { "Text", "1", not_text }, { "Text",
		    "null", not_text },
		{ "Text", "{\"a\":\"b\"}", not_text }, { "Text", "[\"b\"]", not_text },
		{ "Boolean", "true", NULL }, { "Boolean", "false", NULL }, { "Boolean", "\"true\"", not_boolean },
		{ "Boolean", "0", not_boolean }, { "Boolean", "null", not_boolean },
		{ "DateTime", "\"2026-08-01T12:34:56Z\"", NULL }, { "DateTime", "\"2024-02-29T00:00:00Z\"", NULL },
		{ "DateTime", "\"2000-02-29T23:59:59Z\"", NULL }, { "DateTime", "\"9999-12-31T23:59:59Z\"", NULL },
		{ "DateTime", "\"0001-01-01T00:00:00Z\"", NULL }, { "DateTime",
		    "\"2026\\u002d08-01T12:34:56\\u005a\"", NULL },
		{ "DateTime", "\"2026-02-29T00:00:00Z\"", not_date }, { "DateTime", "\"1900-02-29T00:00:00Z\"",
		    not_date },
		{ "DateTime", "\"2026-04-31T00:00:00Z\"", not_date }, { "DateTime", "\"2026-00-01T00:00:00Z\"",
		    not_date },
		{ "DateTime", "\"2026-13-01T00:00:00Z\"", not_date }, { "DateTime", "\"2026-01-00T00:00:00Z\"",
		    not_date },
		{ "DateTime", "\"2026-01-32T00:00:00Z\"", not_date }, { "DateTime", "\"0000-01-01T00:00:00Z\"",
		    not_date },
		{ "DateTime", "\"2026-01-01T24:00:00Z\"", not_date }, { "DateTime", "\"2026-01-01T00:60:00Z\"",
		    not_date },
		{ "DateTime", "\"2016-12-31T23:59:60Z\"", not_date }, { "DateTime", "\"2026-01-01t00:00:00z\"",
		    not_date },
		{ "DateTime", "\"2026-01-01T00:00:00.0Z\"", not_date }, { "DateTime",
		    "\"2026-01-01T00:00:00+00:00\"", not_date },
		{ "DateTime", "\"2026-01-01\"", not_date }, { "DateTime", "\"2026-01-01 00:00:00Z\"", not_date },
		{ "DateTime", "\"2o26-01-01T00:00:00Z\"", not_date }, { "DateTime", "\"\"", not_date }, { "DateTime",
		    "20260101", not_date },
		{ "DateTime", "null", not_date },
		{ "Guid", "\"4b218778-e7a5-4d73-8187-f10824047715\"", NULL }, { "Guid",
		    "\"4B218778-E7A5-4D73-8187-F10824047715\"", NULL },
		{ "Guid", "\"00000000-0000-0000-0000-000000000000\"", NULL }, { "Guid",
		    "\"\\u0034b218778-e7a5-4d73-8187-f10824047715\"", NULL },
		{ "Guid", "\"{4b218778-e7a5-4d73-8187-f10824047715}\"", not_guid }, { "Guid",
		    "\"4b218778e7a54d738187f10824047715\"", not_guid },
		{ "Guid", "\"4b218778-e7a5-4d73-8187-f1082404771\"", not_guid }, { "Guid",
		    "\"4b218778-e7a5-4d73-8187-f1082404771g\"", not_guid },
		{ "Guid", "\"\"", not_guid }, { "Guid", "null", not_guid }, { "Guid", "1", not_guid },
		{ "Automatic", "null", NULL }, { "Automatic", "1", NULL }, { "Automatic", "{\"a\":[1]}", NULL },
		    { "Automatic", "\"\"", NULL },
		{ "text", "null", NULL }, { "Datetime", "1", NULL }, { "List", "[1,2]", NULL }, { "Te\\u0078t ", "1",
		    NULL },
		{ "T\\u0065xt", "1", not_text },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char body[512], message[512];
		const char *faults[] = { message, NULL };

		snprintf(body, sizeof(body), "{\"parameters\":[{\"value\":%s,\"type\":\"%s\",\"name\":\"p\"}]}",
		    cases[i].value, cases[i].type);
		if (cases[i].fault == NULL) {
			passes(str_from(body));
			continue;
		}
		snprintf(message, sizeof(message), "parameters[0] (\"p\"): %s", cases[i].fault);
		refused(body, faults);
	}
}

/* What is wrong is said of every parameter, in words that a person can act on. */
static void
test_refusals(void **state)
{
	static const struct { const char *body, *faults[6]; } cases[] = {
		{ "[]", { "the body: is no object" } }, { "null", { "the body: is no object" } }, { "\"x\"",
		    { "the body: is no object" } },
		{ "7", { "the body: is no object" } },
		{ " ", { "the body is not JSON that can be read: the end where a value should be at byte 1" } },
		{ "{\"parameters\":[{\"name\":1}]", { "the body is not JSON that can be read: an object without end a"
		    "t byte 26" } },
		{ "{\"executionData\":1}{", { "the body is not JSON that can be read: bytes behind the value at byte "
		    "19" } },
		{ "\"\" \"\"", { "the body is not JSON that can be read: bytes behind the value at byte 3" } },
		{ "{\"executionData\":[]}", { "executionData: is no object" } },
		{ "{\"executionData\":\"\"}", { "executionData: is no object" } },
		{ "{\"executionData\":1,\"parameters\":{\"a\":1}}", { "executionData: is no object",
		    "parameters: is no array" } },
		{ "{\"parameters\":\"\"}", { "parameters: is no array" } },
		{ "{\"parameters\":[1,[{}],null,{\"name\":\"a\",\"type\":\"Text\",\"value\":\"\"}]}",
		    { "parameters[0]: is no object", "parameters[1]: is no object", "parameters[2]: is no object" } },
		{ "{\"parameters\":[{}]}",
		    { "parameters[0]: the name is missing", "parameters[0]: the type is missing",
		    "parameters[0]: the value is missing" } },
		{ "{\"parameters\":[{\"name\":null,\"type\":null,\"value\":null}]}",
		    { "parameters[0]: the name is missing", "parameters[0]: the type is missing" } },
		{ "{\"parameters\":[{\"name\":[\"a\"],\"type\":{\"a\":1},\"value\":1}]}",
		    { "parameters[0]: the name is no string", "parameters[0]: the type is no string" } },
		{ "{\"parameters\":[{\"name\":\"\",\"type\":\"\",\"value\":1}]}",
		    { "parameters[0] (\"\"): the name is empty", "parameters[0] (\"\"): the type is missing" } },
		{ "{\"parameters\":[{\"name\":\"a\",\"type\":\"Automatic\"},{\"name\":\"b\",\"type\":\"New\"}]}",
		    { "parameters[0] (\"a\"): the value is missing", "parameters[1] (\"b\"): the value is missing" } },
		{ "{\"parameters\":[{\"Name\":\"a\",\"type\":\"Automatic\",\"value\":1}]}",
		    { "parameters[0]: the name is missing" } },
		{ "{\"parameters\":[{\"name\":\"ok\",\"type\":\"Text\",\"value\":\"\"},{\"name\":\"a\",\"type\":\"Tex"
		    "t\",\"value\":1},"
		    "{\"name\":\"b\",\"type\":\"Integer\",\"value\":1.5}]}",
		    { "parameters[1] (\"a\"): the value is no Text: not a string",
		    "parameters[2] (\"b\"): the value is no Integer: not a number without fraction and exponent" } },
		/* Duplicate keys, after unescaping, at every level. */
		{ "{\"a\":1,\"\\u0061\":2}", { "the body: a key stands more than once in an object: \"a\"" } },
		{ "{\"executionData\":{\"x\":[{\"k\":1,\"k\":2,\"k\":3}]}}",
		    { "executionData: a key stands more than once in an object: \"k\"",
		    "executionData: a key stands more than once in an object: \"k\"" } },
		{ "{\"executionData\":{},\"executionData\":{}}", { "the body: a key stands more than once in an objec"
		    "t: \"executionData\"" } },
		{ "{\"a\":{\"\":0,\"\":0}}", { "the body: a key stands more than once in an object: \"\"" } },
		{ "{\"parameters\":[{\"name\":\"p\",\"value\":{\"z\":{},\"z\":[]},\"type\":\"Automatic\"}]}",
		    { "parameters[0] (\"p\"): a key stands more than once in an object: \"z\"" } },
		{ "{\"parameters\":[{\"name\":\"p\",\"name\":\"q\",\"value\":1,\"type\":\"Automatic\"}]}",
		    { "parameters[0] (\"p\"): a key stands more than once in an object: \"name\"" } },
		{ "{\"parameters\":[],\"parameters\":[5]}",
		    { "parameters[0]: is no object", "the body: a key stands more than once in an object: \"parameter"
		    "s\"" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		refused(cases[i].body, cases[i].faults);
}

/* Two parameters whose names differ in case only, in which letters they do, and in which they do not. */
static void
test_names_without_case(void **state)
{
	static const struct { const char *a, *b; bool same; } cases[] = {
		{ "p", "P", true }, { "Threshold", "tHRESHOLD", true }, { "a", "b", false }, { "a", "aa", false },
		    { "[", "{", false },
		{ "@", "`", false }, { "\xc3\x84rger", "\xc3\xa4rger", true },		/* Ä ä */
		{ "\xc3\x97", "\xc3\xb7", false },					/* × and ÷ are no letters */
		{ "\xc5\xbd", "\xc5\xbe", true }, { "\xc5\xb8", "\xc3\xbf", true },	/* Ž ž, Ÿ ÿ */
		{ "\xc4\xb0", "i", false }, { "\xc4\xb0", "\xc4\xb1", false },		/* İ ı */
		{ "\xce\xa9", "\xcf\x89", true }, { "\xce\x86", "\xce\xac", true },	/* Ω ω, Ά ά */
		{ "\xcf\x82", "\xcf\x83", true }, { "\xd0\x96", "\xd0\xb6", true },	/* ς σ, Ж ж */
		{ "\xd0\x81", "\xd1\x91", true }, { "\xd0\x80", "\xd1\x90", true },	/* Ё ё, Ѐ ѐ */
		{ "\xd4\xb1", "\xd5\xa1", true }, { "\xc3\x9f", "ss", false },		/* Ա ա, ß */
		{ "\\u00c4", "\xc3\xa4", true }, { "\\u0050", "p", true }, { "\xe2\xb0\x80", "\xe2\xb0\xb0",
		    false },	/* three bytes: not folded */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char body[512];
		struct jobbody_result r;
		struct arena arena;

		snprintf(body, sizeof(body), "{\"parameters\":[{\"name\":\"%s\",\"type\":\"Automatic\",\"value\":1},"
		    "{\"name\":\"%s\",\"type\":\"Automatic\",\"value\":1}]}", cases[i].a, cases[i].b);
		arena_init(&arena);
		jobbody_check(&arena, str_from(body), &r);
		if (r.ok == cases[i].same)
			fail_msg("%s %s", cases[i].a, cases[i].b);
		arena_fini(&arena);
	}
	refused("{\"parameters\":[{\"name\":\"b\",\"type\":\"A\",\"value\":1},{\"name\":\"a\",\"type\":\"A\",\"value"
	    "\":1},"
	    "{\"name\":\"c\",\"type\":\"A\",\"value\":1},{\"name\":\"B\",\"type\":\"A\",\"value\":1},{\"name\":\"A\","
	    "\"type\":\"A\",\"value\":1},"
	    "{\"name\":\"b\",\"type\":\"A\",\"value\":1}]}",
	    (const char *const[]){ "parameters[3] (\"B\"): the name is that of parameters[0] already (case does not c"
	    "ount)",
	    "parameters[4] (\"A\"): the name is that of parameters[1] already (case does not count)",
	    "parameters[5] (\"b\"): the name is that of parameters[0] already (case does not count)", NULL });
}

/* A name may have 256 characters, not bytes and not escapes. */
static void
test_name_length(void **state)
{
	static const char *const letters[] = { "x", "\xc3\xa9", "\xf0\x9f\x98\x80", "\\u00e9", "\\ud83d\\ude00" };

	(void)state;
	for (size_t i = 0; i < COUNT(letters); i++)
		for (size_t n = 255; n <= 257; n++) {
			struct buf b = BUF_EMPTY;
			struct jobbody_result r;
			struct arena arena;

			buf_add_z(&b, "{\"parameters\":[{\"name\":\"");
			for (size_t j = 0; j < n; j++)
				buf_add_z(&b, letters[i]);
			buf_add_z(&b, "\",\"type\":\"Automatic\",\"value\":1}]}");
			arena_init(&arena);
			jobbody_check(&arena, buf_str(&b), &r);
			assert_int_equal(r.ok, n <= 256);
			assert_true(r.ok || r.message.n < 160);		/* the name is cut, at a character's end */
			arena_fini(&arena);
			buf_fini(&b);
		}
}

/* 32 levels pass, 33 do not. */
static void
test_depth(void **state)
{
	(void)state;
	for (size_t levels = 31; levels <= 33; levels++) {
		struct buf b = BUF_EMPTY;
		struct jobbody_result r;
		struct arena arena;

		buf_add_z(&b, "{\"executionData\":");
		for (size_t j = 2; j < levels; j++)
			buf_add_z(&b, "{\"a\":");
		buf_add_z(&b, "{}");
		for (size_t j = 1; j < levels; j++)
			buf_add_char(&b, '}');
		arena_init(&arena);
		jobbody_check(&arena, buf_str(&b), &r);
		assert_int_equal(r.ok, levels <= 32);
		if (!r.ok)
			assert_true(str_starts(r.message, STR("the body is not JSON that can be read: depth over 32 a"
			    "t byte ")));
		arena_fini(&arena);
		buf_fini(&b);
	}
}

/* A hundred faults are listed, the rest is counted. */
static void
test_many_faults(void **state)
{
	struct buf b = BUF_EMPTY;
	struct jobbody_result r;
	struct arena arena;

	(void)state;
	buf_add_z(&b, "{\"parameters\":[");
	for (int i = 0; i < 250; i++)
		buf_printf(&b, "{\"name\":\"Q\",\"type\":\"Text\",\"value\":%d},", i);
	b.p[b.n - 1] = ']';
	buf_add_char(&b, '}');
	arena_init(&arena);
	jobbody_check(&arena, buf_str(&b), &r);
	assert_int_equal(r.fault_count, JOBBODY_FAULTS_MAX);
	assert_int_equal(r.fault_total, 250 + 249);
	assert_true(str_eq(r.message, STR("499 faults in the body; the first: parameters[0] (\"Q\"): the value is no "
	    "Text: not a string")));
	arena_fini(&arena);
	buf_fini(&b);
}

/* Fill B with a body of about a megabyte: HEAD, as many UNITs as fit (printf with a counter), TAIL. */
static void
make_body(struct buf *b, const char *head, const char *unit, const char *tail)
{
	buf_add_z(b, head);
	for (unsigned i = 0; b->n < (1 << 20) - 64; i++) {
		char text[128];
		const char *percent = strchr(unit, '%');

		if (percent == NULL)
			buf_add_z(b, unit);
		else
			buf_add(b, (struct str){ text, (size_t)snprintf(text, sizeof(text), "%.*s%08x%s",
			    (int)(percent - unit), unit,
			    strstr(unit, "{}") ? i * 0x9e3779b1U : i, percent + 1) });
	}
	b->n--;
	buf_add_z(b, tail);
}

/*
 * One body of 1 MiB of `{},` took a tree-building reader 121 ms and 79 MB, with the worker standing still. Whatever
 * the shape, ours takes milliseconds, and memory that is a small multiple of the body.
 */
static void
test_cost(void **state)
{
	static const struct { const char *name, *head, *unit, *tail; } shapes[] = {
		{ "{},", "{\"executionData\":{\"a\":[", "{},", "]}}" },
		{ "{},{} as parameters", "{\"parameters\":[", "{},", "]}" },
		{ "one object, 75k keys", "{\"executionData\":{", "\"%\":[],", "}}" },
		{ "one object, 75k keys in no order", "{\"executionData\":{", "\"%\":{},", "}}" },
		{ "one object, one key 200k times", "{\"executionData\":{", "\"\":0,", "}}" },
		{ "one object, 52k escaped keys", "{\"executionData\":{", "\"\\u0061%\":0,", "}}" },
		{ "the same key escaped", "{\"executionData\":{", "\"\\n\":0,", "}}" },
		{ "keys that differ in the last byte", "{\"executionData\":{",
		    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%\":0,", "}}" },
		{ "two keys an object", "{\"a\":[", "{\"a\":0,\"b\":0},", "]}" },
		{ "20k good parameters", "{\"parameters\":[", "{\"name\":\"%\",\"type\":\"Automatic\",\"value\":1},",
		    "]}" },
		{ "parameters of one name", "{\"parameters\":[", "{\"name\":\"A\"},", "]}" },
		{ "depth 31 again and again", "{\"a\":[", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
		    "]],", "]}" },
		{ "one long string", "{\"a\":\"", "x", "\"}" },
		{ "one long escaped name", "{\"parameters\":[{\"name\":\"", "\\n\\n", "\\n\"}]}" },
		{ "numbers", "{\"a\":[", "1,", "]}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(shapes); i++) {
		struct buf b = BUF_EMPTY;
		struct jobbody_result r;
		struct arena arena;
		struct mono_time start;
		int64_t took;

		make_body(&b, shapes[i].head, shapes[i].unit, shapes[i].tail);
		arena_init(&arena);
		start = clock_now_mono();
		jobbody_check(&arena, buf_str(&b), &r);
		took = mono_since(clock_now_mono(), start);
		print_message("%-36s %6.1f ms, %zu faults\n", shapes[i].name, (double)took / CLOCK_MS, r.fault_total);
		assert_true(took < 3 * CLOCK_SECOND);
		assert_true(r.ok || r.message.n < 300);
		assert_false(r.fault_total == 1 && str_starts(r.message, STR("the body is not JSON")));
		arena_fini(&arena);
		buf_fini(&b);
	}
}

/* An upstream's error: its errorCode and whether it is retriable; nothing of what is not whole and well-formed. */
static void
test_read_error(void **state)
{
	static const struct { const char *body, *code; bool retriable; } cases[] = {
		{ "{\"requestId\":\"x\",\"errorCode\":\"RequestBlocked\",\"message\":\"m\",\"moreDetails\":[{\"errorC"
		    "ode\":\"Other\","
		    "\"isRetriable\":false}],\"isRetriable\":true}", "RequestBlocked", true },
		{ "{\"errorCode\":\"A\"}", "A", false }, { "{\"isRetriable\":true}", NULL, true },
		    { "{\"isRetriable\":false}", NULL, false },
		{ "{\"isRetriable\":\"true\"}", NULL, false }, { "{\"isRetriable\":1}", NULL, false },
		    { "{\"isRetriable\":null}", NULL, false },
		{ "{\"isRetriable\":true,\"isRetriable\":false}", NULL, false },
		    { "{\"isRetriable\":false,\"isRetriable\":true}", NULL, false },
		{ "{\"isRetriable\":true,\"isRetriable\":true}", NULL, true },
		{ "{\"error\":{\"errorCode\":\"A\",\"isRetriable\":true}}", NULL, false }, { "{\"errorCode\":\"\"}",
		    NULL, false },
		{ "{\"errorCode\":7}", NULL, false }, { "{\"error\\u0043ode\":\"\\u0041b\"}", "Ab", false },
		{ "{\"isretriable\":true}", NULL, false }, { "", NULL, false }, { "[]", NULL, false }, { "true",
		    NULL, false },
		{ "<html>", NULL, false }, { "{\"errorCode\":\"A\",\"isRetriable\":true", NULL, false },
		{ "{\"errorCode\":\"A\",\"isRetriable\":true}x", NULL, false },
		    { "{\"errorCode\":\"A\",\"isRetriable\":true,}", NULL, false },
		{ "{\"isRetriable\":true,\"a\":[{]}", NULL, false },
	};
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct jobbody_error e = jobbody_read_error(&arena, str_from(cases[i].body));

		if (e.is_retriable != cases[i].retriable)
			fail_msg("%s", cases[i].body);
		assert_true(cases[i].code ? str_eq(e.error_code, str_from(cases[i].code)) : e.error_code.p == NULL);
	}
	arena_fini(&arena);
}

/* Of a long errorCode 128 bytes are taken, whole characters; a body over 64 KiB is not looked at. */
static void
test_read_error_bounds(void **state)
{
	struct arena arena;
	struct buf b = BUF_EMPTY;
	struct jobbody_error e;

	(void)state;
	arena_init(&arena);
	buf_add_z(&b, "{\"isRetriable\":true,\"errorCode\":\"x");
	for (int i = 0; i < 200; i++)
		buf_add_z(&b, "\xc3\xa9");
	buf_add_z(&b, "\"}");
	e = jobbody_read_error(&arena, buf_str(&b));
	assert_int_equal(e.error_code.n, 127);
	assert_true(e.is_retriable);
	while (b.n < 65536)
		buf_add_char(&b, ' ');
	assert_true(jobbody_read_error(&arena, buf_str(&b)).is_retriable);
	buf_add_char(&b, ' ');
	e = jobbody_read_error(&arena, buf_str(&b));
	assert_true(!e.is_retriable && e.error_code.p == NULL);
	arena_fini(&arena);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passes),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_names_without_case),
		cmocka_unit_test(test_name_length),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_many_faults),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_read_error),
		cmocka_unit_test(test_read_error_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
