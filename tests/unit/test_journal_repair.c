/* Damage in the middle of a journal: refused, accepted once and on record, told by every check, and nothing beside it. */
#include "journal_fixture.h"

#include <sys/wait.h>

#define ACCEPT_REASON STR("the disk had bad sectors")

/* A stopped journal of PAIRS pairs in one file; its path, and a checkpoint or none. */
static struct fixture *
stopped(int pairs, char path[FIXTURE_PATH_BYTES])
{
	struct fixture *f = fixture_new();

	fixture_open(f);
	for (int i = 0; i < pairs; i++) {
		char id[16];

		snprintf(id, sizeof(id), "r%d", i);
		fixture_pair(f, id);
	}
	journal_close(&f->journal);
	fixture_files(f, ".jsonl", fixture_last_path, path);
	return f;
}

/* The offset of line N (from 1). */
static size_t
line_at(const struct buf *b, size_t n)
{
	size_t at = 0;

	while (--n > 0)
		at += str_find_char(str_sub(buf_str(b), at, b->n), '\n') + 1;
	return at;
}

/* Put TEXT in the place of the lines FROM to TO (both included) of the file. */
static void
replace_lines(const char *path, size_t from, size_t to, struct str text)
{
	struct buf b = fixture_read(path), changed = BUF_EMPTY;

	buf_add(&changed, str_sub(buf_str(&b), 0, line_at(&b, from)));
	buf_add(&changed, text);
	buf_add(&changed, str_sub(buf_str(&b), line_at(&b, to + 1), b.n));
	fixture_write(path, buf_str(&changed));
	buf_fini(&changed);
	buf_fini(&b);
}

/* Change a byte of line N. */
static void
spoil_line(const char *path, size_t n)
{
	struct buf b = fixture_read(path);

	b.p[line_at(&b, n) + 60] ^= 1;
	fixture_write(path, buf_str(&b));
	buf_fini(&b);
}

/* Open and close it, accepting LINE; false with the sentence in ERROR. */
static bool
accept_line(struct fixture *f, const char *path, uint64_t line, struct buf *error)
{
	struct journal_accept accept = { str_from(strrchr(path, '/') + 1), line, ACCEPT_REASON, STR("ana") };
	bool ok;

	f->settings.accept = &accept;
	f->journal = journal_open(&f->settings, error);
	f->settings.accept = NULL;
	ok = f->journal != NULL;
	journal_close(&f->journal);
	return ok;
}

/* The same, which must succeed. */
static void
accepted(struct fixture *f, const char *path, uint64_t line)
{
	struct buf error = BUF_EMPTY;

	if (!accept_line(f, path, line, &error))
		fail_msg("not accepted: %.*s", STR_ARG(buf_str(&error)));
	buf_fini(&error);
}

/* The same, which must fail with WORDS. */
static void
not_accepted(struct fixture *f, const char *path, uint64_t line, const char *words)
{
	struct buf error = BUF_EMPTY;

	assert_false(accept_line(f, path, line, &error));
	buf_add_char(&error, '\0');
	if (strstr(error.p, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, error.p);
	buf_fini(&error);
}

/* Expect the verdict: good but for COUNT accepted places. */
static struct journal_verdict
expect_accepted(struct fixture *f, uint64_t count)
{
	struct journal_verdict v = fixture_verify(f);

	if (!v.ok)
		fail_msg("verify: %s: %s", v.where, v.what);
	assert_int_equal(v.accepted, count);
	return v;
}

/* What may be there in the place of lines 4 and 5 of ten, and where a start meets it. */
static void
test_every_damage(void **state)
{
	static const struct { const char *name, *text; size_t from, to; uint64_t line; } cases[] = {
		{ "garbage", "garbage\n", 4, 5, 4 },
		{ "two lines of it", "gar\nbage\n", 4, 5, 4 },
		{ "no lines: they are missing", "", 4, 5, 4 },
		{ "one missing", "", 4, 4, 4 },
		{ "the first ones missing", "", 1, 2, 1 },
		{ "a line too long", NULL, 4, 5, 4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char path[FIXTURE_PATH_BYTES] = "";
		struct fixture *f = stopped(5, path);
		struct buf longest = BUF_EMPTY, before, after;
		struct journal_verdict v;

		while (longest.n < 200000)
			buf_add_z(&longest, "0123456789");
		buf_add_char(&longest, '\n');
		replace_lines(path, cases[i].from, cases[i].to, cases[i].text ? str_from(cases[i].text) : buf_str(&longest));
		before = fixture_read(path);
		fixture_open_fails(f, "audit accept");
		not_accepted(f, path, cases[i].line + 1, "is damaged at");
		accepted(f, path, cases[i].line);
		v = expect_accepted(f, 1);
		if (strstr(v.accepted_where, strrchr(path, '/')) == NULL)
			fail_msg("%s: %s", cases[i].name, v.accepted_where);
		after = fixture_read(path);
		assert_true(str_starts(buf_str(&after), buf_str(&before)));		/* the bytes are as they were */
		fixture_open(f);
		fixture_pair(f, "later");
		journal_close(&f->journal);
		fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
		fixture_open(f);	/* all files read */
		fixture_pair(f, "last");
		journal_close(&f->journal);
		expect_accepted(f, 1);
		assert_int_equal(fixture_count(f, "\"kind\":\"repair\""), 1);
		assert_int_equal(fixture_count(f, "\"by\":\"ana\",\"reason\":\"the disk had bad sectors\""), 1);
		buf_fini(&longest);
		buf_fini(&before);
		buf_fini(&after);
		fixture_free(f);
	}
}

/* A journal whose middle was written anew, with hashes that are right: the chain breaks, and only that is accepted. */
static void
test_a_broken_chain(void **state)
{
	char path[FIXTURE_PATH_BYTES] = "", other_path[FIXTURE_PATH_BYTES] = "";
	struct fixture *f = stopped(5, path), *other = stopped(2, other_path);
	struct buf b = fixture_read(other_path);

	(void)state;
	replace_lines(path, 4, 4, str_sub(buf_str(&b), 0, line_at(&b, 2)));	/* a whole record of another journal */
	fixture_open_fails(f, "another journal");
	accepted(f, path, 4);
	expect_accepted(f, 1);
	buf_fini(&b);
	fixture_free(other);
	fixture_free(f);
}

/* One act accepts one place: the second is refused, before as behind, until it is accepted too. */
static void
test_a_second_damage_is_refused(void **state)
{
	char path[FIXTURE_PATH_BYTES] = "";
	struct fixture *f = stopped(8, path);

	(void)state;
	spoil_line(path, 5);
	accepted(f, path, 5);
	spoil_line(path, 11);
	fixture_open_fails(f, ":11: its hash does not match");
	assert_false(fixture_verify(f).ok);
	not_accepted(f, path, 5, ":11: its hash does not match");
	accepted(f, path, 11);
	expect_accepted(f, 2);
	spoil_line(path, 2);
	fixture_open_fails(f, ":2: its hash does not match");
	accepted(f, path, 2);
	expect_accepted(f, 3);
	fixture_open(f);
	fixture_free(f);
}

/* What was accepted is those bytes at that place between those records: any change of them is a new damage. */
static void
test_more_than_was_accepted_is_refused(void **state)
{
	static const struct { const char *name; size_t from, to; const char *text; } cases[] = {
		{ "another byte of it", 5, 5, "garbagE\n" },
		{ "more of it", 5, 5, "garbage\ngarbage\n" },
		{ "less of it", 5, 5, "" },
		{ "the record behind it", 6, 6, "" },
		{ "the record before it", 4, 4, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char path[FIXTURE_PATH_BYTES] = "";
		struct fixture *f = stopped(8, path);

		replace_lines(path, 5, 6, STR("garbage\n"));
		accepted(f, path, 5);
		expect_accepted(f, 1);
		replace_lines(path, cases[i].from, cases[i].to, str_from(cases[i].text));
		if (fixture_verify(f).ok)
			fail_msg("%s: verify says nothing", cases[i].name);
		fixture_open_fails(f, "is damaged at");
		fixture_free(f);
	}
}

/* A missing file between others, and one of which nothing is left. */
static void
test_whole_files(void **state)
{
	for (int empty = 0; empty < 3; empty++) {
		char path[FIXTURE_PATH_BYTES] = "", last[FIXTURE_PATH_BYTES] = "";
		struct fixture *f = fixture_new();
		uint64_t line = 1;

		(void)state;
		f->settings.segment_bytes = 600;
		fixture_open(f);
		for (int i = 0; i < 6; i++) {
			fixture_record(f, JOURNAL_EVENT, "e");
			if (i == 2)
				fixture_files(f, ".jsonl", fixture_last_path, path);
		}
		journal_close(&f->journal);
		fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
		if (empty == 2)
			fixture_write(path, STR("garbage\n"));
		else if (empty == 1)
			fixture_write(path, STR(""));
		else
			unlink(path);
		fixture_files(f, ".jsonl", fixture_last_path, last);
		assert_true(strcmp(path, last) < 0);
		if (empty == 0)		/* it is met at the next file */
			snprintf(path, sizeof(path), "%s", fixture_verify(f).where);
		if (strrchr(path, ':'))
			*strrchr(path, ':') = '\0';
		fixture_open_fails(f, "is damaged at");
		accepted(f, path, line);
		expect_accepted(f, 1);
		fixture_open(f);
		fixture_free(f);
	}
}

/* The open intents: what damage has swallowed of them is unknown, and said once. */
static void
test_a_swallowed_outcome_is_unknown(void **state)
{
	char path[FIXTURE_PATH_BYTES] = "";
	struct fixture *f = stopped(3, path);

	(void)state;
	spoil_line(path, 2);		/* the outcome of r0 */
	spoil_line(path, 3);		/* the intent of r1, whose outcome stands behind */
	accepted(f, path, 2);
	assert_int_equal(fixture_count(f, "\"result\":\"unknown\""), 1);
	assert_int_equal(expect_accepted(f, 1).open_intents, 0);
	fixture_open(f);
	assert_int_equal(journal_counts(f->journal).recovered_unknown, 0);
	fixture_free(f);
}

/* The tail is as ever: torn behind accepted damage it is cut, and damage there is never a thing to accept. */
static void
test_the_tail_is_as_ever(void **state)
{
	char path[FIXTURE_PATH_BYTES] = "";
	struct fixture *f = stopped(4, path);
	struct buf b;

	(void)state;
	spoil_line(path, 3);
	accepted(f, path, 3);
	b = fixture_read(path);
	b.n -= 20;
	fixture_write(path, buf_str(&b));
	buf_fini(&b);
	/* It was the record that accepts which was torn: nothing is accepted any more, and nothing was lost by that. */
	fixture_open_fails(f, ":3: its hash does not match");
	accepted(f, path, 3);
	expect_accepted(f, 1);
	b = fixture_read(path);
	buf_add(&b, STR("{\"v\":1,\"journal\":\""));
	fixture_write(path, buf_str(&b));
	buf_fini(&b);
	fixture_open(f);
	journal_close(&f->journal);
	expect_accepted(f, 1);
	not_accepted(f, path, 3, "no start is refused over");
	fixture_free(f);
}

/* A good journal has nothing to accept, and one that a process holds is not touched. */
static void
test_only_where_there_is_damage_and_nobody_else(void **state)
{
	char path[FIXTURE_PATH_BYTES] = "";
	struct fixture *f = stopped(2, path), held;

	(void)state;
	not_accepted(f, path, 2, "no start is refused over");
	fixture_open(f);
	held = *f;
	not_accepted(&held, path, 2, "is locked by process");
	fixture_free(f);
}

/* A power cut in the middle of accepting, after any number of bytes: it is accepted, or refused and can be accepted. */
static void
test_a_power_cut_leaves_either(void **state)
{
	char path[FIXTURE_PATH_BYTES] = "";
	struct fixture *f = stopped(4, path);
	struct buf before, after;
	size_t either[2] = { 0, 0 };

	(void)state;
	spoil_line(path, 3);
	before = fixture_read(path);
	accepted(f, path, 3);
	after = fixture_read(path);
	fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
	assert_true(after.n > before.n + 100);
	for (size_t n = before.n; n <= after.n; n += 7) {
		struct buf error = BUF_EMPTY;
		bool opens;

		fixture_write(path, str_sub(buf_str(&after), 0, n));
		f->journal = journal_open(&f->settings, &error);
		opens = f->journal != NULL;
		journal_close(&f->journal);
		either[opens]++;
		if (!opens)
			accepted(f, path, 3);
		expect_accepted(f, 1);
		fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
		buf_fini(&error);
	}
	fixture_write(path, buf_str(&after));
	fixture_open(f);
	assert_true(either[0] > 10);
	buf_fini(&before);
	buf_fini(&after);
	fixture_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_damage),
		cmocka_unit_test(test_a_broken_chain),
		cmocka_unit_test(test_a_second_damage_is_refused),
		cmocka_unit_test(test_more_than_was_accepted_is_refused),
		cmocka_unit_test(test_whole_files),
		cmocka_unit_test(test_a_swallowed_outcome_is_unknown),
		cmocka_unit_test(test_the_tail_is_as_ever),
		cmocka_unit_test(test_only_where_there_is_damage_and_nobody_else),
		cmocka_unit_test(test_a_power_cut_leaves_either),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
