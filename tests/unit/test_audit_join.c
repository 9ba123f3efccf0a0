/* rules/audit_record, audit_join, audit_text: triggers put together from a journal's lines, and written out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "rules/audit_join.h"
#include "rules/audit_text.h"

static struct audit_filter filter;
static struct audit_join join;
static struct buf out;

/* The line of a record; NUMBER makes its request's id. */
static struct buf
line_of(unsigned seq, const char *kind, unsigned number, const char *more)
{
	struct buf line = BUF_EMPTY;

	buf_printf(&line, "{\"v\":1,\"journal\":\"j\",\"instance\":\"i\",\"seq\":%u,\"time\":\"2026-11-01T00:%02u:%02u.000000Z\","
	    "\"kind\":\"%s\",\"request_id\":\"r%u\",\"caller\":\"c%u\",\"new\":[1,{\"a\":null}]%s,\"prev\":\"0\",\"hash\":\"0\"}", seq,
	    seq / 60 % 60, seq % 60, kind, number, number % 2, more);
	return line;
}

/* Read such a line. */
static void
read_line(unsigned seq, const char *kind, unsigned number, const char *more)
{
	struct buf line = line_of(seq, kind, number, more);

	assert_true(audit_join_line(&join, buf_str(&line)));
	buf_fini(&line);
}

static int
setup(void **state)
{
	(void)state;
	filter = (struct audit_filter){ .until = { INT64_MAX } };
	audit_join_init(&join, &filter);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	audit_join_fini(&join);
	buf_fini(&out);
	return 0;
}

/* Expect TRIGGER to be of that seq and result (NULL: none), and drop it. */
static void
expect(struct audit_trigger *trigger, unsigned seq, const char *result)
{
	assert_non_null(trigger);
	assert_int_equal(trigger->record.seq, seq);
	if (result)
		assert_true(str_eq(trigger->record.values[AUDIT_RESULT].text, str_from(result)));
	else
		assert_int_equal(trigger->record.values[AUDIT_RESULT].token, JSON_NULL);
	audit_join_drop(&join, trigger);
}

static void
test_in_order_of_the_intents(void **state)
{
	(void)state;
	read_line(1, "config", 0, "");
	read_line(2, "intent", 1, "");
	read_line(3, "intent", 2, "");
	read_line(4, "outcome", 2, ",\"result\":\"accepted\",\"status\":202");
	assert_null(audit_join_first(&join));		/* the one before it may still come */
	read_line(5, "refusal", 3, ",\"status\":429");
	read_line(6, "intent", 4, "");
	read_line(7, "outcome", 1, ",\"result\":\"unknown\"");
	expect(audit_join_first(&join), 2, "unknown");
	expect(audit_join_first(&join), 3, "accepted");
	expect(audit_join_first(&join), 5, NULL);
	assert_null(audit_join_first(&join));
	assert_null(audit_join_any_whole(&join));
	assert_int_equal(join.open_count, 1);
	expect(audit_join_as_it_is(&join), 6, NULL);
	assert_null(audit_join_as_it_is(&join));
	assert_int_equal(join.open_count, 0);
	assert_true(join.first_seq == 1 && join.last_seq == 7 && join.gap_count == 0);
}

static void
test_filtered(void **state)
{
	(void)state;
	filter.values[AUDIT_CALLER] = STR("c1");
	filter.values[AUDIT_RESULT] = STR("accepted");
	read_line(1, "intent", 1, "");
	read_line(2, "intent", 2, "");
	read_line(3, "intent", 3, "");
	read_line(4, "outcome", 2, ",\"result\":\"accepted\"");
	read_line(5, "outcome", 3, ",\"result\":\"accepted\"");
	read_line(6, "outcome", 1, ",\"result\":\"rejected\"");
	read_line(7, "refusal", 5, ",\"status\":429");
	read_line(8, "intent", 7, "");
	expect(audit_join_first(&join), 3, "accepted");
	assert_null(audit_join_as_it_is(&join));	/* what is open is not accepted */
	filter.values[AUDIT_RESULT] = STR("refused");
	read_line(9, "refusal", 6, "");
	read_line(10, "refusal", 7, "");
	expect(audit_join_first(&join), 10, NULL);
	filter = (struct audit_filter){ .until = { INT64_MAX } };
	filter.values[AUDIT_REQUEST_ID] = STR("R9");
	filter.values[AUDIT_INSTANCE_ID] = STR("ABC");
	read_line(11, "intent", 9, "");
	read_line(12, "outcome", 9, ",\"result\":\"accepted\",\"instance_id\":\"abc\"");
	expect(audit_join_first(&join), 11, "accepted");
}

static void
test_within_a_time(void **state)
{
	struct wall_time since, until;

	(void)state;
	assert_true(clock_parse_rfc3339(STR("2026-11-01T00:00:03.000000Z"), &since));
	assert_true(clock_parse_rfc3339(STR("2026-11-01T00:00:05.000000Z"), &until));
	filter.since = since;
	filter.until = until;
	for (unsigned seq = 1; seq < 8; seq++)
		read_line(seq, "refusal", seq, "");
	expect(audit_join_first(&join), 3, NULL);
	expect(audit_join_first(&join), 4, NULL);
	assert_null(audit_join_as_it_is(&join));
}

static void
test_what_is_not_there(void **state)
{
	(void)state;
	read_line(5, "outcome", 1, ",\"result\":\"accepted\"");		/* its intent is in a file that is gone */
	read_line(9, "refusal", 2, "");
	read_line(10, "refusal", 3, "");
	read_line(20, "refusal", 4, "");
	assert_int_equal(join.gap_count, 2);
	assert_true(join.gaps[0].from == 6 && join.gaps[0].to == 8 && join.gaps[1].from == 11 && join.gaps[1].to == 19);
	assert_false(audit_join_line(&join, STR("")));
	assert_false(audit_join_line(&join, STR("{}")));
	assert_false(audit_join_line(&join, STR("{\"seq\":1")));
	assert_false(audit_join_line(&join, STR("{\"seq\":1,\"time\":\"2026-11-01T00:00:03.000000Z\",\"journal\":\"j\",\"kind\":\"intent\"}")));
	assert_int_equal(join.bad_lines, 4);
	for (unsigned i = 0; i < 100; i++)
		read_line(30 + 2 * i, "refusal", i, "");
	assert_int_equal(join.gap_count, 102);
}

/* Hand in a line that stands ahead. */
static void
look_ahead(unsigned seq, const char *kind, unsigned number, const char *more)
{
	struct buf line = line_of(seq, kind, number, more);

	audit_join_ahead(&join, buf_str(&line));
	buf_fini(&line);
}

#define FOUND ",\"result\":\"accepted\",\"instance_id\":\"abc\",\"location\":\"there\""

/* A resolution stands long behind its outcome: handed in before, it is told with the trigger, and then forgotten. */
static void
test_resolved(void **state)
{
	struct audit_trigger *trigger;

	(void)state;
	read_line(1, "intent", 1, "");
	read_line(2, "intent", 2, "");
	read_line(3, "intent", 3, "");
	look_ahead(7, "resolution", 1, FOUND);
	look_ahead(7, "resolution", 1, FOUND);			/* once is enough */
	look_ahead(8, "resolution", 2, ",\"result\":\"unknown\",\"why\":\"none\"");
	look_ahead(9, "outcome", 3, FOUND);
	read_line(4, "outcome", 1, ",\"result\":\"unknown\",\"status\":504,\"instance_id\":null");
	read_line(5, "outcome", 2, ",\"result\":\"unknown\"");
	read_line(6, "outcome", 3, ",\"result\":\"rejected\"");
	trigger = audit_join_first(&join);
	assert_true(str_eq(trigger->record.values[AUDIT_INSTANCE_ID].text, STR("abc")));
	assert_true(str_eq(trigger->record.values[AUDIT_LOCATION].text, STR("there")));
	assert_true(str_eq(trigger->record.values[AUDIT_STATUS].text, STR("504")));
	assert_true(str_eq(trigger->record.values[AUDIT_RESOLUTION_SEQ].text, STR("7")));
	expect(trigger, 1, "accepted");
	assert_int_equal(audit_join_first(&join)->record.values[AUDIT_RESOLUTION_SEQ].token, JSON_NULL);
	expect(audit_join_first(&join), 2, "unknown");
	expect(audit_join_first(&join), 3, "rejected");
	assert_false(TAILQ_EMPTY(&join.ahead));
	read_line(7, "resolution", 1, FOUND);
	assert_true(TAILQ_EMPTY(&join.ahead));
	look_ahead(7, "resolution", 1, FOUND);			/* it was read */
	assert_true(TAILQ_EMPTY(&join.ahead));
	assert_null(audit_join_as_it_is(&join));
}

/* What is looked for is what it turned out to be. */
static void
test_resolved_and_filtered(void **state)
{
	(void)state;
	filter.values[AUDIT_RESULT] = STR("accepted");
	filter.values[AUDIT_INSTANCE_ID] = STR("ABC");
	read_line(1, "intent", 1, "");
	read_line(2, "intent", 2, "");
	look_ahead(5, "resolution", 1, FOUND);
	read_line(3, "outcome", 1, ",\"result\":\"unknown\"");
	read_line(4, "outcome", 2, ",\"result\":\"unknown\"");
	expect(audit_join_first(&join), 1, "accepted");
	assert_null(audit_join_as_it_is(&join));
	filter = (struct audit_filter){ .until = { INT64_MAX } };
	filter.values[AUDIT_RESULT] = STR("unknown");
	read_line(6, "intent", 6, "");
	look_ahead(8, "resolution", 6, FOUND);
	read_line(7, "outcome", 6, ",\"result\":\"unknown\"");
	assert_null(audit_join_as_it_is(&join));
}

/* Who follows sees an unknown one at once, and again when it is resolved; by a filter, only as what it is looked for. */
static void
test_remembered(void **state)
{
	struct audit_trigger *trigger;

	(void)state;
	join.remembers = true;
	for (unsigned n = 1; n <= 2; n++) {
		read_line(10 * n, "intent", n, "");
		read_line(10 * n + 1, "outcome", n, ",\"result\":\"unknown\"");
		trigger = audit_join_first(&join);
		assert_true(str_eq(trigger->record.values[AUDIT_RESULT].text, STR("unknown")));
		audit_join_done(&join, trigger);
		assert_null(audit_join_any_whole(&join));
	}
	read_line(30, "resolution", 1, ",\"result\":\"unknown\",\"why\":\"none\"");
	read_line(31, "resolution", 2, FOUND);
	read_line(32, "resolution", 3, FOUND);		/* of one before */
	trigger = audit_join_any_whole(&join);
	assert_true(str_eq(trigger->record.values[AUDIT_RESOLUTION_SEQ].text, STR("31")));
	expect(trigger, 20, "accepted");
	assert_null(audit_join_any_whole(&join));
	filter.values[AUDIT_INSTANCE_ID] = STR("abc");
	read_line(40, "intent", 4, "");
	read_line(41, "outcome", 4, ",\"result\":\"unknown\"");
	assert_null(audit_join_any_whole(&join));
	read_line(42, "resolution", 4, FOUND);
	expect(audit_join_any_whole(&join), 40, "accepted");
	for (unsigned n = 0; n < AUDIT_JOIN_REMEMBERED + 10; n++) {
		read_line(100 + 2 * n, "intent", 100 + n, "");
		read_line(101 + 2 * n, "outcome", 100 + n, ",\"result\":\"unknown\"");
	}
	assert_int_equal(join.remembered_count, AUDIT_JOIN_REMEMBERED);
}

/* Many at once, closed in a random order: each comes out once, in order, and nothing is left. */
static void
test_many(void **state)
{
	enum { MANY = 3000 };
	unsigned order[MANY], next = 0, seq = 0;
	struct audit_trigger *trigger;

	(void)state;
	srandom(7);
	for (unsigned i = 0; i < MANY; i++)
		order[i] = i;
	for (unsigned i = 0; i < MANY; i++) {
		unsigned k = (unsigned)random() % MANY, was = order[i];

		order[i] = order[k];
		order[k] = was;
	}
	for (unsigned i = 0; i < MANY; i++)
		read_line(++seq, "intent", i, "");
	for (unsigned i = 0; i < MANY; i++) {
		read_line(++seq, "outcome", order[i], ",\"result\":\"accepted\"");
		while ((trigger = audit_join_first(&join)) != NULL)
			expect(trigger, ++next, "accepted");
	}
	assert_int_equal(next, MANY);
	assert_int_equal(join.open_count, 0);
}

/* Hostile values break neither a table nor a row. */
static void
test_text(void **state)
{
	(void)state;
	read_line(1, "intent", 1, ",\"client_request_id\":\"=cmd(\\\"x\\\")\\n\",\"legacy\":true,\"job_type\":\"\\u001b[2J\303\251\"");
	read_line(2, "outcome", 1, ",\"result\":\"accepted\",\"status\":202,\"location\":null");
	audit_text_trigger(&out, AUDIT_JSON, &audit_join_first(&join)->record);
	assert_true(str_starts(buf_str(&out), STR("{\"time\":\"2026-11-01T00:00:01.000000Z\",\"journal\":\"j\",\"instance\":\"i\",\"seq\":1,"
	    "\"outcome_seq\":2,\"request_id\":\"r1\",\"client_request_id\":\"=cmd(\\\"x\\\")\\n\",\"caller\":\"c1\",\"key\":null,")));
	buf_clear(&out);
	audit_text_trigger(&out, AUDIT_CSV, &audit_join_first(&join)->record);
	assert_true(str_starts(buf_str(&out), STR("\"2026-11-01T00:00:01.000000Z\",\"j\",\"i\",1,2,\"r1\",\"'=cmd(\"\"x\"\")\n\",\"c1\",,,")));
	buf_clear(&out);
	audit_text_trigger(&out, AUDIT_TABLE, &audit_join_first(&join)->record);
	for (size_t i = 0; i + 1 < out.n; i++)
		assert_in_range(out.p[i], ' ', '~');
	buf_clear(&out);
	audit_text_head(&out, AUDIT_CSV);
	assert_true(str_starts(buf_str(&out), STR("time,journal,instance,seq,outcome_seq,request_id,")));
	audit_join_drop(&join, audit_join_first(&join));
	buf_clear(&out);
	read_line(3, "refusal", 2, ",\"status\":429");
	audit_text_trigger(&out, AUDIT_JSON, &audit_join_first(&join)->record);
	assert_true(str_find(buf_str(&out), STR("\"result\":\"refused\"")) < out.n);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_in_order_of_the_intents), TEST(test_filtered), TEST(test_within_a_time),
		TEST(test_what_is_not_there), TEST(test_resolved), TEST(test_resolved_and_filtered), TEST(test_remembered),
		TEST(test_many), TEST(test_text) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
