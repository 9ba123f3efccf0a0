/* A journal's directory that is followed into the database. */
#include "collect/follow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "collect/taken.h"
#include "gate/condition.h"
#include "io/journal_dir.h"
#include "io/journal_repair.h"
#include "io/journal_trail.h"
#include "rules/audit_copy.h"

/*
 * A batch: so many rows that the two statements around them do not count; so few bytes that a lost one costs nothing.
 */
#define BATCH_RECORDS 4000
#define BATCH_BYTES (8u << 20)
/* What is wrong may be half of what a gateway is just doing: it is looked at again, from the position on. */
#define FOLLOW_LOOKS 2
/* So many lines are passed over in one step, that other directories and a signal have their turn. */
#define STEP_LINES 20000

struct follow {
	const char *directory, *taken;		/* borrowed */
	struct journal_trail trail;
	bool open, placed, stopped;
	char uuid[JOURNAL_UUID_BYTES + 1];	/* of the journal, once it is open */
	char told[JOURNAL_UUID_BYTES + 1];	/* the one announced last */
	struct journal_head position;		/* in the database, once it is placed */
	struct journal_head head;		/* the last record read since; seq 0: none */
	struct journal_repair damage;		/* accepted, and passed last; file empty: none */
	bool resumes;				/* the next good record is the one behind it */
	struct batch batch;
	size_t limit;				/* of a batch; less while a row is sought that is refused */
	unsigned looks;				/* how often in a row something was wrong */
	uint64_t gap_told;			/* the record behind the gap announced last */
	uint64_t stored;
	struct condition unreadable, untaken, halted, behind;
	struct buf why;				/* it was stopped, with a NUL */
};

struct follow *
follow_new(const char *directory, const char *taken)
{
	struct follow *f = calloc(1, sizeof(*f));

	check(f != NULL);
	*f = (struct follow){ .directory = directory, .taken = taken, .limit = BATCH_RECORDS,
		.unreadable = CONDITION_INIT("journal directory unreadable", "journal directory readable"),
		.untaken = CONDITION_INIT("collected position not written", "collected position written"),
		.halted = CONDITION_INIT("collecting stopped", "collecting goes on"),
		.behind = CONDITION_INIT("journal behind", "journal caught up") };
	return f;
}

/* Forget what was read and not stored. */
static void
follow_drop(struct follow *f)
{
	buf_clear(&f->batch.rows);
	f->batch.count = 0;
}

/* Close the directory: it is opened anew at the next step. */
static void
follow_close(struct follow *f)
{
	follow_drop(f);
	if (f->open)
		journal_trail_close(&f->trail);
	f->open = f->placed = false;
	f->damage.file[0] = '\0';
	f->resumes = false;
}

void
follow_free(struct follow **follow)
{
	if (*follow == NULL)
		return;
	follow_close(*follow);
	buf_fini(&(*follow)->batch.rows);
	buf_fini(&(*follow)->why);
	free(*follow);
	*follow = NULL;
}

bool
follow_is_whole(const struct follow *f)
{
	return !f->stopped && !condition_is_ill(&f->unreadable);
}

uint64_t
follow_stored(const struct follow *f)
{
	return f->stored;
}

/* Stop for good at the line that was read last: it is said again as long as there are others to follow. */
static enum follow_step
follow_stop(struct follow *f, const char *what)
{
	if (!f->stopped)
		buf_printf(&f->why, "%s/%s:%" PRIu64 ": %s", f->directory, f->trail.name, f->trail.line, what);
	buf_add_char(&f->why, '\0');
	f->why.n--;
	f->stopped = true;
	condition_set(&f->halted, false, f->why.p, clock_now_mono());
	follow_close(f);
	return FOLLOW_STOPPED;
}

/* What was read last is not as it should be: look again, then stop. */
static enum follow_step
follow_suspect(struct follow *f, const char *what)
{
	if (++f->looks >= FOLLOW_LOOKS)
		return follow_stop(f, what);
	follow_close(f);
	return FOLLOW_IDLE;
}

/* The directory cannot be read at present, for the sentence in WHY, which is freed. */
static enum follow_step
follow_unreadable(struct follow *f, struct buf *why)
{
	buf_add_char(why, '\0');
	condition_set(&f->unreadable, false, why->p, clock_now_mono());
	buf_fini(why);
	follow_close(f);
	return FOLLOW_IDLE;
}

/* It was read to its end, or stored: all is well with it. */
static void
follow_readable(struct follow *f)
{
	f->looks = 0;
	condition_set(&f->unreadable, true, "", clock_now_mono());
}

/* --- open --- */

/*
 * Find out which journal this is: by its journal.id, or in a copy without it by its first record. False: not yet known.
 */
static bool
follow_name(struct follow *f)
{
	struct journal_line line;
	struct str text;

	if (journal_id_read(f->trail.dirfd, f->uuid) == JOURNAL_FOUND)
		return true;
	if (journal_trail_next(&f->trail, &text) != JOURNAL_READ_LINE || journal_line_parse(text, &line) != NULL)
		return false;
	memcpy(f->uuid, line.uuid.p, JOURNAL_UUID_BYTES);
	f->uuid[JOURNAL_UUID_BYTES] = '\0';
	return true;
}

/* Announce the journal, where it is another than before. */
static void
follow_tell(struct follow *f)
{
	if (strcmp(f->told, f->uuid) == 0)
		return;
	memcpy(f->told, f->uuid, sizeof(f->told));
	log_line(LOG_INFO, "journal followed", log_z("directory", f->directory), log_z("journal", f->uuid));
}

/* Open the directory; false where there is nothing to follow at present. */
static bool
follow_open(struct follow *f)
{
	struct buf why = BUF_EMPTY;

	f->open = journal_trail_open(&f->trail, f->directory, 0, &why);
	if (!f->open) {
		follow_unreadable(f, &why);
		return false;
	}
	if (follow_name(f)) {
		follow_tell(f);
		return true;
	}
	if (f->trail.name[0] != '\0') {
		follow_suspect(f, "is no record of a journal");
		return false;
	}
	follow_readable(f);		/* and empty */
	follow_close(f);
	return false;
}

/* Tell the gateway how far it is. */
static void
follow_take(struct follow *f)
{
	bool ok = taken_write(f->taken, f->trail.dirfd, f->uuid, f->position.seq);
	struct buf why = BUF_EMPTY;

	if (!ok && f->taken)
		buf_printf(&why, "%s: %s", f->taken, strerror(errno));
	else if (!ok)
		buf_printf(&why, "%s/" TAKEN_NAME ": %s", f->directory, strerror(errno));
	buf_add_char(&why, '\0');
	condition_set(&f->untaken, ok, why.p, clock_now_mono());
	buf_fini(&why);
}

/* Ask the database how far the journal is, and go there; its last record is read again, to see that it is the same. */
static bool
follow_find_place(struct follow *f, struct database *db)
{
	if (database_position(db, f->uuid, &f->position) != DATABASE_OK)
		return false;
	follow_drop(f);
	journal_head_init(&f->head);
	journal_trail_seek(&f->trail, f->position.seq);
	f->placed = true;
	if (f->position.seq > 0)
		follow_take(f);
	return true;
}

/* --- read --- */

/* The record before the next one, as far as it is known: seq 0 where it is not. */
static const struct journal_head *
follow_before(const struct follow *f, const struct journal_line *line)
{
	return f->head.seq == 0 && line->seq == f->position.seq + 1 ? &f->position : &f->head;
}

/* Check that LINE belongs here; NULL or what is wrong. That records are missing is not. */
static const char *
follow_check(const struct follow *f, const struct journal_line *line)
{
	const struct journal_head *before = follow_before(f, line);

	if (!str_eq(line->uuid, str_from(f->uuid)))
		return "it belongs to another journal";
	if (line->seq == f->position.seq && memcmp(line->hash.p, f->position.hash, JOURNAL_HASH_HEX) != 0)
		return "another record with this seq was collected before: "
		    "the journal was cut back, restored or rewritten since";
	if (before->seq == 0 || line->seq > before->seq + 1)
		return NULL;
	return journal_line_follows(line, before, str_from(f->uuid));
}

/* Announce, once, which records are missing before LINE, which is new. */
static void
follow_tell_gap(struct follow *f, const struct journal_line *line)
{
	uint64_t last = f->head.seq > f->position.seq ? f->head.seq : f->position.seq;
	struct buf place = BUF_EMPTY;

	if (line->seq <= last + 1 || line->seq == f->gap_told)
		return;
	f->gap_told = line->seq;
	buf_printf(&place, "%s/%s:%" PRIu64, f->directory, f->trail.name, f->trail.line);
	log_line(LOG_WARN, "records missing", log_z("journal", f->uuid), log_i("from", (int64_t)(last + 1)),
	    log_i("to", (int64_t)(line->seq - 1)), log_s("before", buf_str(&place)));
	buf_fini(&place);
}

/* Whether what is read now was collected before, or somebody has set the position behind it: it need not be good. */
static bool
follow_is_behind(const struct follow *f)
{
	uint64_t first;
	int date;

	return f->head.seq < f->position.seq && journal_name_parse(f->trail.name, &first, &date) &&
	    first <= f->position.seq;
}

/*
 * Whether a record accepts what is wrong with the line that was read last, as WHAT says (io/journal_repair.h): it is then
 * passed over, up to the record that stands behind it.
 */
static bool
follow_is_accepted(struct follow *f, const char *what)
{
	struct journal_repairs repairs = { NULL, false };
	struct journal_damage damage = { f->trail.dirfd, &f->trail.names, f->trail.at, str_from(f->uuid), &f->head,
		f->head.seq > 0, what, NULL };
	struct journal_reader reader;
	struct journal_repair *repair = NULL;

	if (!journal_reader_open(&reader, f->trail.dirfd, f->trail.name))
		return false;
	if (journal_reader_seek(&reader, f->trail.reader.start, f->trail.line))
		repair = journal_repairs_pass(&repairs, &reader, &damage);
	if (repair) {
		f->damage = *repair;
		f->resumes = true;
		log_line(LOG_WARN, "accepted damage passed", log_z("directory", f->directory), log_z("file", repair->file),
		    log_i("line", (int64_t)repair->line), log_z("what", repair->what), log_i("accepted_by_seq", (int64_t)repair->seq));
	}
	journal_reader_close(&reader);
	journal_repairs_fini(&repairs);
	return repair != NULL;
}

/* Whether the line that was read last belongs to accepted damage. */
static bool
follow_is_in_damage(const struct follow *f)
{
	return strcmp(f->damage.file, f->trail.name) == 0 && f->trail.reader.start >= f->damage.offset &&
	    f->trail.reader.start < f->damage.offset + f->damage.bytes;
}

/* The line that was read last is no record, as WHAT says; NULL where that is no matter. */
static const char *
follow_bad(struct follow *f, const char *what)
{
	return follow_is_in_damage(f) || follow_is_behind(f) || follow_is_accepted(f, what) ? NULL : what;
}

/* Take a record that stands where it belongs; NULL or what is wrong with it. */
static const char *
follow_take_line(struct follow *f, struct str text, const struct journal_line *line)
{
	struct audit_record record;
	const char *fault;

	f->resumes = false;
	if (line->seq > f->position.seq) {
		fault = audit_record_read(text, &record);
		if (fault)
			return fault;
		follow_tell_gap(f, line);
		audit_copy_row(&f->batch.rows, &record, text);
		f->batch.count++;
		journal_head_set(&f->batch.last, line);
	}
	journal_head_set(&f->head, line);
	return NULL;
}

/* Take one line; NULL or what is wrong with it. */
static const char *
follow_line(struct follow *f, struct str text)
{
	struct journal_line line;
	const char *fault = journal_line_parse(text, &line);

	if (fault || follow_is_in_damage(f))
		return follow_bad(f, fault);
	if (!f->resumes) {
		fault = follow_check(f, &line);
		if (fault && !follow_is_accepted(f, fault))
			return fault;
		if (fault && follow_is_in_damage(f))
			return NULL;
	}
	if (f->resumes && (line.seq != f->damage.after.seq || memcmp(line.hash.p, f->damage.after.hash, JOURNAL_HASH_HEX) != 0))
		return "it is not the record that stood behind the accepted damage";
	return follow_take_line(f, text, &line);
}

/* Read until the batch is full or there is nothing more. FAULT: what is wrong with the last line. */
static enum journal_read
follow_read(struct follow *f, const char **fault)
{
	enum journal_read got = JOURNAL_READ_LINE;
	struct str text;

	*fault = NULL;
	for (int i = 0; i < STEP_LINES && f->batch.count < f->limit && f->batch.rows.n < BATCH_BYTES; i++) {
		got = journal_trail_next(&f->trail, &text);
		if (got == JOURNAL_READ_LINE)
			*fault = follow_line(f, text);
		else if (got != JOURNAL_READ_LONG)
			return got;
		else
			*fault = follow_bad(f, "longer than any record");
		if (*fault)
			return got;
	}
	return got;
}

/* All is read: whether the path leads to another directory by now, or another journal was begun in this one. */
static bool
follow_is_replaced(const struct follow *f)
{
	char uuid[JOURNAL_UUID_BYTES + 1];

	if (!journal_trail_is_at(&f->trail, f->directory))
		return true;
	return journal_id_read(f->trail.dirfd, uuid) == JOURNAL_FOUND && strcmp(uuid, f->uuid) != 0;
}

/* Announce a journal that ends before what was collected of it: what it writes next may be what stops it. */
static void
follow_tell_behind(struct follow *f)
{
	bool behind = f->head.seq < f->position.seq;
	struct buf why = BUF_EMPTY;

	buf_printf(&why, "%s: it ends at seq %" PRIu64 ", but was collected up to %" PRIu64 ": a copy, or it was cut back",
	    f->directory, f->head.seq, f->position.seq);
	buf_add_char(&why, '\0');
	condition_set(&f->behind, !behind, behind ? why.p : "", clock_now_mono());
	buf_fini(&why);
}

/* Nothing more is there at present. */
static enum follow_step
follow_rest(struct follow *f)
{
	follow_readable(f);
	if (follow_is_replaced(f))
		follow_close(f);
	else
		follow_tell_behind(f);
	return FOLLOW_IDLE;
}

/* --- store --- */

/* Somebody else has stored what we have just read, or the database was set back. */
static enum follow_step
follow_moved(struct follow *f)
{
	if (f->position.seq == f->head.seq && memcmp(f->position.hash, f->head.hash, JOURNAL_HASH_HEX) != 0)
		return follow_suspect(f, "another collector stored another record with this seq");
	/* What comes up to there is passed over; where we have read further, all is read again. */
	f->placed = f->position.seq >= f->head.seq;
	follow_drop(f);
	if (f->placed)
		follow_take(f);
	return FOLLOW_MOVED;
}

/* The database will not have a row: find out which, by ever smaller batches, then stop. */
static enum follow_step
follow_refused(struct follow *f, const struct database *db)
{
	struct buf what = BUF_EMPTY;

	if (f->batch.count > 1) {
		f->limit = f->batch.count / 2;
		f->placed = false;
		return FOLLOW_MOVED;
	}
	buf_printf(&what, "the database refuses it: %.*s", STR_ARG(database_why(db)));
	buf_add_char(&what, '\0');
	follow_stop(f, what.p);
	buf_fini(&what);
	return FOLLOW_STOPPED;
}

/* Store what was read. */
static enum follow_step
follow_store(struct follow *f, struct database *db)
{
	struct buf why = BUF_EMPTY;

	if (!journal_trail_sync(&f->trail)) {
		if (errno == ESTALE) {		/* a gateway's disk is full or failing: it has taken records back */
			follow_close(f);
			return FOLLOW_IDLE;
		}
		buf_printf(&why, "%s/%s: cannot be synced: %s", f->directory, f->trail.name, strerror(errno));
		return follow_unreadable(f, &why);
	}
	switch (database_store(db, f->uuid, &f->position, &f->batch)) {
	case DATABASE_OK:
		f->stored += f->batch.count;
		f->limit = f->limit * 2 < BATCH_RECORDS ? f->limit * 2 : BATCH_RECORDS;
		follow_readable(f);
		follow_drop(f);
		follow_take(f);
		return FOLLOW_MOVED;
	case DATABASE_MOVED:
		return follow_moved(f);
	case DATABASE_REFUSED:
		return follow_refused(f, db);
	case DATABASE_AWAY:
		break;
	}
	f->placed = false;
	return FOLLOW_AWAY;
}

enum follow_step
follow_step(struct follow *f, struct database *db)
{
	const char *fault;
	enum journal_read got;
	struct buf why = BUF_EMPTY;

	if (f->stopped)
		return follow_stop(f, "");
	if (!f->open && !follow_open(f))
		return f->stopped ? FOLLOW_STOPPED : FOLLOW_IDLE;
	if (!f->placed && !follow_find_place(f, db))
		return FOLLOW_AWAY;
	got = follow_read(f, &fault);
	if (f->batch.count > 0) {	/* what is good before a fault is stored first, and the fault then met again */
		enum follow_step step = follow_store(f, db);

		f->placed = f->placed && fault == NULL;
		return step;
	}
	if (fault)
		return follow_suspect(f, fault);
	if (got == JOURNAL_READ_ERROR) {
		buf_printf(&why, "%s: %s", f->directory, strerror(errno));
		return follow_unreadable(f, &why);
	}
	return got == JOURNAL_READ_END ? follow_rest(f) : FOLLOW_MOVED;
}
