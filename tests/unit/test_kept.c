/* Kept answers: what is given again, and what is not kept. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "rules/kept.h"

static const struct http1_field real[] = {
	{ STR_INIT("Location"), STR_INIT("https://api.fabric.microsoft.com/v1/x/jobs/instances/1") },
	{ STR_INIT("Retry-After"), STR_INIT("60") },
	{ STR_INIT("x-ms-job-id"), STR_INIT("1: 2") },
	{ STR_INIT("Content-Encoding"), STR_INIT("gzip") },
	{ STR_INIT("Date"), STR_INIT("Mon, 01 Jan 2026 00:00:00 GMT") },
	{ STR_INIT("Empty"), STR_INIT("") },
	{ STR_INIT("X-\x7e"), STR_INIT("caf\xc3\xa9") },
};
#define COUNT (sizeof(real) / sizeof(real[0]))

static void
test_there_and_back(void **state)
{
	struct kept_answer in = { 202, { NULL, 0 }, real, COUNT }, out;
	static const size_t kept[] = { 0, 1, 2, 3, 5, 6 };
	struct buf text = BUF_EMPTY;
	struct arena arena;

	(void)state;
	arena_init(&arena);
	kept_write(&text, &in, false);
	assert_true(kept_read(&arena, buf_str(&text), &out));
	assert_int_equal(out.status, 202);
	assert_int_equal(out.error_code.n, 0);
	assert_int_equal(out.field_count, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_true(str_eq(out.fields[i].name, real[kept[i]].name));
		assert_true(str_eq(out.fields[i].value, real[kept[i]].value));
	}
	buf_fini(&text);
	arena_fini(&arena);
}

/* The body is lost, and with it what told of it. */
static void
test_a_body_takes_its_fields_along(void **state)
{
	static const struct http1_field fields[] = { { STR_INIT("ETag"), STR_INIT("\"x\"") }, { STR_INIT("Content-Type"), STR_INIT("a/b") },
		{ STR_INIT("content-MD5"), STR_INIT("x") }, { STR_INIT("RequestId"), STR_INIT("r") } };
	struct kept_answer in = { 404, STR_INIT("EntityNotFound"), fields, 4 }, out;
	struct buf text = BUF_EMPTY, body = BUF_EMPTY;
	struct arena arena;

	(void)state;
	arena_init(&arena);
	kept_write(&text, &in, true);
	assert_true(kept_read(&arena, buf_str(&text), &out));
	assert_int_equal(out.field_count, 1);
	assert_true(str_eq(out.fields[0].name, STR("RequestId")));
	assert_true(str_eq(out.error_code, STR("EntityNotFound")));
	kept_error_body(&body, &out, STR("id"));
	assert_true(str_find(buf_str(&body), STR("\"errorCode\":\"EntityNotFound\"")) < body.n);
	buf_fini(&body);
	buf_fini(&text);
	arena_fini(&arena);
}

/* Too many fields: what clients read is kept, whatever else there is, and never more than the bound. */
static void
test_bound(void **state)
{
	static char big[5000], names[60][16];
	struct http1_field fields[64];
	struct kept_answer in = { 202, { NULL, 0 }, fields, 0 }, out;
	struct buf text = BUF_EMPTY;
	struct arena arena;

	(void)state;
	arena_init(&arena);
	memset(big, 'x', sizeof(big));
	for (size_t i = 0; i < 60; i++) {
		snprintf(names[i], sizeof(names[i]), "X-Filler-%zu", i);
		fields[in.field_count++] = (struct http1_field){ str_from(names[i]), { big, 100 } };
	}
	fields[in.field_count++] = real[0];
	kept_write(&text, &in, false);
	assert_true(text.n <= KEPT_BYTES_MAX && kept_read(&arena, buf_str(&text), &out));
	assert_int_equal(out.field_count, 1);
	assert_true(str_eq(out.fields[0].name, STR("Location")));
	fields[0] = (struct http1_field){ STR("Location"), { big, sizeof(big) } };
	in.field_count = 1;
	buf_clear(&text);
	kept_write(&text, &in, false);
	assert_true(text.n <= KEPT_BYTES_MAX && kept_read(&arena, buf_str(&text), &out));
	buf_fini(&text);
	arena_fini(&arena);
}

static void
test_no_answer_of_ours(void **state)
{
	static const char *const texts[] = { "", "202", "2020 \n", "abc \n", "099 \n", "202 \nno colon\n", "202 \n: x\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct kept_answer out;
		struct arena arena;

		arena_init(&arena);
		if (kept_read(&arena, str_from(texts[i]), &out))
			fail_msg("%s was read", texts[i]);
		arena_fini(&arena);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_a_body_takes_its_fields_along), cmocka_unit_test(test_bound),
		cmocka_unit_test(test_no_answer_of_ours) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
