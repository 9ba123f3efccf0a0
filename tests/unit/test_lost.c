/* Lost answers over time: who gets what, in which order, and until when. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "rules/lost.h"

#define KEEP INT64_C(120000000)

static uint8_t names[3][CLAIM_DIGEST_BYTES];

/* The id of request NUMBER. */
static const char *
id_of(int number)
{
	static char ids[64][64];

	snprintf(ids[number % 64], sizeof(ids[0]), "%036d", number);
	return ids[number % 64];
}

/* NUMBER asks for NAME and finds STATE, of request FIRST. */
static void
expect(struct lost_table *table, int name, int number, int64_t now_us, enum lost_state state, int first)
{
	struct lost_who who = { .worker = 1, .slot = (uint32_t)number };
	struct lost_found found;

	memcpy(who.id, id_of(number), sizeof(who.id));
	lost_look(table, names[name], &who, now_us, &found);
	assert_int_equal(found.state, state);
	if (state != LOST_NONE)
		assert_memory_equal(found.first, id_of(first), CLAIM_ID_BYTES);
	if (state == LOST_ANSWERED)
		assert_true(str_eq(buf_str(&found.answer), STR("answer")));
	buf_fini(&found.answer);
}

/* NUMBER's run of NAME ends; the slot of who is told, 0 for nobody. */
static uint32_t
land(struct lost_table *table, int name, int number, enum lost_state state, int64_t now_us)
{
	struct lost_who joiner = { .slot = 0 };

	return lost_land(table, names[name], id_of(number), state, STR("answer"), KEEP, now_us, &joiner) ? joiner.slot : 0;
}

static void
test_one_lost_answer_answers_one_run(void **state)
{
	struct lost_table *table = lost_table_new(100);

	(void)state;
	expect(table, 0, 9, 0, LOST_NONE, 0);
	assert_int_equal(land(table, 0, 1, LOST_ANSWERED, 10), 0);
	assert_int_equal(land(table, 0, 2, LOST_ANSWERED, 20), 0);
	expect(table, 1, 9, 30, LOST_NONE, 0);
	expect(table, 0, 9, 30, LOST_ANSWERED, 1);
	expect(table, 0, 10, 30, LOST_ANSWERED, 2);
	expect(table, 0, 11, 30, LOST_NONE, 0);
	land(table, 0, 3, LOST_ANSWERED, 40);
	expect(table, 0, 12, 40 + KEEP, LOST_NONE, 0);
	land(table, 0, 4, LOST_ANSWERED, 50);
	expect(table, 0, 12, 49 + KEEP, LOST_ANSWERED, 4);
	lost_table_free(&table);
}

static void
test_joining(void **state)
{
	struct lost_table *table = lost_table_new(100);

	(void)state;
	lost_fly(table, names[0], id_of(1));
	lost_fly(table, names[0], id_of(1));
	assert_int_equal(lost_count(table), 1);
	expect(table, 0, 2, 10 * KEEP, LOST_FLYING, 1);		/* it never expires: it lands */
	expect(table, 0, 3, 10 * KEEP, LOST_NONE, 0);		/* one each */
	lost_leave(table, names[0], id_of(3));
	expect(table, 0, 3, 10 * KEEP, LOST_NONE, 0);
	lost_leave(table, names[0], id_of(2));
	expect(table, 0, 4, 10 * KEEP, LOST_FLYING, 1);
	assert_int_equal(land(table, 0, 1, LOST_ANSWERED, 10 * KEEP), 4);
	expect(table, 0, 5, 10 * KEEP, LOST_NONE, 0);		/* it was his */
	assert_int_equal(lost_count(table), 0);

	lost_fly(table, names[0], id_of(6));
	expect(table, 0, 7, 10 * KEEP, LOST_FLYING, 6);
	assert_int_equal(land(table, 0, 6, LOST_NONE, 10 * KEEP), 7);
	expect(table, 0, 8, 10 * KEEP, LOST_NONE, 0);
	lost_table_free(&table);
}

static void
test_unknown_answers_all_until_it_is_known(void **state)
{
	struct lost_table *table = lost_table_new(100);

	(void)state;
	lost_fly(table, names[0], id_of(1));
	expect(table, 0, 2, 5, LOST_FLYING, 1);
	assert_int_equal(land(table, 0, 1, LOST_UNKNOWN, 10), 2);
	for (int i = 3; i < 6; i++)
		expect(table, 0, i, 9 + KEEP, LOST_UNKNOWN, 1);
	assert_int_equal(land(table, 0, 1, LOST_ANSWERED, 9 + KEEP), 0);	/* late */
	expect(table, 0, 6, 20 + KEEP, LOST_ANSWERED, 1);
	expect(table, 0, 7, 20 + KEEP, LOST_NONE, 0);
	land(table, 0, 8, LOST_UNKNOWN, 0);
	assert_int_equal(land(table, 0, 8, LOST_NONE, 5), 0);		/* a late 429: it was not executed */
	expect(table, 0, 9, 6, LOST_NONE, 0);
	land(table, 0, 8, LOST_UNKNOWN, 0);
	expect(table, 0, 9, KEEP, LOST_NONE, 0);
	lost_table_free(&table);
}

/* The oldest is forgotten where there are too many; who flies stays. */
static void
test_bound(void **state)
{
	struct lost_table *table = lost_table_new(10);

	(void)state;
	lost_fly(table, names[1], id_of(50));
	for (int i = 0; i < 30; i++)
		land(table, 0, i, LOST_ANSWERED, i);
	assert_int_equal(lost_count(table), 10);
	expect(table, 0, 60, 30, LOST_ANSWERED, 21);
	expect(table, 1, 60, 30, LOST_FLYING, 50);
	lost_table_free(&table);
}

/* What one instance writes another reads; nothing else is one. */
static void
test_texts(void **state)
{
	static const enum lost_state states[] = { LOST_NONE, LOST_FLYING, LOST_ANSWERED, LOST_UNKNOWN };
	struct buf text = BUF_EMPTY;
	struct lost_text read;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		buf_clear(&text);
		lost_text_write(&text, states[i], id_of(7), STR("answer"));
		assert_true(lost_text_read(buf_str(&text), &read) && read.was && read.state == states[i]);
		assert_true(str_eq(read.first, str_from(id_of(7))));
		assert_int_equal(read.answer.n, states[i] == LOST_ANSWERED ? 6 : 0);
	}
	assert_false(lost_text_read(STR(""), &read));
	assert_false(lost_text_read(STR("A1234"), &read));
	text.p[0] = 'X';
	assert_false(lost_text_read(buf_str(&text), &read));
	assert_int_equal(read.state, LOST_NONE);
	buf_clear(&text);
	lost_key(&text, STR("p"), STR("default"), names[0]);
	assert_true(str_starts(buf_str(&text), STR("p:lost1:{default}:0000")) && text.n == strlen("p:lost1:{default}:") + 64);
	buf_fini(&text);
}

/* Marks, and whether they are of the member "m" in its start 7. */
static const struct { const char *mark; bool is; } marks[] = {
	{ "1795000000000 m/7", true }, { "1795000000000 m/8", false }, { "1795000000000 mm/7", false }, { "1795000000000 *", false },
	{ "1795000000000 m/7 ", false }, { "m/7", false }, { "1795000000000", false }, { " ", false }, { "", false },
};

static void
test_marks(void **state)
{
	struct buf text = BUF_EMPTY;

	(void)state;
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (lost_mark_is_of(str_from(marks[i].mark), STR("m"), 7) != marks[i].is)
			fail_msg("\"%s\"", marks[i].mark);
	lost_mark_key(&text, STR("p"), STR("default"));
	assert_true(str_eq(buf_str(&text), STR("p:lost1:{default}:any")));	/* no digest is called so */
	buf_fini(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_lost_answer_answers_one_run), cmocka_unit_test(test_joining),
		cmocka_unit_test(test_unknown_answers_all_until_it_is_known), cmocka_unit_test(test_bound), cmocka_unit_test(test_texts),
		cmocka_unit_test(test_marks) };

	memset(names[1], 1, sizeof(names[1]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
