/* What is shown of a journal, and journals held to what others have seen of them. */
#include "journal_fixture.h"

#include "io/journal_chain.h"

#define JOURNALS 3
#define RECORDS_MAX 40
#define A "aaaaaaaa-0000-4000-8000-00000000000a"
#define B "bbbbbbbb-0000-4000-8000-00000000000b"
#define C "cccccccc-0000-4000-8000-00000000000c"
#define STRANGER "dddddddd-0000-4000-8000-00000000000d"

/* --- what is shown --- */

/* Wait until the journal shows another head than SEQ, of all or not; the new one. */
static uint64_t
wait_shown(struct fixture *f, bool all, uint64_t seq)
{
	struct mono_time end = mono_add(clock_now_mono(), FIXTURE_PATIENCE_US);
	struct journal_head head;

	while (!journal_synced_head(f->journal, all, &head) || head.seq == seq) {
		assert_true(mono_since(end, clock_now_mono()) > 0);
		usleep(1000);
	}
	return head.seq;
}

/* A head is shown once it is on the disk; anchors alone show none, but they are among all; a start knows where it was. */
static void
test_shown(void **state)
{
	struct fixture *f = fixture_new();
	struct journal_head head;

	(void)state;
	fixture_open(f);
	assert_false(journal_synced_head(f->journal, true, &head));
	fixture_record(f, JOURNAL_INTENT, "a");		/* which is synced when it is acknowledged */
	assert_int_equal(wait_shown(f, false, 0), 1);
	fixture_record(f, JOURNAL_OUTCOME, "a");
	assert_true(journal_synced_head(f->journal, true, &head));
	assert_true(head.seq == 1 || journal_counts(f->journal).syncs >= 2);	/* it is written; on the disk after a sync of its own */
	assert_int_equal(wait_shown(f, false, 1), 2);
	fixture_record(f, JOURNAL_ANCHOR, "x");
	assert_int_equal(wait_shown(f, true, 2), 3);
	assert_true(journal_synced_head(f->journal, false, &head));
	assert_int_equal(head.seq, 2);
	fixture_record(f, JOURNAL_EVENT, "c");
	assert_int_equal(wait_shown(f, false, 2), 4);
	journal_close(&f->journal);
	fixture_open(f);
	assert_true(journal_synced_head(f->journal, false, &head));
	assert_int_equal(head.seq, 4);
	assert_int_equal(journal_counts(f->journal).records[JOURNAL_ANCHOR], 0);
	fixture_good(f);
	fixture_free(f);
}

/* A ring that is full takes no anchor: it would have to wait for it. */
static void
test_ring(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	f->settings.ring_records = 2;
	fixture_open(f);
	fixture_record(f, JOURNAL_INTENT, "a");		/* its outcome's place is kept, one is left */
	assert_true(fixture_put(f, JOURNAL_INTENT, "b") == false);
	fixture_record(f, JOURNAL_ANCHOR, "x");
	fixture_record(f, JOURNAL_OUTCOME, "a");
	fixture_good(f);
	fixture_free(f);
}

/* --- verify: journals made by hand --- */

struct book {
	struct fixture *f;		/* its directory */
	struct buf prefix;
	struct journal_head heads[RECORDS_MAX + 1];	/* after each record */
	struct buf lines[RECORDS_MAX + 1];
	size_t count;
};

static void
book_begin(struct book *b, const char *uuid)
{
	*b = (struct book){ .f = fixture_new() };
	journal_line_prefix(&b->prefix, str_from(uuid), STR("a \"kind\":\"anchor\" of a label"));
	journal_head_init(&b->heads[0]);
}

/* Add a record; the clock is its seq in seconds. */
static void
book_add(struct book *b, const char *members)
{
	size_t n = ++b->count;

	assert_true(n <= RECORDS_MAX);
	b->heads[n] = b->heads[n - 1];
	journal_line_build(&b->lines[n], buf_str(&b->prefix), &b->heads[n],
	    (struct wall_time){ INT64_C(1795000000000000) + (int64_t)n * CLOCK_SECOND }, str_from(members));
}

static void
book_fill(struct book *b, size_t count)
{
	while (b->count < count)
		book_add(b, "\"kind\":\"config\",\"event\":\"start\"");
}

/* Add an anchor of record SEQ of UUID, which HEAD is. */
static void
book_anchor(struct book *b, const char *uuid, uint64_t seq, const struct journal_head *head)
{
	char members[256];

	snprintf(members, sizeof(members), "\"kind\":\"anchor\",\"of_journal\":\"%s\",\"of_seq\":%" PRIu64 ",\"of_hash\":\"%.64s\"",
	    uuid, seq, head->hash);
	book_add(b, members);
}

/* Make a forged record in the place of SEQ, and all after it anew. */
static void
book_forge(struct book *b, size_t seq)
{
	size_t count = b->count;

	for (size_t n = seq; n <= count; n++)
		buf_fini(&b->lines[n]);
	b->count = seq - 1;
	book_add(b, "\"kind\":\"config\",\"event\":\"forged\"");
	book_fill(b, count);
}

/* Write records FROM to TO, a file for each FILE of them. */
static void
book_write(struct book *b, size_t from, size_t to, size_t file)
{
	char path[FIXTURE_PATH_BYTES];

	fixture_files(b->f, ".jsonl", fixture_unlink, NULL);
	for (size_t first = from; first <= to || first == from; first += file) {
		struct buf text = BUF_EMPTY;

		for (size_t n = first; n <= to && n < first + file; n++)
			buf_add(&text, buf_str(&b->lines[n]));
		snprintf(path, sizeof(path), "%s/%020zu-20261118.jsonl", b->f->directory, first);
		fixture_write(path, buf_str(&text));
		buf_fini(&text);
	}
}

static void
book_end(struct book *b)
{
	for (size_t n = 0; n <= RECORDS_MAX; n++)
		buf_fini(&b->lines[n]);
	buf_fini(&b->prefix);
	fixture_free(b->f);
}

struct verdicts { struct journal_verdict each[JOURNALS]; struct journal_strangers strangers; };

/* Verify COUNT journals together, as of a second of their clock (0: all). */
static struct verdicts
verify(struct book *books, size_t count, int64_t as_of)
{
	struct str directories[JOURNALS];
	struct verdicts v;
	struct wall_time until = { as_of ? INT64_C(1795000000000000) + as_of * CLOCK_SECOND : INT64_MAX };

	for (size_t i = 0; i < count; i++)
		directories[i] = str_from(books[i].f->directory);
	journal_verify_all(directories, count, until, NULL, v.each, &v.strangers);
	free(v.strangers.list);
	return v;
}

/* V must be bad at PLACE (FILE:LINE of its directory), with WORDS. */
static void
is_bad(const struct journal_verdict *v, const char *place, const char *words)
{
	const char *slash = strrchr(v->where, '/');

	if (v->ok)
		fail_msg("it is good, but %s was expected", words);
	if (slash == NULL || strcmp(slash + 1, place) != 0 || strstr(v->what, words) == NULL)
		fail_msg("%s: %s; expected %s: %s", v->where, v->what, place, words);
}

static void
is_good(const struct journal_verdict *v)
{
	if (!v->ok)
		fail_msg("%s: %s", v->where, v->what);
}

/* A and B of 20 records each and some, in files of 7: A has seen B's 5th, 12th and 20th, B has seen A's 10th. */
static void
two_books(struct book books[2])
{
	book_begin(&books[0], A);
	book_begin(&books[1], B);
	book_fill(&books[0], 10);
	book_fill(&books[1], 20);
	book_anchor(&books[0], B, 5, &books[1].heads[5]);
	book_anchor(&books[0], B, 12, &books[1].heads[12]);
	book_anchor(&books[0], B, 20, &books[1].heads[20]);
	book_anchor(&books[1], A, 10, &books[0].heads[10]);
	book_write(&books[0], 1, books[0].count, 7);
	book_write(&books[1], 1, books[1].count, 7);
}

static void
test_good(void **state)
{
	struct book books[2];
	struct verdicts v;

	(void)state;
	two_books(books);
	v = verify(books, 2, 0);
	is_good(&v.each[0]);
	is_good(&v.each[1]);
	assert_int_equal(v.each[0].held, 1);
	assert_int_equal(v.each[1].held, 3);
	assert_int_equal(v.strangers.count, 0);
	v = verify(books, 1, 0);
	is_good(&v.each[0]);
	assert_int_equal(v.strangers.count, 1);
	book_end(&books[0]);
	book_end(&books[1]);
}

/* The end is cut: at a line, at a file, to nothing. Later anchors than AS_OF do not hold it to it. */
static void
test_cut(void **state)
{
	struct book books[2];
	struct verdicts v;

	(void)state;
	two_books(books);
	book_write(&books[1], 1, 19, 7);
	v = verify(books, 2, 0);
	is_good(&v.each[0]);
	is_bad(&v.each[1], "00000000000000000015-20261118.jsonl:5", "it ends with seq 19, but");
	assert_non_null(strstr(v.each[1].what, "has seen seq 20 (its anchor at seq 13)"));
	v = verify(books, 2, 12);
	is_good(&v.each[1]);
	assert_int_equal(v.each[1].late, 1);
	assert_false(verify(books, 2, 13).each[1].ok);
	book_write(&books[1], 1, 7, 7);
	is_bad(&verify(books, 2, 12).each[1], "00000000000000000001-20261118.jsonl:7", "has seen seq 12 (its anchor at seq 12)");
	book_write(&books[1], 1, 20, 7);
	is_good(&verify(books, 2, 0).each[1]);		/* A's anchor was after all cut off with B's own last record */
	book_write(&books[1], 1, 0, 7);			/* without journal.id nobody knows whose it was: it is a stranger */
	v = verify(books, 2, 0);
	assert_int_equal(v.strangers.count, 1);
	book_end(&books[0]);
	book_end(&books[1]);
}

/* With all hashes made anew, the first bad record is behind the last that an anchor has right. */
static void
test_rewritten(void **state)
{
	static const struct { size_t seq; const char *place, *words; } cases[] = {
		{ 1, "00000000000000000001-20261118.jsonl:1", "one of seq 1 to 5;" },
		{ 5, "00000000000000000001-20261118.jsonl:1", "one of seq 1 to 5;" },
		{ 6, "00000000000000000001-20261118.jsonl:6", "one of seq 6 to 12;" },
		{ 12, "00000000000000000001-20261118.jsonl:6", "one of seq 6 to 12;" },
		{ 13, "00000000000000000008-20261118.jsonl:6", "one of seq 13 to 20;" },
		{ 20, "00000000000000000008-20261118.jsonl:6", "one of seq 13 to 20;" },
		{ 21, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct book books[2];
		struct verdicts v;

		two_books(books);
		book_forge(&books[1], cases[i].seq);
		book_write(&books[1], 1, books[1].count, 7);
		v = verify(books, 2, 0);
		is_good(&v.each[0]);
		if (cases[i].place)
			is_bad(&v.each[1], cases[i].place, cases[i].words);
		else
			is_good(&v.each[1]);
		is_good(&verify(books + 1, 1, 0).each[0]);	/* by itself nobody could tell */
		book_end(&books[0]);
		book_end(&books[1]);
	}
}

/* What is deleted, and attested, holds to nothing but the hash that the attestation has. */
static void
test_deleted(void **state)
{
	struct book books[2];
	struct verdicts v;
	char members[256];

	(void)state;
	two_books(books);
	snprintf(members, sizeof(members), "\"kind\":\"retention\",\"last_seq\":14,\"last_hash\":\"%.64s\"", books[1].heads[14].hash);
	book_add(&books[1], members);
	book_anchor(&books[0], B, 14, &books[1].heads[14]);
	book_write(&books[0], 1, books[0].count, 7);
	book_write(&books[1], 15, books[1].count, 7);
	v = verify(books, 2, 0);
	is_good(&v.each[1]);
	assert_int_equal(v.each[1].deleted, 2);		/* the 5th and the 12th */
	assert_int_equal(v.each[1].held, 2);		/* the 14th and the 20th */
	book_anchor(&books[0], B, 14, &books[1].heads[13]);
	book_write(&books[0], 1, books[0].count, 7);
	is_bad(&verify(books, 2, 0).each[1], "00000000000000000015-20261118.jsonl:1", "has seen another seq 14");
	book_end(&books[0]);
	book_end(&books[1]);
}

/* What no good line says, or a journal of itself, is nothing. */
static void
test_not_said(void **state)
{
	struct book books[2];
	struct verdicts v;

	(void)state;
	two_books(books);
	book_anchor(&books[1], B, 1, &books[1].heads[2]);	/* itself */
	book_anchor(&books[1], "no uuid", 1, &books[1].heads[2]);
	book_add(&books[1], "\"kind\":\"anchor\",\"of_journal\":\"" A "\",\"of_seq\":\"1\",\"of_hash\":\"ab\"");
	book_add(&books[1], "\"kind\":\"anchor\",\"of_journal\":\"" A "\",\"of_seq\":1,\"of_hash\":\"ab\"");
	book_add(&books[1], "\"kind\":\"anchor\",\"of_journal\":\"" A "\",\"of_seq\":0,\"of_hash\":null");
	book_anchor(&books[1], STRANGER, 77, &books[1].heads[2]);
	book_write(&books[1], 1, books[1].count, 7);
	v = verify(books, 2, 0);
	is_good(&v.each[0]);
	is_good(&v.each[1]);
	assert_int_equal(v.strangers.count, 1);
	book_anchor(&books[1], A, 3, &books[0].heads[4]);	/* and one whose own hash is wrong, which B is bad by */
	books[1].lines[books[1].count].p[30] ^= 1;
	book_write(&books[1], 1, books[1].count, 7);
	v = verify(books, 2, 0);
	is_good(&v.each[0]);
	assert_false(v.each[1].ok);
	book_end(&books[0]);
	book_end(&books[1]);
}

/*
 * A has forged an anchor of B's, and C has seen A as it was before: A is bad, and not believed. Without C it is word
 * against word, and both are named.
 */
static void
test_whom_to_believe(void **state)
{
	struct book books[3];
	struct verdicts v;

	(void)state;
	two_books(books);
	book_begin(&books[2], C);
	book_fill(&books[2], 4);
	book_anchor(&books[2], A, 13, &books[0].heads[13]);
	book_anchor(&books[1], A, 13, &books[0].heads[13]);
	book_write(&books[1], 1, books[1].count, 7);
	book_write(&books[2], 1, books[2].count, 7);
	for (size_t n = 12; n <= 13; n++)
		buf_fini(&books[0].lines[n]);
	books[0].count = 11;
	book_anchor(&books[0], B, 12, &books[1].heads[11]);
	book_anchor(&books[0], B, 20, &books[1].heads[20]);
	book_write(&books[0], 1, 13, 7);
	v = verify(books, 3, 0);
	is_bad(&v.each[0], "00000000000000000008-20261118.jsonl:4", "one of seq 11 to 13;");
	is_good(&v.each[1]);
	assert_int_equal(v.each[1].disputed, 1);
	is_good(&v.each[2]);
	v = verify(books, 2, 0);
	assert_false(v.each[0].ok);
	is_bad(&v.each[1], "00000000000000000001-20261118.jsonl:6", "one of seq 6 to 12;");
	for (int i = 0; i < 3; i++)
		book_end(&books[i]);
}

/* Three that contradict each other in a circle discredit each other: they are all named, not all believed. */
static void
test_circle(void **state)
{
	static const char *const uuids[JOURNALS] = { A, B, C };
	struct book books[JOURNALS];
	struct verdicts v;

	(void)state;
	for (int i = 0; i < JOURNALS; i++) {
		book_begin(&books[i], uuids[i]);
		book_fill(&books[i], 5);
	}
	for (int i = 0; i < JOURNALS; i++) {
		book_anchor(&books[i], uuids[(i + 1) % JOURNALS], 3, &books[i].heads[1]);
		book_write(&books[i], 1, books[i].count, 7);
	}
	v = verify(books, JOURNALS, 0);
	for (int i = 0; i < JOURNALS; i++) {
		is_bad(&v.each[i], "00000000000000000001-20261118.jsonl:1", "one of seq 1 to 3;");
		book_end(&books[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shown),
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_rewritten),
		cmocka_unit_test(test_deleted),
		cmocka_unit_test(test_not_said),
		cmocka_unit_test(test_whom_to_believe),
		cmocka_unit_test(test_circle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
