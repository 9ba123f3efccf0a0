/* The JSON reader: what passes, what is refused and where, and whether it agrees with jansson. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

/* jansson's json_type has enumerators of the same names. */
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_TRUE JANSSON_TRUE
#define JSON_FALSE JANSSON_FALSE
#define JSON_NULL JANSSON_NULL
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json_scan.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Read TEXT to its end, writing a letter per token. Returns the last token; *S is left where it stopped. */
static enum json_token
walk(struct json_scan *s, struct str text, struct buf *letters)
{
	static const char letter[] = ".!{}[]ksntfz";
	enum json_token token;

	json_scan_init(s, text);
	do {
		token = json_scan_next(s);
		if (letters)
			buf_add_char(letters, letter[token]);
	} while (token != JSON_END && token != JSON_FAULT);
	return token;
}

/* What is JSON gives its tokens in order. */
static void
test_tokens(void **state)
{
	static const struct { const char *text, *letters; } cases[] = {
		{ "{}", "{}." }, { "[]", "[]." }, { " null ", "z." }, { "true", "t." }, { "false", "f." }, { "\"\"",
		    "s." },
		{ "0", "n." }, { "-0", "n." }, { "-0.0e+0", "n." }, { "1E5", "n." },
		    { "123456789012345678901234567890", "n." },
		{ "1e400", "n." }, { "[1,2 , 3]", "[nnn]." }, { "[[],{},[[]]]", "[[]{}[[]]]." },
		{ "{\"a\":1,\"b\":[true,{\"c\":null}]}", "{knk[t{kz}]}." },
		{ "\t{\n\"a\"\r : \"b\" }\n", "{ks}." },
		{ "\"\x7f\"", "s." }, { "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "s." },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\\uFFFF\"", "s." },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf letters = BUF_EMPTY;
		struct json_scan s;

		walk(&s, str_from(cases[i].text), &letters);
		buf_add_char(&letters, '\0');
		assert_string_equal(letters.p, cases[i].letters);
		assert_int_equal(json_scan_next(&s), JSON_END);	/* the end stays the end */
		buf_fini(&letters);
	}
}

/* What is no JSON is refused at the offending byte, with the reason. */
static void
test_faults(void **state)
{
	static const struct { struct str text; const char *fault; size_t at; } cases[] = {
		{ STR_INIT(""), "the end where a value should be", 0 },
		{ STR_INIT(" \n"), "the end where a value should be", 2 },
		{ STR_INIT("\xef\xbb\xbf{}"), "a byte order mark", 0 },
		{ STR_INIT("NaN"), "something that is no value", 0 },
		{ STR_INIT("tru"), "something that is no value", 0 },
		{ STR_INIT("'a'"), "something that is no value", 0 },
		{ STR_INIT("{} x"), "bytes behind the value", 3 },
		{ STR_INIT("nullx"), "bytes behind the value", 4 },
		{ STR_INIT("{}\0"), "bytes behind the value", 2 },
		{ STR_INIT("01"), "bytes behind the value", 1 },
		{ STR_INIT("-"), "a malformed number", 1 },
		{ STR_INIT("-a"), "a malformed number", 1 },
		{ STR_INIT("+1"), "something that is no value", 0 },
		{ STR_INIT(".5"), "something that is no value", 0 },
		{ STR_INIT("1."), "a malformed number", 2 },
		{ STR_INIT("1.e1"), "a malformed number", 2 },
		{ STR_INIT("1e"), "a malformed number", 2 },
		{ STR_INIT("1e+"), "a malformed number", 3 },
		{ STR_INIT("0x10"), "bytes behind the value", 1 },
		{ STR_INIT("[1 2]"), "no comma or end behind a value", 3 },
		{ STR_INIT("[1,]"), "something that is no value", 3 },
		{ STR_INIT("[,1]"), "something that is no value", 1 },
		{ STR_INIT("[1}"), "no comma or end behind a value", 2 },
		{ STR_INIT("{\"a\":1]"), "no comma or end behind a value", 6 },
		{ STR_INIT("[1"), "an array without end", 2 },
		{ STR_INIT("["), "the end where a value should be", 1 },
		{ STR_INIT("{"), "an object without end", 1 },
		{ STR_INIT("{\"a\":1"), "an object without end", 6 },
		{ STR_INIT("{\"a\":1,"), "an object without end", 7 },
		{ STR_INIT("{\"a\":1,}"), "something that is no key in an object", 7 },
		{ STR_INIT("{a:1}"), "something that is no key in an object", 1 },
		{ STR_INIT("{1:1}"), "something that is no key in an object", 1 },
		{ STR_INIT("{\"a\" 1}"), "no colon behind a key", 5 },
		{ STR_INIT("{\"a\""), "no colon behind a key", 4 },
		{ STR_INIT("{\"a\":}"), "something that is no value", 5 },
		{ STR_INIT("]"), "something that is no value", 0 },
		{ STR_INIT("\"abc"), "a string without end", 4 },
		{ STR_INIT("\"a\tb\""), "a control character in a string", 2 },
		{ STR_INIT("\"a\0b\""), "a control character in a string", 2 },
		{ STR_INIT("\"\\x\""), "a broken escape in a string", 1 },
		{ STR_INIT("\"\\\0\""), "a broken escape in a string", 1 },
		{ STR_INIT("\"\\"), "a broken escape in a string", 1 },
		{ STR_INIT("\"\\u12"), "a broken escape in a string", 1 },
		{ STR_INIT("\"\\u12g4\""), "a broken escape in a string", 1 },
		{ STR_INIT("\"\\U0041\""), "a broken escape in a string", 1 },
		{ STR_INIT("\"\\u0000\""), "the character \\u0000 in a string", 1 },
		{ STR_INIT("\"\\ud800\""), "a lone surrogate in a string", 1 },
		{ STR_INIT("\"\\ud800\\u0041\""), "a lone surrogate in a string", 1 },
		{ STR_INIT("\"\\ud800\\ud800\""), "a lone surrogate in a string", 1 },
		{ STR_INIT("\"\\ud800\\udc0\""), "a lone surrogate in a string", 1 },
		{ STR_INIT("\"\\udc00\\ud800\""), "a lone surrogate in a string", 1 },
		{ STR_INIT("\"a\xff\""), "bytes that are no UTF-8 in a string", 2 },
		{ STR_INIT("\"\x80\""), "bytes that are no UTF-8 in a string", 1 },
		{ STR_INIT("\"\xc0\xaf\""), "bytes that are no UTF-8 in a string", 1 },		/* overlong */
		{ STR_INIT("\"\xe0\x80\x80\""), "bytes that are no UTF-8 in a string", 1 },
		{ STR_INIT("\"\xed\xa0\x80\""), "bytes that are no UTF-8 in a string", 1 },	/* surrogate */
		{ STR_INIT("\"\xf4\x90\x80\x80\""), "bytes that are no UTF-8 in a string", 1 },	/* over U+10FFFF */
		{ STR_INIT("\"\xe2\x82"), "bytes that are no UTF-8 in a string", 1 },
		{ STR_INIT("\"\xe2\x82\""), "bytes that are no UTF-8 in a string", 1 },
		{ STR_INIT("\xc3\xa9"), "something that is no value", 0 },
		{ STR_INIT("[1]\xc2\xa0"), "bytes behind the value",
		    3 },		/* NBSP is no JSON white space */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct json_scan s;

		assert_int_equal(walk(&s, cases[i].text, NULL), JSON_FAULT);
		assert_string_equal(s.fault, cases[i].fault);
		assert_int_equal(s.at, cases[i].at);
		assert_int_equal(json_scan_next(&s), JSON_FAULT);	/* a fault stays one */
		assert_string_equal(s.fault, cases[i].fault);
	}
}

/* Keys, strings and numbers come as they stand between their quotes, and say whether they have escapes. */
static void
test_text(void **state)
{
	struct json_scan s;

	(void)state;
	json_scan_init(&s, STR("{\"k\\n\" : -1.50e3, \"\":\"\xc3\xa9\"}"));
	assert_int_equal(json_scan_next(&s), JSON_OBJECT);
	assert_int_equal(s.depth, 1);
	assert_int_equal(json_scan_next(&s), JSON_KEY);
	assert_true(str_eq(s.text, STR("k\\n")) && s.escaped);
	assert_int_equal(json_scan_next(&s), JSON_NUMBER);
	assert_true(str_eq(s.text, STR("-1.50e3")) && !s.escaped);
	assert_int_equal(json_scan_next(&s), JSON_KEY);
	assert_true(s.text.p != NULL && s.text.n == 0 && !s.escaped);
	assert_int_equal(json_scan_next(&s), JSON_STRING);
	assert_true(str_eq(s.text, STR("\xc3\xa9")) && !s.escaped);
	assert_int_equal(json_scan_next(&s), JSON_OBJECT_END);
	assert_int_equal(s.depth, 0);
	assert_int_equal(json_scan_next(&s), JSON_END);
}

/* 32 levels pass, of either kind and mixed; 33 do not, however deep it goes on. */
static void
test_depth(void **state)
{
	static const struct { const char *open, *inner, *close; size_t close_n; } kinds[] = {
		{ "[", "", "]", 1 }, { "{\"a\":", "1", "}", 1 }, { "[{\"a\":", "[]", "}]", 2 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(kinds); i++)
		for (size_t levels = 28; levels <= 40; levels += 2) {
			size_t inner = i == 2 ? 1 : 0, pairs = levels / kinds[i].close_n,
			    depth = pairs * kinds[i].close_n + inner;
			struct buf b = BUF_EMPTY;
			struct json_scan s;

			for (size_t j = 0; j < pairs; j++)
				buf_add_z(&b, kinds[i].open);
			buf_add_z(&b, kinds[i].inner);
			for (size_t j = 0; j < pairs; j++)
				buf_add_z(&b, kinds[i].close);
			assert_int_equal(walk(&s, buf_str(&b), NULL), depth <= 32 ? JSON_END : JSON_FAULT);
			if (depth > 32)
				assert_string_equal(s.fault, "depth over 32");
			buf_fini(&b);
		}
}

/* Skipping ends behind the thing skipped, and not at all on a fault. */
static void
test_skip(void **state)
{
	struct json_scan s;

	(void)state;
	json_scan_init(&s, STR("{\"a\":[1,{\"b\":[[]]}],\"c\":2}"));
	json_scan_next(&s);
	json_scan_next(&s);
	assert_int_equal(json_scan_next(&s), JSON_ARRAY);
	assert_true(json_scan_skip(&s));
	assert_int_equal(json_scan_next(&s), JSON_KEY);
	assert_true(str_eq(s.text, STR("c")));
	json_scan_init(&s, STR("[[1,}]"));
	json_scan_next(&s);
	json_scan_next(&s);
	assert_false(json_scan_skip(&s));
}

/* Escapes are undone, in place too. */
static void
test_unescape(void **state)
{
	static const struct { const char *text, *plain; } cases[] = {
		{ "", "" }, { "abc", "abc" }, { "a\\nb", "a\nb" }, { "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t" },
		{ "\\u0041\\u00e9\\u20AC\\ud83d\\ude00", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\\uffff\\udbff\\udfff", "\xef\xbf\xbf\xf4\x8f\xbf\xbf" }, { "\\\\u0041", "\\u0041" },
		{ "x\\u007f\\u0080y\\u07ff\\u0800", "x\x7f\xc2\x80y\xdf\xbf\xe0\xa0\x80" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char room[64];
		struct str text = str_from(cases[i].text);

		assert_true(str_eq((struct str){ room, json_unescape(text, room) }, str_from(cases[i].plain)));
		memcpy(room, text.p, text.n);
		assert_true(str_eq((struct str){ room, json_unescape((struct str){ room, text.n }, room) },
		    str_from(cases[i].plain)));
	}
}

/* A small generator: the same numbers every time, so that a failure can be had again. */
static uint32_t
next_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33);
}

/* Change some bytes of TEXT: overwrite, drop, double. */
static size_t
mutate(uint64_t *seed, char *text, size_t n, size_t size)
{
	static const char bytes[] = "{}[]\",:\\u00dD8cCeE+-.019 \ntrfnb\x80\xc3\xa9\xed\xf0\x9f\xef\xbb\xbf";

	for (uint32_t changes = next_random(seed) % 4; changes > 0 && n > 0; changes--) {
		size_t at = next_random(seed) % n;
		uint32_t how = next_random(seed) % 3;

		if (how == 0) {
			text[at] = bytes[next_random(seed) % (sizeof(bytes) - 1)];
		} else if (how == 1 || n == size) {
			memmove(text + at, text + at + 1, n - at - 1);
			n--;
		} else {
			memmove(text + at + 1, text + at, n - at);
			n++;
		}
	}
	return n;
}

/* jansson, the reader that everyone trusts, and ours must say the same of 300,000 texts. */
static void
test_agrees_with_jansson(void **state)
{
	static const char *const seeds[] = {
		"{\"a\":[1,2.5e3,-0,true,false,null],\"b\":{\"c\":\"d\\u00e9\\ud83d\\ude00\"}}",
		"[\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\",\"\\\\\\\"\\/\\b\",0.1,1e-5]", " [ { } , [ ] , \"\" ] ",
		    "\"x\\ud83d\\ude00y\"",
		"-12.50E+3", "{\"parameters\":[{\"name\":\"p\",\"value\":123,\"type\":\"Number\"}]}",
	};
	uint64_t seed = 20260801;
	size_t good = 0;

	(void)state;
	for (int i = 0; i < 300000; i++) {
		char text[256];
		size_t n = strlen(seeds[(size_t)i % COUNT(seeds)]);
		struct json_scan s;
		json_error_t error;
		json_t *tree;
		bool ours;

		memcpy(text, seeds[(size_t)i % COUNT(seeds)], n);
		n = mutate(&seed, text, n, sizeof(text));
		tree = json_loadb(text, n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
		ours = walk(&s, (struct str){ text, n }, NULL) == JSON_END;
		if (tree == NULL && json_error_code(&error) == json_error_numeric_overflow)
			continue;	/* its numbers end at 1e308, ours do not */
		if (ours != (tree != NULL))
			fail_msg("jansson: %s, ours: %s at %zu: %.*s", tree ? "good" : error.text, ours ? "good" :
			    s.fault, s.at,
			    (int)n, text);
		good += ours;
		json_decref(tree);
	}
	print_message("%zu of 300000 mutants were JSON\n", good);
	assert_true(good > 30000);
}

/* A megabyte of any shape is read in milliseconds: the time of the slowest shape is printed. */
static void
test_speed(void **state)
{
	static const char *const units[] = { "{},", "[],", "1,", "\"\",", "{\"a\":0},", "\"\\ud83d\\ude00\",",
	    "\"\xc3\xa9\xc3\xa9\"," };
	int64_t slowest = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(units); i++) {
		struct buf b = BUF_EMPTY;
		struct json_scan s;
		struct mono_time start;
		int64_t took;

		buf_add_char(&b, '[');
		while (b.n < 1 << 20)
			buf_add_z(&b, units[i]);
		b.p[b.n - 1] = ']';
		start = clock_now_mono();
		assert_int_equal(walk(&s, buf_str(&b), NULL), JSON_END);
		took = mono_since(clock_now_mono(), start);
		slowest = took > slowest ? took : slowest;
		buf_fini(&b);
	}
	print_message("1 MiB, slowest shape: %.1f ms\n", (double)slowest / CLOCK_MS);
	assert_true(slowest < 2 * CLOCK_SECOND);
}

/* Each byte at each place of a string: strings are looked at eight bytes at a time, and what ends or forbids them may stand anywhere. */
static void
test_every_byte_at_every_place(void **state)
{
	(void)state;
	for (unsigned length = 1; length <= 20; length++)
		for (unsigned place = 0; place < length; place++)
			for (unsigned byte = 0; byte < 256; byte++) {
				bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
				enum json_token expected = plain ? JSON_STRING : JSON_FAULT;
				char text[32] = "\"";
				struct json_scan scan;
				enum json_token token;

				memset(text + 1, 'x', length);
				text[1 + place] = (char)byte;
				text[1 + length] = '"';
				json_scan_init(&scan, (struct str){ text, length + 2 });
				token = json_scan_next(&scan);
				if (byte == '"' && token == JSON_STRING) {	/* it ends there: what is behind it is the fault */
					assert_int_equal(scan.text.n, place);
					token = json_scan_next(&scan);
				}
				if (token != expected)
					fail_msg("byte %u at %u of %u", byte, place, length);
				if (plain)
					assert_int_equal(scan.text.n, length);
			}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_unescape),
		cmocka_unit_test(test_agrees_with_jansson),
		cmocka_unit_test(test_every_byte_at_every_place),
		cmocka_unit_test(test_speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
