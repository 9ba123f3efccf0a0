/* The journal's ordinary life, and that verify sees whatever is changed in it. */
#include "journal_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define DAY_US (86400 * (int64_t)CLOCK_SECOND)

static void
mode_is(const char *path, mode_t mode)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void
check_file_mode(const char *path, void *arg)
{
	(void)arg;
	mode_is(path, 0640);
}

static void
test_fresh_and_again(void **state)
{
	struct fixture *f = fixture_new();
	struct journal_verdict v;
	char uuid[37];

	(void)state;
	assert_int_equal(rmdir(f->directory), 0);
	umask(077);	/* the modes are the contract's, whatever the umask */
	fixture_open(f);
	mode_is(f->directory, 0750);
	assert_true(journal_is_up(f->journal));
	snprintf(uuid, sizeof(uuid), "%.*s", STR_ARG(journal_uuid(f->journal)));
	assert_int_equal(strlen(uuid), 36);
	fixture_pair(f, "a");
	fixture_record(f, JOURNAL_REFUSAL, "b");
	fixture_record(f, JOURNAL_EVENT, "c");
	journal_close(&f->journal);
	fixture_files(f, ".jsonl", check_file_mode, NULL);
	umask(022);
	v = fixture_good(f);
	assert_int_equal(v.records, 4);
	assert_int_equal(v.files, 1);
	assert_int_equal(v.open_intents, 0);
	assert_false(v.torn_tail);
	fixture_open(f);	/* the same journal goes on */
	assert_string_equal(uuid, journal_uuid(f->journal).p);
	fixture_pair(f, "d");
	v = fixture_good(f);	/* while the gateway runs */
	assert_int_equal(v.records, 6);
	assert_int_equal(v.last_seq, 6);
	fixture_free(f);
}

static void
test_counts(void **state)
{
	struct fixture *f = fixture_new();
	struct journal_counts c;
	uint64_t in_buckets = 0;

	(void)state;
	fixture_open(f);
	fixture_pair(f, "a");
	fixture_pair(f, "b");
	fixture_record(f, JOURNAL_REFUSAL, "c");
	c = journal_counts(f->journal);
	assert_int_equal(c.records[JOURNAL_INTENT], 2);
	assert_int_equal(c.records[JOURNAL_OUTCOME], 2);
	assert_int_equal(c.records[JOURNAL_REFUSAL], 1);
	assert_int_equal(c.dropped_refusals, 0);
	assert_true(c.syncs >= 2 && c.sync_us_sum > 0);
	for (size_t i = 0; i < 16; i++)
		in_buckets += c.sync_buckets[i];
	assert_int_equal(in_buckets, c.syncs);
	fixture_free(f);
}

static void
test_open_errors(void **state)
{
	struct fixture *f = fixture_new();
	char path[FIXTURE_PATH_BYTES], words[FIXTURE_PATH_BYTES];

	(void)state;
	snprintf(path, sizeof(path), "%s/missing/audit", f->directory);
	f->settings.directory = str_from(path);
	snprintf(words, sizeof(words), "its parent %s/missing/ does not exist", f->directory);
	fixture_open_fails(f, words);
	snprintf(path, sizeof(path), "%s/file", f->directory);
	fixture_write(path, STR("x"));
	fixture_open_fails(f, "Not a directory");
	f->settings.directory = str_from(f->directory);
	snprintf(path, sizeof(path), "%s/copy.jsonl", f->directory);
	fixture_write(path, STR("x"));
	fixture_open_fails(f, "copy.jsonl is none of the journal's files");
	assert_false(fixture_verify(f).ok);
	unlink(path);
	snprintf(path, sizeof(path), "%s/journal.id", f->directory);
	fixture_write(path, STR("x"));
	fixture_open_fails(f, "journal.id is no UUID");
	unlink(path);
	fixture_open(f);
	fixture_free(f);
}

/* Two processes on one directory: the second is told who the first is; the lock dies with its holder. */
static void
test_locked(void **state)
{
	struct fixture *f = fixture_new();
	char words[64];
	int ready[2], status;
	pid_t pid;
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fixture_fork(f);
	if (pid == 0) {
		fixture_open(f);
		(void)!write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(words, sizeof(words), "is locked by process %ld", (long)pid);
	fixture_open_fails(f, words);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	fixture_open(f);
	fixture_free(f);
	close(ready[0]);
	close(ready[1]);
}

static void
test_rotation(void **state)
{
	struct fixture *f = fixture_new();
	struct wall_time now = { 1785587696123456 };
	struct journal_verdict v;

	(void)state;
	f->settings.segment_bytes = 1000;
	fixture_open(f);
	for (int i = 0; i < 10; i++)
		fixture_pair(f, "a");
	v = fixture_good(f);
	assert_true(v.files >= 5 && v.files <= 10);
	assert_int_equal(v.records, 20);
	journal_close(&f->journal);
	f->settings.segment_bytes = 64 << 20;
	fixture_open(f);
	now.us += 3650 * DAY_US;	/* ahead of every clock here */
	assert_true(fixture_put_at(f, JOURNAL_REFUSAL, "b", now));
	fixture_wait(f);
	assert_int_equal(fixture_good(f).files, v.files + 1);
	assert_true(fixture_put_at(f, JOURNAL_REFUSAL, "b", now));
	fixture_wait(f);
	assert_int_equal(fixture_good(f).files, v.files + 1);
	now.us += DAY_US;
	assert_true(fixture_put_at(f, JOURNAL_REFUSAL, "c", now));
	fixture_wait(f);
	assert_int_equal(fixture_files(f, "-20360730.jsonl", NULL, NULL), 1);
	now.us -= 2 * DAY_US;	/* a clock that steps back brings no day back */
	assert_true(fixture_put_at(f, JOURNAL_REFUSAL, "d", now));
	fixture_wait(f);
	v = fixture_good(f);
	assert_int_equal(v.records, 24);
	assert_int_equal(fixture_files(f, ".jsonl", NULL, NULL), v.files);
	fixture_free(f);
}

/* --- tampering --- */

/* A journal in three files, stopped. */
static struct fixture *
three_files(void)
{
	struct fixture *f = fixture_new();

	f->settings.segment_bytes = 1600;
	fixture_open(f);
	while (fixture_files(f, ".jsonl", NULL, NULL) < 3)
		fixture_pair(f, "a");
	fixture_pair(f, "b");
	journal_close(&f->journal);
	assert_int_equal(fixture_good(f).files, 3);
	return f;
}

/* Put C in the place of byte I and verify. */
static bool
flip_passes(struct fixture *f, int fd, size_t i, char c)
{
	assert_int_equal(pwrite(fd, &c, 1, (off_t)i), 1);
	return fixture_verify(f).ok;
}

/* Change each byte of the file in some ways, one at a time; verify must see each. */
static void
flip_file(const char *path, void *arg)
{
	static const unsigned char flips[] = { 0x01, 0x20, 0xff };
	struct fixture *f = arg;
	struct buf b = fixture_read(path);
	int fd = open(path, O_RDWR);

	for (size_t i = 0; i < b.n; i++) {
		for (size_t k = 0; k < sizeof(flips); k++)
			if (flip_passes(f, fd, i, (char)(b.p[i] ^ flips[k])))
				fail_msg("%s: byte %zu of %zu ('%c') flipped by %x passes", path, i, b.n, b.p[i],
				    flips[k]);
		if (b.p[i] != '\n' && flip_passes(f, fd, i, '\n'))
			fail_msg("%s: byte %zu of %zu: a newline for '%c' passes", path, i, b.n, b.p[i]);
		assert_int_equal(pwrite(fd, b.p + i, 1, (off_t)i), 1);
	}
	close(fd);
	buf_fini(&b);
	fixture_good(f);
}

static void
test_every_byte_of_every_file(void **state)
{
	struct fixture *f = three_files();

	(void)state;
	fixture_files(f, ".jsonl", flip_file, f);
	fixture_files(f, "journal.id", flip_file, f);
	fixture_files(f, "journal.checkpoint", flip_file, f);
	fixture_good(f);
	fixture_free(f);
}

/* Bring lines I and J of BYTES into the order that OUT then has; J == I drops the line. */
static void
edit_lines(struct str bytes, size_t i, size_t j, struct buf *out)
{
	struct str lines[64], line;
	size_t n = 0;

	while (n < 64 && str_next(&bytes, '\n', &line))
		if (line.n > 0)
			lines[n++] = line;
	assert_true(i < n && j < n);
	for (size_t k = 0; k < n; k++) {
		if (k == i && i == j)
			continue;
		buf_add(out, lines[k == i ? j : k == j ? i : k]);
		buf_add_char(out, '\n');
	}
}

static void
edit_file(const char *path, void *arg)
{
	static const struct { size_t i, j; } edits[] = { { 0, 0 }, { 1, 1 }, { 0, 1 } };
	struct fixture *f = arg;
	struct buf b = fixture_read(path);

	for (size_t k = 0; k < 3; k++) {
		struct buf changed = BUF_EMPTY;

		edit_lines(buf_str(&b), edits[k].i, edits[k].j, &changed);
		fixture_write(path, buf_str(&changed));
		assert_false(fixture_verify(f).ok);
		buf_fini(&changed);
	}
	fixture_write(path, str_sub(buf_str(&b), 0, 0));
	assert_false(fixture_verify(f).ok);
	fixture_write(path, buf_str(&b));
	buf_fini(&b);
	fixture_good(f);
}

/* Lines dropped or swapped, files emptied. */
static void
test_lines_moved(void **state)
{
	struct fixture *f = three_files();

	(void)state;
	fixture_files(f, ".jsonl", edit_file, f);
	fixture_free(f);
}

/*
 * Move one file away at a time: each is missed, the oldest too, since no record says that it was deleted.
 */
static void
hide_file(const char *path, void *arg)
{
	struct fixture *f = arg;
	char hidden[FIXTURE_PATH_BYTES + 8];
	struct journal_verdict v;

	snprintf(hidden, sizeof(hidden), "%s.away", path);
	assert_int_equal(rename(path, hidden), 0);
	v = fixture_verify(f);
	assert_false(v.ok);
	if (strstr(path, "/00000000000000000001-"))
		assert_non_null(strstr(v.what, "no retention record"));
	assert_int_equal(rename(hidden, path), 0);
}

static void
test_files_missing(void **state)
{
	struct fixture *f = three_files();
	char path[FIXTURE_PATH_BYTES] = "";
	struct journal_verdict v;

	(void)state;
	fixture_files(f, ".jsonl", hide_file, f);
	fixture_files(f, ".jsonl", fixture_last_path, path);
	assert_int_equal(truncate(path, 0), 0);	/* all of the last file: the checkpoint of the stop knows more */
	v = fixture_verify(f);
	assert_false(v.ok);
	assert_non_null(strstr(v.what, "missing at the end"));
	fixture_files(f, ".jsonl", fixture_unlink, NULL);
	assert_false(fixture_verify(f).ok);
	fixture_free(f);
	f = fixture_new();
	f->settings.directory = STR("/nonexistent/audit");
	journal_verify(f->settings.directory, NULL, &v);
	assert_false(v.ok);
	fixture_free(f);
}

static void
test_pairs(void **state)
{
	static const struct {
		enum journal_kind kinds[3];
		const char *what;
	} cases[] = {
		{ { JOURNAL_INTENT, JOURNAL_OUTCOME, JOURNAL_OUTCOME }, "second one" },
		{ { JOURNAL_INTENT, JOURNAL_INTENT, JOURNAL_OUTCOME }, "second intent" },
		{ { JOURNAL_REFUSAL, JOURNAL_OUTCOME, JOURNAL_INTENT }, "without an open intent" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *f = fixture_new();
		struct journal_verdict v;

		fixture_open(f);
		for (size_t k = 0; k < 3; k++)
			fixture_record(f, cases[i].kinds[k], "a");
		v = fixture_verify(f);
		assert_false(v.ok);
		assert_non_null(strstr(v.what, cases[i].what));
		assert_non_null(strstr(v.where, i == 0 ? ".jsonl:3" : ".jsonl:2"));
		fixture_free(f);
	}
}

/* The tail of a running gateway: each beginning of the last record is no fault, and is told. */
static void
test_live_tail(void **state)
{
	struct fixture *f = fixture_new();
	char path[FIXTURE_PATH_BYTES] = "", checkpoint[FIXTURE_PATH_BYTES];
	struct journal_verdict v;
	struct buf b;
	size_t last;

	(void)state;
	fixture_open(f);
	fixture_pair(f, "a");
	fixture_pair(f, "b");
	journal_close(&f->journal);
	snprintf(checkpoint, sizeof(checkpoint), "%s/journal.checkpoint", f->directory);
	unlink(checkpoint);
	fixture_files(f, ".jsonl", fixture_last_path, path);
	b = fixture_read(path);
	for (last = b.n - 1; b.p[last - 1] != '\n';)
		last--;
	for (size_t n = last + 1; n < b.n; n++) {
		fixture_write(path, str_sub(buf_str(&b), 0, n));
		v = fixture_good(f);
		assert_true(v.torn_tail);
		assert_int_equal(v.records, 3);
	}
	buf_fini(&b);
	fixture_free(f);
}

/* --- the ring --- */

/* Intents keep room for their outcomes: with room for four, two are taken; an outcome gives two places back. */
static void
test_ring_reserves(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	f->settings.ring_records = 4;
	fixture_open(f);
	fixture_record(f, JOURNAL_INTENT, "a");
	fixture_record(f, JOURNAL_INTENT, "b");
	fixture_record(f, JOURNAL_INTENT, "c");
	assert_false(fixture_put(f, JOURNAL_INTENT, "d"));	/* 3 reserved + 2 > 4 */
	assert_true(journal_is_up(f->journal));
	fixture_record(f, JOURNAL_REFUSAL, "e");
	fixture_record(f, JOURNAL_OUTCOME, "a");
	fixture_record(f, JOURNAL_INTENT, "d");
	assert_false(fixture_put(f, JOURNAL_INTENT, "f"));
	fixture_record(f, JOURNAL_OUTCOME, "b");
	fixture_record(f, JOURNAL_OUTCOME, "c");
	fixture_record(f, JOURNAL_OUTCOME, "d");
	assert_int_equal(fixture_good(f).open_intents, 0);
	fixture_free(f);
}

/* Acknowledgements of one kind come in the order of the puts. */
static void
test_order(void **state)
{
	struct fixture *f = fixture_new();
	char id[2] = "";

	(void)state;
	fixture_open(f);
	for (id[0] = 'a'; id[0] <= 'z'; id[0]++)
		assert_true(fixture_put(f, JOURNAL_INTENT, id));
	fixture_wait(f);
	assert_memory_equal(f->order, "abcdefghijklmnopqrstuvwxyz", 26);
	f->order_n = 0;
	for (id[0] = 'z'; id[0] >= 'a'; id[0]--)
		assert_true(fixture_put(f, JOURNAL_OUTCOME, id));
	fixture_wait(f);
	assert_memory_equal(f->order, "zyxwvutsrqponmlkjihgfedcba", 26);
	fixture_good(f);
	fixture_free(f);
}

/* An entry without a loop is the journal's to free (ASan looks). */
static void
test_without_loop(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	fixture_open(f);
	for (int i = 0; i < 100; i++) {
		struct journal_entry *e = calloc(1, sizeof(*e));

		assert_non_null(e);
		e->kind = JOURNAL_REFUSAL;
		e->time = clock_now_wall();
		buf_add_z(&e->members, "\"kind\":\"refusal\",\"count\":1");
		assert_true(journal_put(f->journal, e));
	}
	journal_close(&f->journal);
	assert_int_equal(fixture_good(f).records, 100);
	fixture_free(f);
}

/* --- many threads --- */

#define STRESS_THREADS 3
#define STRESS_PAIRS 1000

struct stress {
	struct fixture *f;
	int number;
	pthread_t thread;
	struct loop *loop;
	struct loop_hook wake;
	size_t intents, outcomes, sent;
};

struct stress_entry {
	struct journal_entry entry;
	struct stress *stress;
	size_t id;
};

static void stress_put(struct stress *s, enum journal_kind kind, size_t id);

/* An intent's acknowledgement brings its outcome, an outcome's the next intent. */
static void
on_stress_done(struct journal_entry *entry, bool ok)
{
	struct stress_entry *e = entry->arg;
	struct stress *s = e->stress;
	enum journal_kind kind = entry->kind;
	size_t id = e->id;

	assert_true(ok);
	free(e);
	if (kind == JOURNAL_INTENT) {
		s->intents++;
		stress_put(s, JOURNAL_OUTCOME, id);
	} else if (++s->outcomes == STRESS_PAIRS) {
		loop_stop(s->loop);
	} else if (s->sent < STRESS_PAIRS) {
		stress_put(s, JOURNAL_INTENT, s->sent++);
	}
}

static void
stress_put(struct stress *s, enum journal_kind kind, size_t id)
{
	struct stress_entry *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	e->stress = s;
	e->id = id;
	e->entry = (struct journal_entry){ .kind = kind, .time = clock_now_wall(), .loop = s->loop,
		.on_done = on_stress_done, .arg = e };
	buf_printf(&e->entry.members, "\"kind\":\"%s\",\"request_id\":\"%d-%zu\"",
	    kind == JOURNAL_INTENT ? "intent" : "outcome", s->number, id);
	assert_true((s->number == 0 ? journal_put : journal_put_unheard)(s->f->journal, &e->entry));
	loop_at_turn_last(s->loop, &s->wake);
}

static void
on_stress_turn(void *arg)
{
	struct stress *s = arg;

	journal_wake(s->f->journal);
}

static void *
stress_main(void *arg)
{
	struct stress *s = arg;

	s->loop = loop_new();
	s->wake = (struct loop_hook){ .fn = on_stress_turn, .arg = s };
	for (s->sent = 0; s->sent < 64; s->sent++)
		stress_put(s, JOURNAL_INTENT, s->sent);
	loop_run(s->loop);
	loop_free(&s->loop);
	return NULL;
}

static void
test_threads(void **state)
{
	struct fixture *f = fixture_new();
	struct stress s[STRESS_THREADS];
	struct journal_verdict v;

	(void)state;
	f->settings.segment_bytes = 200000;
	fixture_open(f);
	for (int i = 0; i < STRESS_THREADS; i++) {
		s[i] = (struct stress){ .f = f, .number = i };
		assert_int_equal(pthread_create(&s[i].thread, NULL, stress_main, &s[i]), 0);
	}
	for (int i = 0; i < STRESS_THREADS; i++) {
		journal_counts(f->journal);
		journal_is_up(f->journal);
		pthread_join(s[i].thread, NULL);
		assert_int_equal(s[i].intents, STRESS_PAIRS);
	}
	journal_close(&f->journal);
	v = fixture_good(f);
	assert_int_equal(v.records, STRESS_THREADS * STRESS_PAIRS * 2);
	assert_int_equal(v.open_intents, 0);
	assert_true(v.files > 2);
	fixture_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fresh_and_again),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_open_errors),
		cmocka_unit_test(test_locked),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_every_byte_of_every_file),
		cmocka_unit_test(test_lines_moved),
		cmocka_unit_test(test_files_missing),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_live_tail),
		cmocka_unit_test(test_ring_reserves),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_without_loop),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
