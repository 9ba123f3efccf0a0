/* What a start makes of the journal that it finds: torn tails, orphans, damage, kill -9. */
#include "journal_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#define KILL_ROUNDS 24

/* A stopped journal of two pairs in one file, without a checkpoint, as after kill -9. */
static struct fixture *
two_pairs(char path[FIXTURE_PATH_BYTES])
{
	struct fixture *f = fixture_new();

	fixture_open(f);
	fixture_pair(f, "a");
	fixture_pair(f, "b");
	journal_close(&f->journal);
	fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
	fixture_files(f, ".jsonl", fixture_last_path, path);
	return f;
}

/* The length of the first LINES lines. */
static size_t
lines_bytes(const struct buf *b, size_t lines)
{
	size_t n = 0;

	while (lines-- > 0)
		n += str_find_char(str_sub(buf_str(b), n, b->n), '\n') + 1;
	return n;
}

/* What may be found behind the third line, how many bytes of it are cut, and how many `unknown` that makes. */
static void
test_torn(void **state)
{
	static const struct {
		const char *name;
		size_t of_last;		/* bytes kept of the last line; SIZE_MAX: all but its newline */
		const char *more;
		size_t more_n;
	} cases[] = {
		{ "one byte", 1, "", 0 },
		{ "half a line", 100, "", 0 },
		{ "no newline", SIZE_MAX, "", 0 },
		{ "another byte than the newline", SIZE_MAX, "x", 1 },
		{ "garbage", 0, "garbage", 7 },
		{ "garbage lines", 0, "gar\nbage\n\n\n", 11 },
		{ "a bad hash at the very end", 100, "\"}\n", 3 },
		{ "zeros", 0, "\0\0\0\0\0\0\0\0", 8 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char path[FIXTURE_PATH_BYTES] = "", torn[FIXTURE_PATH_BYTES + 8];
		struct fixture *f = two_pairs(path);
		struct buf b = fixture_read(path), kept = BUF_EMPTY, t;
		size_t good = lines_bytes(&b, 3), n = cases[i].of_last == SIZE_MAX ? b.n - 1 - good : cases[i].of_last;

		buf_add(&kept, str_sub(buf_str(&b), 0, good + n));
		buf_add(&kept, (struct str){ cases[i].more, cases[i].more_n });
		fixture_write(path, buf_str(&kept));
		fixture_open(f);
		assert_int_equal(journal_counts(f->journal).recovered_unknown, 1);
		fixture_pair(f, "c");
		assert_int_equal(fixture_good(f).open_intents, 0);
		assert_int_equal(fixture_count(f, "\"result\":\"unknown\""), 1);
		assert_int_equal(fixture_count(f, "\"kind\":\"recover\""), 1);
		snprintf(torn, sizeof(torn), "%s.torn", path);
		t = fixture_read(torn);
		if (!str_eq(buf_str(&t), str_sub(buf_str(&kept), good, kept.n)))
			fail_msg("%s: the torn bytes are not kept", cases[i].name);
		buf_fini(&t);
		buf_fini(&kept);
		buf_fini(&b);
		fixture_free(f);
	}
}

/*
 * A power cut may keep a later page of what was never synced and lose an earlier one: a run of zeros, then whole
 * records. They were never acknowledged as durable, so the tail is torn, not damaged.
 */
static void
test_zero_sector(void **state)
{
	char path[FIXTURE_PATH_BYTES] = "";
	struct fixture *f = fixture_new();
	struct buf b;
	size_t good;

	(void)state;
	fixture_open(f);
	for (int i = 0; i < 10; i++)
		fixture_pair(f, "a");
	journal_close(&f->journal);
	fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
	fixture_files(f, ".jsonl", fixture_last_path, path);
	b = fixture_read(path);
	good = lines_bytes(&b, 4);
	assert_true(good > 1024 && good < 2048 && b.n > 6000);
	memset(b.p + 2048, 0, 1024);
	fixture_write(path, buf_str(&b));
	fixture_open(f);
	fixture_good(f);
	fixture_free(f);
	buf_fini(&b);
}

static void
test_damage_is_refused(void **state)
{
	static const size_t lines[] = { 1, 2, 3 };
	char path[FIXTURE_PATH_BYTES] = "", words[64];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct fixture *f = two_pairs(path);
		struct buf b = fixture_read(path);

		b.p[lines_bytes(&b, lines[i]) - 155] ^= 1;	/* in the caller's name; whole lines follow */
		fixture_write(path, buf_str(&b));
		snprintf(words, sizeof(words), ".jsonl:%zu: its hash does not match", lines[i]);
		fixture_open_fails(f, words);
		assert_int_equal(fixture_files(f, ".torn", NULL, NULL), 0);
		buf_fini(&b);
		fixture_free(f);
	}
}

/* A line taken out leaves whole records behind: no torn tail either, even where it is the last but one. */
static void
test_dropped_line_is_refused(void **state)
{
	char path[FIXTURE_PATH_BYTES] = "";
	struct fixture *f = two_pairs(path);
	struct buf b = fixture_read(path), changed = BUF_EMPTY;

	(void)state;
	buf_add(&changed, str_sub(buf_str(&b), 0, lines_bytes(&b, 2)));
	buf_add(&changed, str_sub(buf_str(&b), lines_bytes(&b, 3), b.n));
	fixture_write(path, buf_str(&changed));
	fixture_open_fails(f, ".jsonl:3: records are missing in front of it");
	buf_fini(&changed);
	buf_fini(&b);
	fixture_free(f);
}

/* Damage in another file than the last is never torn. */
static void
test_torn_in_the_middle(void **state)
{
	struct fixture *f = fixture_new();
	char path[FIXTURE_PATH_BYTES] = "";
	struct stat st;

	(void)state;
	fixture_open(f);
	fixture_pair(f, "a");
	fixture_files(f, ".jsonl", fixture_last_path, path);
	journal_close(&f->journal);
	f->settings.segment_bytes = 100;
	fixture_open(f);
	fixture_pair(f, "b");
	journal_close(&f->journal);
	fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 5), 0);
	fixture_open_fails(f, ".jsonl:2: an incomplete record");
	assert_int_equal(truncate(path, 0), 0);
	fixture_open_fails(f, "an empty file between others");
	fixture_free(f);
}

/* Orphans are closed in the order of their intents, durable before journal_open returns; and only once. */
static void
test_orphans(void **state)
{
	struct fixture *f = fixture_new();
	struct buf text;
	size_t x, y, z;
	pid_t pid;
	int status;

	(void)state;
	f->settings.segment_bytes = 1000;	/* over several files */
	pid = fixture_fork(f);
	if (pid == 0) {
		fixture_open(f);
		fixture_record(f, JOURNAL_INTENT, "x");
		fixture_pair(f, "a");
		fixture_record(f, JOURNAL_INTENT, "y");
		fixture_pair(f, "b");
		fixture_record(f, JOURNAL_INTENT, "z");
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(fixture_good(f).open_intents, 3);
	fixture_open(f);
	assert_int_equal(journal_counts(f->journal).recovered_unknown, 3);
	assert_int_equal(fixture_good(f).open_intents, 0);
	text = fixture_text(f);
	x = str_find(buf_str(&text), STR("\"request_id\":\"x\",\"result\":\"unknown\""));
	y = str_find(buf_str(&text), STR("\"request_id\":\"y\",\"result\":\"unknown\""));
	z = str_find(buf_str(&text), STR("\"request_id\":\"z\",\"result\":\"unknown\""));
	assert_true(x < y && y < z && z < text.n);
	buf_fini(&text);
	journal_close(&f->journal);
	fixture_open(f);
	assert_int_equal(journal_counts(f->journal).recovered_unknown, 0);
	fixture_free(f);
}

/* An intent that stays open while files come and go is found, with a good checkpoint and with a damaged one. */
static void
orphan_of_old_file(bool damaged)
{
	struct fixture *f = fixture_new();
	char path[FIXTURE_PATH_BYTES] = "";
	pid_t pid;
	int status;

	f->settings.segment_bytes = 1000;
	pid = fixture_fork(f);
	if (pid == 0) {
		fixture_open(f);
		for (int i = 0; i < 10; i++)
			fixture_pair(f, "a");
		fixture_record(f, JOURNAL_INTENT, "open");	/* keeps its file in the checkpoint */
		for (int i = 0; i < 10; i++)
			fixture_pair(f, "b");
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (damaged) {
		snprintf(path, sizeof(path), "%s/journal.checkpoint", f->directory);
		fixture_write(path, STR("{}"));
	}
	fixture_open(f);
	assert_int_equal(journal_counts(f->journal).recovered_unknown, 1);
	assert_int_equal(fixture_good(f).open_intents, 0);
	fixture_free(f);
}

static void
test_checkpoint(void **state)
{
	(void)state;
	orphan_of_old_file(false);
	orphan_of_old_file(true);
}

/* For fixture_files: keep the path of the first file. */
static void
first_path(const char *path, void *arg)
{
	if (*(char *)arg == '\0')
		snprintf(arg, FIXTURE_PATH_BYTES, "%s", path);
}

/* Change a byte of a file's first record. */
static void
damage(const char *path)
{
	struct buf b = fixture_read(path);

	b.p[lines_bytes(&b, 1) - 155] ^= 1;
	fixture_write(path, buf_str(&b));
	buf_fini(&b);
}

/* Files before the checkpoint's are not read: damage in them is verify's to find. */
static void
test_checkpoint_saves_reading(void **state)
{
	struct fixture *f = fixture_new();
	char path[FIXTURE_PATH_BYTES] = "";

	(void)state;
	f->settings.segment_bytes = 1000;
	fixture_open(f);
	for (int i = 0; i < 10; i++)
		fixture_pair(f, "a");
	journal_close(&f->journal);
	fixture_files(f, ".jsonl", first_path, path);
	damage(path);
	assert_false(fixture_verify(f).ok);
	fixture_open(f);
	journal_close(&f->journal);
	fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
	fixture_open_fails(f, ".jsonl:1: its hash does not match");
	fixture_free(f);
}

/* A kill between the making of a file and its first record leaves an empty file: it is used. */
static void
test_empty_last_file(void **state)
{
	static const bool checkpoints[] = { true, false };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fixture *f = fixture_new();
		char path[FIXTURE_PATH_BYTES] = "";

		f->settings.segment_bytes = 100;
		fixture_open(f);
		fixture_pair(f, "a");
		fixture_pair(f, "b");
		journal_close(&f->journal);
		fixture_files(f, ".jsonl", fixture_last_path, path);
		assert_int_equal(truncate(path, 0), 0);
		if (!checkpoints[i])
			fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
		fixture_open(f);
		assert_int_equal(journal_counts(f->journal).recovered_unknown, 1);
		/* The checkpoint of the stop knew the outcome that is gone: the journal says so. */
		assert_int_equal(fixture_count(f, "\"missing_from_seq\":4,\"missing_to_seq\":4"), checkpoints[i]);
		fixture_pair(f, "c");
		fixture_good(f);
		fixture_free(f);
	}
}

/* The oldest files were archived; the start and verify go on with what is there. */
static void
test_archived(void **state)
{
	struct fixture *f = fixture_new();
	char path[FIXTURE_PATH_BYTES] = "";
	struct journal_verdict v;

	(void)state;
	f->settings.segment_bytes = 1000;
	fixture_open(f);
	for (int i = 0; i < 10; i++)
		fixture_pair(f, "a");
	journal_close(&f->journal);
	for (int i = 0; i < 2; i++) {
		*path = '\0';
		fixture_files(f, ".jsonl", first_path, path);
		unlink(path);
	}
	fixture_files(f, "journal.checkpoint", fixture_unlink, NULL);
	fixture_open(f);
	fixture_pair(f, "b");
	v = fixture_verify(f);
	assert_non_null(strstr(v.what, "no retention record"));
	assert_true(v.first_seq > 1);
	assert_int_equal(v.last_seq, 22);
	fixture_free(f);
}

/* journal.id is lost: the records know the UUID. Another journal's file is refused. */
static void
test_uuid(void **state)
{
	struct fixture *f = fixture_new();
	char uuid[37], path[FIXTURE_PATH_BYTES];

	(void)state;
	fixture_open(f);
	fixture_pair(f, "a");
	snprintf(uuid, sizeof(uuid), "%s", journal_uuid(f->journal).p);
	journal_close(&f->journal);
	fixture_files(f, "journal.id", fixture_unlink, NULL);
	fixture_open(f);
	assert_string_equal(journal_uuid(f->journal).p, uuid);
	journal_close(&f->journal);
	fixture_good(f);
	snprintf(path, sizeof(path), "%s/journal.id", f->directory);
	fixture_write(path, STR("0192f0c1-2345-4abc-8def-0123456789ab\n"));
	fixture_open_fails(f, "it belongs to another journal");
	assert_false(fixture_verify(f).ok);
	fixture_free(f);
}

/* --- kill -9 --- */

/*
 * The child: intents and outcomes at full rate; what was acknowledged is told through the pipe before anything else
 * happens.
 */
struct victim {
	struct fixture *f;
	int told;		/* pipe */
	int round;
	unsigned sent;
};

struct victim_entry {
	struct journal_entry entry;
	struct victim *victim;
	char id[32];
};

static void victim_put(struct victim *v, enum journal_kind kind, const char *id);

static void
on_victim_done(struct journal_entry *entry, bool ok)
{
	struct victim_entry *e = entry->arg;
	struct victim *v = e->victim;
	char text[64], id[32];
	int n = snprintf(text, sizeof(text), "%c%s\n", entry->kind == JOURNAL_INTENT ? 'i' : 'o', e->id);

	if (!ok || write(v->told, text, (size_t)n) != n)
		_exit(1);
	if (entry->kind == JOURNAL_INTENT) {
		if (v->sent % 8 != 0)	/* some stay open */
			victim_put(v, JOURNAL_OUTCOME, e->id);
		snprintf(id, sizeof(id), "%d-%u", v->round, v->sent++);
		victim_put(v, JOURNAL_INTENT, id);
	}
	free(e);
}

static void
victim_put(struct victim *v, enum journal_kind kind, const char *id)
{
	struct victim_entry *e = calloc(1, sizeof(*e));

	e->victim = v;
	snprintf(e->id, sizeof(e->id), "%s", id);
	e->entry = (struct journal_entry){ .kind = kind, .time = clock_now_wall(), .loop = v->f->loop,
		.on_done = on_victim_done, .arg = e };
	buf_printf(&e->entry.members, "\"kind\":\"%s\",\"request_id\":\"%s\"",
	    kind == JOURNAL_INTENT ? "intent" : "outcome", id);
	if (!journal_put(v->f->journal, &e->entry))
		_exit(1);
}

static void
victim_main(struct fixture *f, int told, int round)
{
	struct victim v = { f, told, round, 0 };
	char id[32];

	fixture_open(f);
	(void)!write(told, "r\n", 2);
	while (v.sent < 16) {
		snprintf(id, sizeof(id), "%d-%u", round, v.sent++);
		victim_put(&v, JOURNAL_INTENT, id);
	}
	loop_run(f->loop);
	_exit(1);
}

/* Read what the child told until it is dead; kill it AFTER so many bytes of it. */
static struct buf
victim_listen(int fd, pid_t pid, size_t after)
{
	struct buf told = BUF_EMPTY;
	ssize_t n;

	while ((n = read(fd, buf_room(&told, 4096), 4096)) > 0) {
		told.n += (size_t)n;
		if (told.n >= after && after > 0) {
			kill(pid, SIGKILL);
			after = 0;
		}
	}
	return told;
}

/* Every record that was acknowledged must be in TEXT. */
static void
victim_check(struct str told, struct str text)
{
	struct str line;
	char needle[96];

	while (str_next(&told, '\n', &line)) {
		if (line.n < 2)
			continue;
		snprintf(needle, sizeof(needle), "\"kind\":\"%s\",\"request_id\":\"%.*s\"",
		    line.p[0] == 'i' ? "intent" : "outcome", (int)line.n - 1, line.p + 1);
		if (str_find(text, str_from(needle)) == text.n)
			fail_msg("acknowledged and not in the journal: %s", needle);
	}
}

static void
test_kill(void **state)
{
	struct fixture *f = fixture_new();
	uint64_t unknown = 0, before = 0;

	(void)state;
	f->settings.segment_bytes = 20000;
	srand(1);
	for (int round = 0; round < KILL_ROUNDS; round++) {
		struct journal_verdict v;
		struct buf told, text;
		int pipes[2], status;
		pid_t pid;

		assert_int_equal(pipe(pipes), 0);
		pid = fixture_fork(f);
		if (pid == 0) {
			close(pipes[0]);
			victim_main(f, pipes[1], round);
		}
		close(pipes[1]);
		told = victim_listen(pipes[0], pid, 3 + (size_t)(rand() % 4000));
		close(pipes[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		fixture_good(f);	/* a kill leaves at most the beginning of a record */
		fixture_open(f);
		unknown += journal_counts(f->journal).recovered_unknown;
		v = fixture_good(f);
		assert_int_equal(v.open_intents, 0);
		assert_true(v.records >= before);
		before = v.records;
		if (round % 3 == 0)
			journal_close(&f->journal);
		else {
			fixture_pair(f, "after");
			journal_close(&f->journal);
		}
		text = fixture_text(f);
		victim_check(buf_str(&told), buf_str(&text));
		buf_fini(&text);
		buf_fini(&told);
	}
	assert_true(unknown > KILL_ROUNDS);
	assert_int_equal(fixture_count(f, "\"kind\":\"intent\""), fixture_count(f, "\"kind\":\"outcome\""));
	fixture_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_zero_sector),
		cmocka_unit_test(test_damage_is_refused),
		cmocka_unit_test(test_dropped_line_is_refused),
		cmocka_unit_test(test_torn_in_the_middle),
		cmocka_unit_test(test_orphans),
		cmocka_unit_test(test_checkpoint),
		cmocka_unit_test(test_checkpoint_saves_reading),
		cmocka_unit_test(test_empty_last_file),
		cmocka_unit_test(test_archived),
		cmocka_unit_test(test_uuid),
		cmocka_unit_test(test_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
