/*
 * What the journal's tests share: a temporary directory, entries with counted acknowledgements, edits of files.
 */
#ifndef JOBGATE_TEST_JOURNAL_FIXTURE_H
#define JOBGATE_TEST_JOURNAL_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/journal.h"
#include "io/loop.h"

#define FIXTURE_PATH_BYTES 1024
#define FIXTURE_PATIENCE_US (20 * (int64_t)CLOCK_SECOND)

/* One directory, one loop, and what came back. */
struct fixture {
	char directory[256];
	struct loop *loop;
	struct journal *journal;
	struct journal_settings settings;
	size_t acked, refused;		/* acknowledgements with ok and without */
	size_t awaited;			/* of both together */
	char order[4096];		/* the ids' first characters as they came back */
	size_t order_n;
};

struct fixture_entry {
	struct journal_entry entry;
	struct fixture *fixture;
	char first;
	char lent[256];			/* the members of every second record */
};

/* The pure function that gate gives: the outcome `unknown` of an intent's line. */
static inline void
fixture_unknown(struct buf *out, struct str line)
{
	struct str key = STR("\"request_id\":\"");
	size_t at = str_find(line, key) + key.n;
	struct str id = str_sub(line, at, at + str_find_char(str_sub(line, at, line.n), '"'));

	buf_printf(out, "\"kind\":\"outcome\",\"request_id\":\"%.*s\",\"result\":\"unknown\"", STR_ARG(id));
}

static inline struct fixture *
fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *parent = getenv("TMPDIR");

	assert_non_null(f);
	snprintf(f->directory, sizeof(f->directory), "%s/jobgate-journal-XXXXXX", parent ? parent : P_tmpdir);
	assert_non_null(mkdtemp(f->directory));
	f->loop = loop_new();
	f->settings = (struct journal_settings){ str_from(f->directory), STR("test \"one\""), 64 << 20, 8192,
		fixture_unknown, NULL, NULL, NULL };
	return f;
}

/*
 * Fork; the child gets a loop of its own: it would take the parent's descriptors out of the epoll set that they share.
 */
static inline pid_t
fixture_fork(struct fixture *f)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		f->loop = loop_new();
	return pid;
}

/*
 * Call FN with the path of each file in the directory whose name ends in SUFFIX, in order of names; how many there
 * are.
 */
static inline size_t
fixture_files(struct fixture *f, const char *suffix, void (*fn)(const char *path, void *arg), void *arg)
{
	struct dirent **list;
	int n = scandir(f->directory, &list, NULL, alphasort);
	size_t count = 0;

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		char path[FIXTURE_PATH_BYTES];
		size_t len = strlen(list[i]->d_name);

		snprintf(path, sizeof(path), "%s/%s", f->directory, list[i]->d_name);
		if (list[i]->d_name[0] != '.' && len >= strlen(suffix) &&
		    strcmp(list[i]->d_name + len - strlen(suffix), suffix) == 0) {
			count++;
			if (fn)
				fn(path, arg);
		}
		free(list[i]);
	}
	free(list);
	return count;
}

static inline void
fixture_unlink(const char *path, void *arg)
{
	(void)arg;
	unlink(path);
}

static inline void
fixture_free(struct fixture *f)
{
	journal_close(&f->journal);
	loop_free(&f->loop);
	fixture_files(f, "", fixture_unlink, NULL);
	assert_int_equal(rmdir(f->directory), 0);
	free(f);
}

/* Open the journal; it must succeed. */
static inline void
fixture_open(struct fixture *f)
{
	struct buf error = BUF_EMPTY;

	f->journal = journal_open(&f->settings, &error);
	if (f->journal == NULL)
		fail_msg("journal_open: %.*s", STR_ARG(buf_str(&error)));
	buf_fini(&error);
}

/* Opening must fail with a sentence that has WORDS in it. */
static inline void
fixture_open_fails(struct fixture *f, const char *words)
{
	struct buf error = BUF_EMPTY;

	f->journal = journal_open(&f->settings, &error);
	assert_null(f->journal);
	buf_add_char(&error, '\0');
	if (strstr(error.p, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, error.p);
	buf_fini(&error);
}

/* An acknowledgement. */
static inline void
fixture_on_done(struct journal_entry *entry, bool ok)
{
	struct fixture_entry *e = entry->arg;
	struct fixture *f = e->fixture;

	ok ? f->acked++ : f->refused++;
	if (f->order_n < sizeof(f->order))
		f->order[f->order_n++] = e->first;
	if (f->acked + f->refused >= f->awaited)
		loop_stop(f->loop);
	memset(e->lent, '?', sizeof(e->lent));	/* ours again */
	free(e);
}

/* A record of KIND with request id ID. */
static inline struct fixture_entry *
fixture_entry(struct fixture *f, enum journal_kind kind, const char *id, struct wall_time time)
{
	static const char *const names[] = { "intent", "outcome", "refusal", "config", "anchor" };
	struct fixture_entry *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	e->fixture = f;
	e->first = id[0];
	e->entry = (struct journal_entry){ .kind = kind, .time = time, .loop = f->loop,
		.on_done = fixture_on_done, .arg = e };
	snprintf(e->lent, sizeof(e->lent), "\"kind\":\"%s\",\"request_id\":\"%s\",\"caller\":\"etl\"", names[kind], id);
	if (f->awaited++ % 2)
		e->entry.lent = str_from(e->lent);
	else
		buf_add_z(&e->entry.members, e->lent);
	return e;
}

/* Put a record without waking the writer. */
static inline void
fixture_put_unheard(struct fixture *f, enum journal_kind kind, const char *id)
{
	assert_true(journal_put_unheard(f->journal, &fixture_entry(f, kind, id, clock_now_wall())->entry));
}

/* Put a record; false where it was refused. */
static inline bool
fixture_put_at(struct fixture *f, enum journal_kind kind, const char *id, struct wall_time time)
{
	struct fixture_entry *e = fixture_entry(f, kind, id, time);

	if (journal_put(f->journal, &e->entry))
		return true;
	f->awaited--;
	buf_fini(&e->entry.members);
	free(e);
	return false;
}

static inline bool
fixture_put(struct fixture *f, enum journal_kind kind, const char *id)
{
	return fixture_put_at(f, kind, id, clock_now_wall());
}

static inline void
fixture_on_impatient(void *arg)
{
	(void)arg;
	fail_msg("acknowledgements are missing");
}

/* Run the loop until every put was acknowledged one way or the other. */
static inline void
fixture_wait(struct fixture *f)
{
	struct loop_timer timer;

	if (f->acked + f->refused >= f->awaited)
		return;
	loop_timer_init(&timer, f->loop, fixture_on_impatient, f);
	loop_timer_at(&timer, mono_add(clock_now_mono(), FIXTURE_PATIENCE_US));
	loop_run(f->loop);
	loop_timer_fini(&timer);
}

/* Put and wait for the acknowledgement. */
static inline void
fixture_record(struct fixture *f, enum journal_kind kind, const char *id)
{
	size_t acked = f->acked;

	assert_true(fixture_put(f, kind, id));
	fixture_wait(f);
	assert_int_equal(f->acked, acked + 1);
}

/* An intent and its outcome. */
static inline void
fixture_pair(struct fixture *f, const char *id)
{
	fixture_record(f, JOURNAL_INTENT, id);
	fixture_record(f, JOURNAL_OUTCOME, id);
}

static inline struct journal_verdict
fixture_verify(struct fixture *f)
{
	struct journal_verdict v;

	journal_verify(str_from(f->directory), NULL, &v);
	return v;
}

/* The journal must be good. */
static inline struct journal_verdict
fixture_good(struct fixture *f)
{
	struct journal_verdict v = fixture_verify(f);

	if (!v.ok)
		fail_msg("%s: %s", v.where, v.what);
	return v;
}

/* Read a whole file. */
static inline struct buf
fixture_read(const char *path)
{
	struct buf b = BUF_EMPTY;
	int fd = open(path, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = read(fd, buf_room(&b, 65536), 65536)) > 0)
		b.n += (size_t)n;
	assert_int_equal(n, 0);
	close(fd);
	return b;
}

/* Replace a file's bytes. */
static inline void
fixture_write(const char *path, struct str bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes.p, bytes.n), (ssize_t)bytes.n);
	close(fd);
}

/* For fixture_files: keep the path of the last file. */
static inline void
fixture_last_path(const char *path, void *arg)
{
	snprintf(arg, FIXTURE_PATH_BYTES, "%s", path);
}

/* All of the journal's lines in one buffer. */
static inline void
fixture_add_file(const char *path, void *arg)
{
	struct buf b = fixture_read(path);

	buf_add(arg, buf_str(&b));
	buf_fini(&b);
}

static inline struct buf
fixture_text(struct fixture *f)
{
	struct buf all = BUF_EMPTY;

	fixture_files(f, ".jsonl", fixture_add_file, &all);
	return all;
}

/* How often NEEDLE stands in the journal. */
static inline size_t
fixture_count(struct fixture *f, const char *needle)
{
	struct buf all = fixture_text(f);
	struct str rest = buf_str(&all), what = str_from(needle);
	size_t n = 0, at;

	while ((at = str_find(rest, what)) < rest.n) {
		n++;
		rest = str_sub(rest, at + what.n, rest.n);
	}
	buf_fini(&all);
	return n;
}

#endif
