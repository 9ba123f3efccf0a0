/* Lines of the journal: built, read, every byte covered. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "io/journal_chain.h"
#include "io/journal_segment.h"
#include "io/tls.h"

#define UUID "0192f0c1-2345-4abc-8def-0123456789ab"
#define MEMBERS "\"kind\":\"intent\",\"request_id\":\"r-1\",\"caller\":\"etl\",\"more\":{\"request_id\":\"other\"}"

/* Append one line to OUT and move HEAD. */
static void
add_line(struct buf *out, struct journal_head *head, const char *members)
{
	struct buf prefix = BUF_EMPTY;

	journal_line_prefix(&prefix, STR(UUID), STR("host \"a\"\n"));
	journal_line_build(out, buf_str(&prefix), head, (struct wall_time){ 1785587696123456 }, str_from(members));
	buf_fini(&prefix);
}

static void
test_form(void **state)
{
	struct buf out = BUF_EMPTY;
	struct journal_head head;
	uint8_t digest[32];
	char hex[64], expected[1024];
	size_t n;

	(void)state;
	journal_head_init(&head);
	add_line(&out, &head, MEMBERS);
	n = (size_t)snprintf(expected, sizeof(expected),
	    "{\"v\":1,\"journal\":\"" UUID "\",\"instance\":\"host \\\"a\\\"\\u000a\",\"seq\":1,"
	    "\"time\":\"2026-08-01T12:34:56.123456Z\"," MEMBERS ",\"prev\":\"%064d\"", 0);
	digest_sha256((struct str){ expected, n }, digest);
	str_hex_encode(digest, 32, hex);
	snprintf(expected + n, sizeof(expected) - n, ",\"hash\":\"%.64s\"}\n", hex);
	assert_int_equal(out.n, strlen(expected));
	assert_memory_equal(out.p, expected, out.n);
	assert_int_equal(head.seq, 1);
	assert_memory_equal(head.hash, hex, 64);
	buf_fini(&out);
}

static void
test_parse(void **state)
{
	struct buf out = BUF_EMPTY;
	struct journal_head head, before;
	struct journal_line line;

	(void)state;
	journal_head_init(&head);
	before = head;
	add_line(&out, &head, MEMBERS);
	assert_null(journal_line_parse(str_sub(buf_str(&out), 0, out.n - 1), &line));
	assert_int_equal(line.seq, 1);
	assert_int_equal(line.kind, JOURNAL_INTENT);
	assert_true(str_eq(line.request_id, STR("r-1")));
	assert_true(str_eq(line.uuid, STR(UUID)));
	assert_null(journal_line_follows(&line, &before, STR(UUID)));
	assert_null(journal_line_follows(&line, &before, STR("")));
	assert_non_null(journal_line_follows(&line, &head, STR(UUID)));
	assert_non_null(journal_line_follows(&line, &before, STR("0192f0c1-2345-4abc-8def-0123456789ac")));
	before.hash[63] = '1';
	assert_non_null(journal_line_follows(&line, &before, STR(UUID)));
	assert_true(str_eq(journal_line_request_id(str_sub(buf_str(&out), 0, out.n - 1)), STR("r-1")));
	buf_fini(&out);
}

/* No value of no byte of a line may pass. */
static void
test_every_byte(void **state)
{
	struct buf out = BUF_EMPTY;
	struct journal_head head;
	struct journal_line line;

	(void)state;
	journal_head_init(&head);
	add_line(&out, &head, MEMBERS);
	for (size_t i = 0; i + 1 < out.n; i++)
		for (int flip = 1; flip < 256; flip++) {
			out.p[i] = (char)(out.p[i] ^ flip);
			assert_non_null(journal_line_parse(str_sub(buf_str(&out), 0, out.n - 1), &line));
			out.p[i] = (char)(out.p[i] ^ flip);
		}
	buf_fini(&out);
}

/* A forger who knows how to hash still has to write records. */
static void
test_forged_members(void **state)
{
	static const struct {
		const char *members;
		bool good;
	} cases[] = {
		{ "\"kind\":\"config\"", true },
		{ "\"kind\":\"stop\",\"request_id\":null", true },
		{ "\"kind\":\"something new\",\"a\":[1,{\"b\":2}]", true },
		{ "\"kind\":\"intent\"", false },
		{ "\"kind\":\"outcome\",\"request_id\":null", false },
		{ "\"kind\":\"intent\",\"request_id\":7", false },
		{ "\"kind\":\"intent\",\"request_id\":\"a\",\"request_id\":\"b\"", false },
		{ "\"request_id\":\"a\",\"kind\":\"intent\"", false },
		{ "\"kind\":\"config\",\"a\":01", false },
		{ "\"kind\":\"config\",\"a\":\"\xff\"", false },
		{ "\"kind\":\"config\"},{\"a\":1", false },
		{ "\"kind\":\"config\",\"a\":{", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = BUF_EMPTY;
		struct journal_head head;
		struct journal_line line;
		const char *fault;

		journal_head_init(&head);
		add_line(&out, &head, cases[i].members);
		fault = journal_line_parse(str_sub(buf_str(&out), 0, out.n - 1), &line);
		if ((fault == NULL) != cases[i].good)
			fail_msg("case %zu: %s", i, fault ? fault : "passed");
		buf_fini(&out);
	}
}

/* Every beginning of a record is torn; a record with another byte than its newline is not. */
static void
test_torn(void **state)
{
	struct buf out = BUF_EMPTY;
	struct journal_head head;

	(void)state;
	journal_head_init(&head);
	add_line(&out, &head, MEMBERS);
	for (size_t n = 1; n < out.n; n++)
		assert_true(journal_tail_is_torn(str_sub(buf_str(&out), 0, n)));
	for (int c = 0; c < 256; c++) {
		out.p[out.n - 1] = (char)c;
		if (c != '\n')
			assert_false(journal_tail_is_torn(buf_str(&out)));
	}
	assert_false(journal_tail_is_torn(STR("garbage")));
	assert_false(journal_tail_is_torn(STR("{\"v\":2")));
	buf_fini(&out);
}

static void
test_names(void **state)
{
	static const struct {
		const char *name;
		bool good;
	} cases[] = {
		{ "00000000000000000001-20261123.jsonl", true },
		{ "18446744073709551615-20261123.jsonl", true },
		{ "18446744073709551616-20261123.jsonl", false },
		{ "00000000000000000000-20261123.jsonl", false },
		{ "0000000000000000001-20261123.jsonl", false },
		{ "00000000000000000001_20261123.jsonl", false },
		{ "00000000000000000001-2026112a.jsonl", false },
		{ "00000000000000000001-20261123.jsonx", false },
		{ "audit.jsonl", false },
	};
	uint64_t seq;
	int date;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(journal_name_parse(cases[i].name, &seq, &date), cases[i].good);
	assert_int_equal(journal_date((struct wall_time){ 1785587696123456 }), 20260801);
}

/* What is found without a parse is what the parse finds; whatever is written in another way is left to it. */
static void
test_request_id_without_a_parse(void **state)
{
	static const struct { const char *members, *id; } rows[] = {
		{ MEMBERS, "r-1" },
		{ "\"kind\":\"outcome\",\"request_id\":\"0190-ab\"", "0190-ab" },
		{ "\"kind\":\"intent\",\"caller\":\"request_id\",\"request_id\":\"x\"", NULL },
		{ "\"kind\":\"in\\\"tent\",\"request_id\":\"x\"", NULL },
		{ "\"kind\":\"intent\",\"request_id\":\"a\\\"b\"", NULL },
		{ "\"kind\":\"intent\",\"request_id\":null", NULL },
		{ "\"kind\":\"intent\"", NULL },
		{ "\"kind\":\"intent", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str id = journal_members_request_id(str_from(rows[i].members));

		if (rows[i].id ? !str_eq(id, str_from(rows[i].id)) : id.p != NULL)
			fail_msg("%s: \"%.*s\"", rows[i].members, STR_ARG(id));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_id_without_a_parse),
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_forged_members),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
