/* Idempotency-Key: a String of Structured Fields (RFC 8941), or a bare word. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "rules/idempotency_key.h"

static const struct { const char *value, *key; } values[] = {
	{ "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324" },
	{ "8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324" },
	{ " \"a\" ", "a" },
	{ "\"a b\"", "a b" },
	{ "\"a,b;c\"", "a,b;c" },
	{ "\"a\\\"b\\\\c\"", "a\"b\\c" },
	{ "\"a\";x", "a" },
	{ "\"a\"; x=1", "a" },
	{ "\"a\";x=-1.5;y=?1;z=:YQ==:;t=tok/en;s=\"q\\\"\";*k._-9", "a" },
	{ "a=b:c/d+e==", "a=b:c/d+e==" },
	{ "a(b)", "a(b)" },
	{ "", NULL },
	{ "\"\"", NULL },
	{ "\"", NULL },
	{ "\"a", NULL },
	{ "\"a\\\"", NULL },
	{ "\"a\\b\"", NULL },		/* only those two are escaped */
	{ "\"a\tb\"", NULL },
	{ "\"\xc3\xa9\"", NULL },
	{ "\"a\"b", NULL },
	{ "\"a\" ;x", NULL },		/* no space before a semicolon (4.2.3.2) */
	{ "\"a\", \"b\"", NULL },	/* a list */
	{ "\"a\";", NULL },
	{ "\"a\";X", NULL },
	{ "\"a\";1=2", NULL },
	{ "\"a\";x=", NULL },
	{ "\"a\";x=(1)", NULL },
	{ "\"a\";x=\"y", NULL },
	{ "a b", NULL },
	{ "a\"b", NULL },
	{ "a,b", NULL },
	{ "a;b", NULL },
	{ "a\\b", NULL },
	{ "\xc3\xa9", NULL },
};

static void
test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct arena arena;
		struct str key = { NULL, 0 };
		const char *why;

		arena_init(&arena);
		why = idempotency_key_read(&arena, str_from(values[i].value), &key);
		if ((why == NULL) != (values[i].key != NULL) || (why == NULL && !str_eq(key, str_from(values[i].key))))
			fail_msg("%s: %.*s, %s", values[i].value, STR_ARG(key), why);
		arena_fini(&arena);
	}
}

static void
test_length(void **state)
{
	char text[300];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t n = 254; n < 258; n++)
		for (int quoted = 0; quoted < 2; quoted++) {
			struct arena arena;
			struct str key;

			arena_init(&arena);
			text[0] = text[n + 1] = quoted ? '"' : 'x';
			assert_int_equal(idempotency_key_read(&arena, (struct str){ text + !quoted, n + 2 * (size_t)quoted }, &key) == NULL,
			    n <= IDEMPOTENCY_KEY_MAX);
			text[n + 1] = 'x';
			arena_fini(&arena);
		}
}

static void
test_fields(void **state)
{
	static struct http1_head head;
	struct arena arena;
	struct str key;

	(void)state;
	arena_init(&arena);
	head.fields[0] = (struct http1_field){ STR("Accept"), STR("\"a\"") };
	head.field_count = 1;
	assert_null(idempotency_key_find(&arena, &head, &key));
	assert_null(key.p);
	head.fields[1] = (struct http1_field){ STR("idempotency-key"), STR("\"a\"") };
	head.field_count = 2;
	assert_null(idempotency_key_find(&arena, &head, &key));
	assert_true(str_eq(key, STR("a")));
	head.fields[2] = (struct http1_field){ STR("Idempotency-Key"), STR("\"a\"") };
	head.field_count = 3;
	assert_non_null(idempotency_key_find(&arena, &head, &key));	/* the same value twice is still a list */
	arena_fini(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_values), cmocka_unit_test(test_length),
		cmocka_unit_test(test_fields) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
