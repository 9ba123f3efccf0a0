/* What a start does with the journal that it finds. */
#include "io/journal_recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "io/journal_dir.h"

#define SECTOR_BYTES 512	/* the least that a disk writes at once */
#define TORN_MODE 0640

struct recover_run {
	struct journal_recovery *r;
	int dirfd;
	struct str directory;
	struct buf *error;
	struct journal_names names;
	const struct journal_accept *accept;
	const struct journal_repair *passed;	/* damage behind which the next record stands; NULL: none */
	bool any_head;		/* reading begins at a later file: its first record says what it follows */
	struct wall_time first_time;	/* of the first record read */
	int64_t good;		/* bytes of the file being read that are good */
};

/* Put "audit directory D: NAME: WHAT: reason" into the error and return false. */
static bool
recover_fail(struct recover_run *run, const char *name, const char *what)
{
	buf_printf(run->error, "audit directory %.*s: %s: cannot %s: %s", STR_ARG(run->directory), name, what,
	    strerror(errno));
	return false;
}

/* Refuse damage that is no torn tail. */
static bool
recover_refuse(struct recover_run *run, const char *name, uint64_t line, const char *what)
{
	buf_printf(run->error, "audit journal is damaged at %.*s/%s:%" PRIu64 ": %s; once you know why, and that it cannot be "
	    "undone: jobgate audit accept %.*s --record %s:%" PRIu64 " --reason TEXT", STR_ARG(run->directory), name, line,
	    what, STR_ARG(run->directory), name, line);
	return false;
}

/*
 * Whether TEXT, which stands at OFFSET of its file, has zeros up to the end of a sector: a page that was never written
 * has them from where its older content ends, which may be close before its own end. No record has a zero byte.
 */
static bool
has_lost_page(struct str text, int64_t offset)
{
	size_t end = (size_t)(SECTOR_BYTES - offset % SECTOR_BYTES);

	for (; end <= text.n; end += SECTOR_BYTES)
		if (text.p[end - 1] == '\0')
			return true;
	return false;
}

/*
 * Whether what begins with the bad TEXT is a torn tail: no whole record follows, or a sector of it was never written.
 */
static bool
recover_is_torn(struct journal_reader *reader, enum journal_read got, struct str text)
{
	if (has_lost_page(text, reader->start))
		return true;
	for (; got == JOURNAL_READ_LINE || got == JOURNAL_READ_LONG; got = journal_reader_next(reader, &text))
		if (got == JOURNAL_READ_LINE && journal_line_whole(text))
			return false;
	return got == JOURNAL_READ_TAIL || got == JOURNAL_READ_END;
}

/* Note when a trigger was under way last. */
static void
recover_time(struct journal_recovery *r, struct str text)
{
	struct wall_time time;

	if (journal_line_time(text, &time) && time.us > r->last_trigger.us)
		r->last_trigger = time;
}

/* Take a good line into the picture; NULL or why it is not good after all. */
static const char *
recover_line(struct recover_run *run, struct str text, uint64_t segment)
{
	struct journal_recovery *r = run->r;
	struct journal_line line;
	const char *fault = journal_line_parse(text, &line);

	if (fault == NULL && run->passed && (line.seq != run->passed->after.seq ||
	    memcmp(line.hash.p, run->passed->after.hash, JOURNAL_HASH_HEX) != 0))
		fault = "it is not the record that stood behind the accepted damage";
	if (fault == NULL && run->any_head) {
		r->head.seq = line.seq - 1;
		memcpy(r->head.hash, line.prev.p, JOURNAL_HASH_HEX);
		run->any_head = false;
	}
	if (fault == NULL && run->good == 0 && line.seq != segment && run->passed == NULL)
		fault = "its seq is not that of the file's name";
	if (fault == NULL)
		fault = journal_line_follows(&line, &r->head, str_from(r->uuid));
	if (fault)
		return fault;
	if (r->uuid[0] == '\0')
		memcpy(r->uuid, line.uuid.p, JOURNAL_UUID_BYTES);
	journal_head_set(&r->head, &line);
	journal_repairs_see(&r->repairs, &line);
	run->passed = NULL;
	if (r->records++ == 0)
		journal_line_time(text, &run->first_time);
	if (line.kind == JOURNAL_INTENT || line.kind == JOURNAL_OUTCOME)
		recover_time(r, text);
	if (line.kind == JOURNAL_INTENT && !journal_intents_open(&r->open, line.request_id, line.seq, segment, text))
		return "a second intent of the same request";
	if (line.kind == JOURNAL_OUTCOME)	/* of an intent before the checkpoint: not known, no matter */
		journal_intents_close(&r->open, line.request_id);
	return NULL;
}

/*
 * What READER has given out of the file AT is damage, as WHAT says: go behind it, where it is accepted. KNOWN: the head
 * is that of the record before.
 */
static bool
recover_pass(struct recover_run *run, struct journal_reader *reader, size_t at, bool known, const char *what)
{
	struct journal_damage damage = { run->dirfd, &run->names, at, str_from(run->r->uuid), &run->r->head, known, what,
		run->accept };
	struct journal_repair *repair = journal_repairs_pass(&run->r->repairs, reader, &damage);

	if (repair == NULL)
		return false;
	if (repair->seq == 0)
		run->r->accepted = repair;
	run->passed = repair;
	run->any_head = true;
	log_line(LOG_WARN, "audit journal damaged, and accepted", log_z("file", repair->file), log_i("line", (int64_t)repair->line),
	    log_z("what", repair->what), log_i("bytes", repair->bytes), log_i("accepted_by_seq", (int64_t)repair->seq));
	return true;
}

/*
 * Read the good lines of the file AT, accepted damage passed over, up to its end or a fault: GOT and TEXT are then what
 * it is, FAULT why it is one where a line is.
 */
static enum journal_read
recover_lines(struct recover_run *run, struct journal_reader *reader, size_t at, struct str *text, const char **fault)
{
	bool last = at + 1 == run->names.count;
	enum journal_read got;
	uint64_t segment;
	int date;

	journal_name_parse(run->names.names[at], &segment, &date);
	for (;;) {
		bool known = !run->any_head;

		got = journal_reader_next(reader, text);
		*fault = got == JOURNAL_READ_LINE ? recover_line(run, *text, segment) : NULL;
		if (got == JOURNAL_READ_END || got == JOURNAL_READ_ERROR)
			return got;
		if (got != JOURNAL_READ_LINE || *fault) {
			if (last && has_lost_page(*text, reader->start))
				return got;
			if (!recover_pass(run, reader, at, known, *fault ? *fault : "an incomplete record"))
				return journal_reader_next(reader, text);
		}
		run->good = reader->offset;
	}
}

/* Read the file AT. Only the last may end torn: run->good is then less than its size. */
static bool
recover_file(struct recover_run *run, size_t at)
{
	const char *name = run->names.names[at], *fault = NULL;
	bool ok = true, last = at + 1 == run->names.count;
	struct journal_reader reader;
	enum journal_read got;
	struct str text;
	uint64_t line;

	run->good = 0;
	if (!journal_reader_open(&reader, run->dirfd, name))
		return recover_fail(run, name, "open it");
	got = recover_lines(run, &reader, at, &text, &fault);
	line = reader.line;
	if (got == JOURNAL_READ_ERROR) {
		ok = recover_fail(run, name, "read it");
	} else if (got != JOURNAL_READ_END && !(last && recover_is_torn(&reader, got, text))) {
		ok = recover_refuse(run, name, line, fault ? fault : "an incomplete record");
	} else if (got == JOURNAL_READ_END && run->good == 0 && !last &&
	    !recover_pass(run, &reader, at, !run->any_head, "an empty file between others")) {
		ok = recover_refuse(run, name, 1, "an empty file between others");
	}
	journal_reader_close(&reader);
	return ok;
}

/* Copy what is behind OFFSET of the file FROM to the end of the file TO. */
static bool
copy_tail(int from, int to, int64_t offset)
{
	char bytes[65536];
	ssize_t n;

	while ((n = pread(from, bytes, sizeof(bytes), (off_t)offset)) > 0) {
		if (write(to, bytes, (size_t)n) != n)
			return false;
		offset += n;
	}
	return n == 0 && fsync(to) == 0;
}

/* Keep the torn bytes beside the file. */
static bool
recover_keep_torn(struct recover_run *run, const char *name)
{
	char torn[JOURNAL_NAME_BYTES + 8];
	int from, to, error;
	bool ok;

	snprintf(torn, sizeof(torn), "%s.torn", name);
	from = openat(run->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	to = openat(run->dirfd, torn, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, TORN_MODE);
	ok = from >= 0 && to >= 0 && fchmod(to, TORN_MODE) == 0 && copy_tail(from, to, run->good) &&
	    fsync(run->dirfd) == 0;
	error = errno;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	errno = error;
	return ok || recover_fail(run, torn, "keep the torn end in it");
}

/* Open the last file for appending, its torn end cut off. */
static bool
recover_open_last(struct recover_run *run, const char *name)
{
	struct journal_segment *s = &run->r->last;
	off_t size;

	if (!journal_segment_open(s, run->dirfd, name, run->good))
		return recover_fail(run, name, "open it for writing");
	size = lseek(s->fd, 0, SEEK_END);
	if (size < 0)
		return recover_fail(run, name, "find its end");
	run->r->torn_bytes = (int64_t)size - run->good;
	if (run->r->torn_bytes > 0) {
		if (!recover_keep_torn(run, name))
			return false;
		if (ftruncate(s->fd, (off_t)run->good) != 0)
			return recover_fail(run, name, "cut its torn end");
		log_line(LOG_ERROR, "audit journal torn", log_z("file", name), log_i("bytes", run->r->torn_bytes),
		    log_i("seq", (int64_t)run->r->head.seq));
	}
	/* A killed predecessor's last records may be in memory only; what we build on is to be on the disk. */
	if (!journal_segment_sync(s))
		return recover_fail(run, name, "sync it");
	return true;
}

/* Read journal.id; a missing one is written when the records have been asked. */
static bool
recover_uuid(struct recover_run *run, bool *missing)
{
	enum journal_found found = journal_id_read(run->dirfd, run->r->uuid);

	*missing = found == JOURNAL_MISSING;
	if (found != JOURNAL_DAMAGED)
		return true;
	if (errno)
		return recover_fail(run, "journal.id", "read it");
	buf_printf(run->error, "audit directory %.*s: journal.id is no UUID and a newline", STR_ARG(run->directory));
	return false;
}

/* The index of the file to begin with: the checkpoint's, else the first. */
static size_t
recover_first(const struct recover_run *run, const struct journal_checkpoint *c)
{
	uint64_t seq;
	int date;

	for (size_t i = run->names.count; c && i-- > 0;)
		if (journal_name_parse(run->names.names[i], &seq, &date) && seq == c->segment)
			return i;
	return 0;
}

/* Say where the checkpoint knew more records than there are. */
static void
recover_compare(struct recover_run *run, const struct journal_checkpoint *c)
{
	struct journal_recovery *r = run->r;

	if (c == NULL || c->head.seq <= r->head.seq)
		return;
	r->missing_from = r->head.seq + 1;
	r->missing_to = c->head.seq;
	log_line(LOG_ERROR, "audit journal lost records", log_i("from_seq", (int64_t)r->missing_from),
	    log_i("to_seq", (int64_t)r->missing_to));
}

/* Read the files from the Ith on; C is the checkpoint or NULL. */
static bool
recover_read(struct recover_run *run, size_t i, const struct journal_checkpoint *c)
{
	struct journal_recovery *r = run->r;
	uint64_t first;
	int date;

	journal_intents_fini(&r->open);
	journal_repairs_fini(&r->repairs);
	r->accepted = run->passed = NULL;
	journal_head_init(&r->head);
	r->records = 0;
	journal_name_parse(run->names.names[i], &first, &date);
	run->any_head = first > 1;
	if (run->any_head && c && c->head.seq + 1 == first) {
		r->head = c->head;	/* it was made with this file, which may have no record yet */
		run->any_head = false;
	}
	for (; i < run->names.count; i++)
		if (!recover_file(run, i))
			return false;
	return true;
}

/*
 * Where files before those that were read held records (FIRST is the first seq that was read), their triggers are as
 * old as the first record after them or older: it speaks for them, or, where there is none yet, this moment.
 */
static void
recover_time_before(struct recover_run *run, uint64_t first)
{
	struct journal_recovery *r = run->r;

	if (r->last_trigger.us == 0 && first > 1)
		r->last_trigger = r->records > 0 ? run->first_time : clock_now_wall();
}

/* Whether what was passed is accepted in the end, and what was to be accepted was met. */
static bool
recover_check_repairs(struct recover_run *run)
{
	const char *last = run->names.names[run->names.count - 1];

	if (run->accept && run->r->accepted == NULL) {
		buf_printf(run->error, "audit directory %.*s: no start is refused over %.*s:%" PRIu64,
		    STR_ARG(run->directory), STR_ARG(run->accept->file), run->accept->line);
		return false;
	}
	return journal_repairs_are_seen(&run->r->repairs) ||
	    recover_refuse(run, last, 1, "the record that accepts damage stands in no good place");
}

/* Read all files from the checkpoint's on; all there are, where damage is to be accepted. */
static bool
recover_files(struct recover_run *run)
{
	struct journal_checkpoint checkpoint, *c = NULL;
	size_t count = run->names.count, i;
	uint64_t first;
	int date;

	if (journal_checkpoint_read(run->dirfd, str_from(run->r->uuid), &checkpoint) == JOURNAL_FOUND)
		c = &checkpoint;
	if (count == 0) {
		recover_compare(run, c);
		return true;
	}
	i = run->accept ? 0 : recover_first(run, c);
	if (!recover_read(run, i, run->accept ? NULL : c) || (run->any_head && i > 0 && !recover_read(run, 0, NULL)))
		return false;
	journal_name_parse(run->names.names[count - 1], &first, &date);
	if (run->any_head || (run->good == 0 && first != run->r->head.seq + 1))
		return recover_refuse(run, run->names.names[count - 1], 1, "records are missing in front of this file");
	if (!recover_check_repairs(run))
		return false;
	recover_compare(run, c);
	recover_time_before(run, run->r->head.seq + 1 - run->r->records);
	return recover_open_last(run, run->names.names[count - 1]);
}

/* Read the directory's names. */
static bool
recover_names(struct recover_run *run)
{
	struct buf stray = BUF_EMPTY;
	bool ok = journal_names_read(&run->names, run->dirfd, &stray);

	if (!ok && stray.n > 0)
		buf_printf(run->error,
		    "audit directory %.*s: %.*s is none of the journal's files: give it another suffix",
		    STR_ARG(run->directory), STR_ARG(buf_str(&stray)));
	else if (!ok)
		recover_fail(run, ".", "list it");
	buf_fini(&stray);
	return ok;
}

bool
journal_recover(struct journal_recovery *r, int dirfd, struct str directory, const struct journal_accept *accept,
    struct buf *error)
{
	struct recover_run run = { .r = r, .dirfd = dirfd, .directory = directory, .accept = accept, .error = error };
	bool ok, id_missing;

	*r = (struct journal_recovery){ .last = { .fd = -1 } };
	journal_head_init(&r->head);
	ok = recover_names(&run) && recover_uuid(&run, &id_missing) && recover_files(&run);
	if (ok && r->uuid[0] == '\0')
		journal_uuid_make(r->uuid);
	if (ok && id_missing && !journal_id_write(dirfd, r->uuid))
		ok = recover_fail(&run, "journal.id", "write it");
	journal_names_fini(&run.names);
	return ok;
}

void
journal_recovery_fini(struct journal_recovery *r)
{
	journal_segment_close(&r->last);
	journal_repairs_fini(&r->repairs);
	journal_intents_fini(&r->open);
}
