/* rules/target: only what all parsers read alike is split; everything else is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "rules/target.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct split_case {
	struct str target;
	const char *fault;	/* a part of the sentence; NULL where it splits */
	size_t segments, parameters;
};

static const struct split_case cases[] = {
	{ STR_INIT("/v1/a"), NULL, 2, 0 },
	{ STR_INIT("/"), NULL, 1, 0 },
	{ STR_INIT("/v1/"), NULL, 2, 0 },
	{ STR_INIT("/a:b@c;d=e,f!$&'()*+~._-"), NULL, 1, 0 },
	{ STR_INIT("/a%20b%25%C3%A4"), NULL, 1, 0 },
	{ STR_INIT("/..."), NULL, 1, 0 },
	{ STR_INIT("/.a/a."), NULL, 2, 0 },
	{ STR_INIT("/a?"), NULL, 1, 0 },
	{ STR_INIT("/a?b"), NULL, 1, 1 },
	{ STR_INIT("/a?b=c&d==e&&f"), NULL, 1, 4 },
	{ STR_INIT("/a?b=../..//\\%2f%0a{}|\"<>[]^`&c=;d"), NULL, 1, 2 },
	{ STR_INIT("/a?b?c"), NULL, 1, 1 },
	{ STR_INIT(""), "begin", 0, 0 },
	{ STR_INIT("a"), "begin", 0, 0 },
	{ STR_INIT("http://a/"), "begin", 0, 0 },
	{ STR_INIT("?a"), "begin", 0, 0 },
	{ STR_INIT("//evil/x"), "empty segment", 0, 0 },
	{ STR_INIT("/a//b"), "empty segment", 0, 0 },
	{ STR_INIT("/a//"), "empty segment", 0, 0 },
	{ STR_INIT("/a/./b"), "dot segment", 0, 0 },
	{ STR_INIT("/a/../b"), "dot segment", 0, 0 },
	{ STR_INIT("/a/.."), "dot segment", 0, 0 },
	{ STR_INIT("/a/%2e%2E/b"), "dot segment", 0, 0 },
	{ STR_INIT("/a/.%2e"), "dot segment", 0, 0 },
	{ STR_INIT("/a/%2e"), "dot segment", 0, 0 },
	{ STR_INIT("/a%2fb"), "slash", 0, 0 },
	{ STR_INIT("/a%5Cb"), "backslash", 0, 0 },
	{ STR_INIT("/a\\b"), "percent-encoded", 0, 0 },
	{ STR_INIT("/a%00b"), "broken", 0, 0 },
	{ STR_INIT("/a%0d%0a"), "control", 0, 0 },
	{ STR_INIT("/a%7f"), "control", 0, 0 },
	{ STR_INIT("/a%"), "broken", 0, 0 },
	{ STR_INIT("/a%4"), "broken", 0, 0 },
	{ STR_INIT("/a%zz"), "broken", 0, 0 },
	{ STR_INIT("/a%4x"), "broken", 0, 0 },
	{ STR_INIT("/a%u0041"), "broken", 0, 0 },
	{ STR_INIT("/a#b"), "percent-encoded", 0, 0 },
	{ STR_INIT("/a?b#c"), "percent-encoded", 0, 0 },
	{ STR_INIT("/a b"), "percent-encoded", 0, 0 },
	{ STR_INIT("/a\tb"), "percent-encoded", 0, 0 },
	{ STR_INIT("/a\0b"), "percent-encoded", 0, 0 },
	{ STR_INIT("/a\x7f"), "percent-encoded", 0, 0 },
	{ STR_INIT("/\xc3\xa4"), "percent-encoded", 0, 0 },
	{ STR_INIT("/a{b}"), "percent-encoded", 0, 0 },
	{ STR_INIT("/a?b=\xc3\xa4"), "percent-encoded", 0, 0 },
	{ STR_INIT("/a?b= "), "percent-encoded", 0, 0 },
	{ STR_INIT("/a?b=%"), "broken", 0, 0 },
	{ STR_INIT("/a?%zz=b"), "broken", 0, 0 },
	{ STR_INIT("/a?b=%00"), "broken", 0, 0 },
};

static void
test_split(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct target target;
		const char *fault = target_split(&arena, cases[i].target, &target);

		if ((fault == NULL) != (cases[i].fault == NULL) ||
		    (fault && str_find(str_from(fault), str_from(cases[i].fault)) == str_from(fault).n))
			fail_msg("%.*s: %s", STR_ARG(cases[i].target), fault ? fault : "no fault");
		if (fault == NULL && (target.segment_count != cases[i].segments ||
		    target.parameter_count != cases[i].parameters))
			fail_msg("%.*s: %zu segments, %zu parameters", STR_ARG(cases[i].target), target.segment_count,
			    target.parameter_count);
	}
	arena_fini(&arena);
}

/* Each byte at each place of a path's segment and of a query, against RFC 3986 as it is written. */
static void
test_every_byte(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++)
		for (size_t at = 0; at < 12; at++) {
			bool visible = c > ' ' && c < 0x7f, in_path = visible && strchr("#\"<>\\^`{|}", (int)c) == NULL;
			char path[] = "/aaaaaaaaaaaa", query[] = "/?aaaaaaaaaaaa";
			struct target target;
			struct arena arena;

			arena_init(&arena);
			path[1 + at] = query[2 + at] = (char)c;
			if (c != '%' && c != '?')
				assert_int_equal(target_split(&arena, (struct str){ path, 13 }, &target) == NULL, in_path && !(c == '/' && at == 0));
			if (c != '%')
				assert_int_equal(target_split(&arena, (struct str){ query, 14 }, &target) == NULL, visible && c != '#');
			arena_fini(&arena);
		}
}

static void
test_parts(void **state)
{
	struct arena arena;
	struct target target;

	(void)state;
	arena_init(&arena);
	assert_null(target_split(&arena, STR("/v1/x%20y?%6aob=a%2Bb+c&flag&e="), &target));
	assert_true(str_eq(target.path, STR("/v1/x%20y")));
	assert_true(str_eq(target.query, STR("%6aob=a%2Bb+c&flag&e=")));
	assert_true(str_eq(target.segments[1], STR("x%20y")));
	assert_true(str_eq(target.parameters[0].raw, STR("%6aob=a%2Bb+c")));
	assert_true(str_eq(target.parameters[0].key, STR("job")));
	assert_true(str_eq(target.parameters[0].value, STR("a+b+c")));
	assert_true(str_eq(target.parameters[1].key, STR("flag")));
	assert_null(target.parameters[1].value.p);
	assert_non_null(target.parameters[2].value.p);
	assert_int_equal(target.parameters[2].value.n, 0);
	assert_null(target_split(&arena, STR("/v1"), &target));
	assert_null(target.query.p);
	arena_fini(&arena);
}

/* Build "/a/a.../a?b&b...&b". */
static const char *
split_many(size_t segments, size_t parameters)
{
	struct buf b = BUF_EMPTY;
	struct arena arena;
	struct target target;
	const char *fault;

	for (size_t i = 0; i < segments; i++)
		buf_add_z(&b, "/a");
	for (size_t i = 0; i < parameters; i++)
		buf_add_z(&b, i ? "&b" : "?b");
	arena_init(&arena);
	fault = target_split(&arena, buf_str(&b), &target);
	arena_fini(&arena);
	buf_fini(&b);
	return fault;
}

static void
test_bounds(void **state)
{
	(void)state;
	assert_null(split_many(TARGET_SEGMENTS_MAX, TARGET_PARAMETERS_MAX));
	assert_non_null(split_many(TARGET_SEGMENTS_MAX + 1, 0));
	assert_non_null(split_many(1, TARGET_PARAMETERS_MAX + 1));
	assert_non_null(split_many(4000, 4000));
}

static void
test_decode(void **state)
{
	struct arena arena;
	struct str out;

	(void)state;
	arena_init(&arena);
	assert_true(target_decode(&arena, STR("a%2Fb%2fc%FF"), &out));
	assert_true(str_eq(out, STR("a/b/c\xff")));
	/* Once: what a second decoder would find stays as it is. */
	assert_true(target_decode(&arena, STR("%252e"), &out));
	assert_true(str_eq(out, STR("%2e")));
	assert_true(target_decode(&arena, STR(""), &out));
	assert_int_equal(out.n, 0);
	assert_false(target_decode(&arena, STR("%0"), &out));
	assert_false(target_decode(&arena, STR("%00"), &out));
	arena_fini(&arena);
}

static void
test_absolute(void **state)
{
	static const struct { struct str target; const char *authority, *rest; } absolutes[] = {
		{ STR_INIT("http://a/v1?b"), "a", "/v1?b" }, { STR_INIT("HTTPS://A:8443/v1"), "A:8443", "/v1" },
		{ STR_INIT("http://a"), "a", "/" }, { STR_INIT("https://[::1]:80/x"), "[::1]:80", "/x" },
		{ STR_INIT("http://a//b"), "a", "//b" },	/* target_split refuses the rest */
		{ STR_INIT("http:///v1"), NULL, NULL }, { STR_INIT("http://u@a/"), NULL, NULL },
		{ STR_INIT("http://a?b"), NULL, NULL },
		{ STR_INIT("http://a#b"), NULL, NULL }, { STR_INIT("ftp://a/"), NULL, NULL },
		{ STR_INIT("http:/a"), NULL, NULL },
		{ STR_INIT("/v1"), NULL, NULL }, { STR_INIT("http://"), NULL, NULL },
		{ STR_INIT("http://a\\b/"), NULL, NULL },
		{ STR_INIT("http://a:x/"), NULL, NULL }, { STR_INIT("http://a\0/"), NULL, NULL },
		{ STR_INIT(""), NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(absolutes); i++) {
		struct str authority = { NULL, 0 }, rest = { NULL, 0 };
		bool is = target_split_absolute(absolutes[i].target, &authority, &rest);

		if (is != (absolutes[i].authority != NULL))
			fail_msg("%.*s", STR_ARG(absolutes[i].target));
		if (is && (!str_eq(authority, str_from(absolutes[i].authority)) || !str_eq(rest,
		    str_from(absolutes[i].rest))))
			fail_msg("%.*s: %.*s %.*s", STR_ARG(absolutes[i].target), STR_ARG(authority), STR_ARG(rest));
	}
	assert_true(target_is_authority(STR("a:1")));
	assert_false(target_is_authority(STR("u@a")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_split), cmocka_unit_test(test_every_byte), cmocka_unit_test(test_parts),
		cmocka_unit_test(test_bounds), cmocka_unit_test(test_decode), cmocka_unit_test(test_absolute) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
