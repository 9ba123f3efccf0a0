/* What audit.retention gives up. */
#include "io/journal_retention.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_scan.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "io/file.h"
#include "io/journal_state.h"

/* A file becomes old once a day; a changed configuration and a collector that comes on are seen soon. */
#define RETENTION_LOOK_US (10 * (int64_t)CLOCK_SECOND)
#define RETENTION_SAY_US (30 * (int64_t)CLOCK_SECOND)
/* A start asks for the triggers of the last window of the quota, an hour at most, and its jitter. */
#define RETENTION_KEEP_US (2 * 3600 * (int64_t)CLOCK_SECOND)
/* Clocks drift apart, and are put right, by less; a machine that slept for longer looks the same, and is started anew. */
#define RETENTION_CLOCK_US (3600 * (int64_t)CLOCK_SECOND)
#define RETENTION_COLLECTED_BYTES 512	/* what the collector writes has a hundred */

struct retention_run {
	struct journal *j;
	int64_t age_us, bytes;
	struct buf collected;		/* owned */
	uint64_t limit;			/* nothing above this seq goes */
	struct journal_names names;	/* owned */
	int64_t total;			/* bytes of all files */
	/* The oldest file: */
	const char *name;
	uint64_t first, last;		/* seqs */
	int64_t name_bytes;
	char hash[JOURNAL_HASH_HEX];	/* of its last record */
	struct wall_time newer;		/* of the first record after it */
	const char *reason;
	struct buf why;			/* what keeps it from looking; owned */
};

/* Read the value of KEY, which the scan stands behind; false where it is of another kind. */
static bool
collected_member(struct json_scan *scan, struct str key, struct str *journal, uint64_t *seq)
{
	enum json_token token = json_scan_next(scan);

	if (str_eq(key, STR("journal"))) {
		*journal = scan->text;
		return token == JSON_STRING;
	}
	if (str_eq(key, STR("seq")))
		return token == JSON_NUMBER && str_to_u64(scan->text, seq);
	return token == JSON_OBJECT || token == JSON_ARRAY ? json_scan_skip(scan) : token != JSON_FAULT;
}

/* Read {"journal":"UUID","seq":N}; false where TEXT is none. */
static bool
collected_parse(struct str text, struct str *journal, uint64_t *seq)
{
	struct json_scan scan;
	bool has_seq = false;

	*journal = (struct str){ NULL, 0 };
	json_scan_init(&scan, text);
	if (json_scan_next(&scan) != JSON_OBJECT)
		return false;
	while (json_scan_next(&scan) == JSON_KEY) {
		struct str key = scan.text;

		has_seq |= str_eq(key, STR("seq"));
		if (!collected_member(&scan, key, journal, seq))
			return false;
	}
	return scan.fault == NULL && json_scan_next(&scan) == JSON_END && journal->p && has_seq;
}

/* Read how far the collector has come; false, with the reason, where that is not known. */
static bool
retention_collected(struct retention_run *run)
{
	struct buf text = BUF_EMPTY;
	struct str journal;
	struct stat st;
	bool ok;

	run->limit = UINT64_MAX;
	if (run->collected.n == 0)
		return true;
	if (stat(run->collected.p, &st) == 0 && !S_ISREG(st.st_mode)) {	/* opening a pipe would wait for ever */
		buf_printf(&run->why, "%s: is no file", run->collected.p);
		return false;
	}
	ok = file_read(run->collected.p, RETENTION_COLLECTED_BYTES, &text, &run->why);
	if (ok && !collected_parse(buf_str(&text), &journal, &run->limit)) {
		buf_printf(&run->why, "%s: is not {\"journal\": \"UUID\", \"seq\": N}", run->collected.p);
		ok = false;
	} else if (ok && !str_eq(journal, str_from(run->j->uuid))) {
		buf_printf(&run->why, "%s: is another journal's", run->collected.p);
		ok = false;
	} else if (ok && run->limit > run->j->head.seq) {
		buf_printf(&run->why, "%s: names seq %" PRIu64 ", but the journal ends at %" PRIu64, run->collected.p,
		    run->limit, run->j->head.seq);
		ok = false;
	}
	buf_fini(&text);
	return ok;
}

int64_t
journal_retention_set_us(struct wall_time before, struct mono_time before_mono, struct wall_time now,
    struct mono_time now_mono)
{
	return now.us - before.us - mono_since(now_mono, before_mono);
}

/* Whether the wall clock can be believed; false, with the reason, where it was set since the journal was opened. */
static bool
retention_clock(struct retention_run *run)
{
	const struct journal_retention_state *state = &run->j->retention;
	int64_t set_us = journal_retention_set_us(state->opened_wall, state->opened_mono, clock_now_wall(),
	    clock_now_mono());

	if (set_us < RETENTION_CLOCK_US && set_us > -RETENTION_CLOCK_US)
		return true;
	buf_printf(&run->why, "the clock was set by %" PRId64 " s since the start: restart the gateway where it is right",
	    set_us / CLOCK_SECOND);
	return false;
}

/* Note that DOING failed, with errno; false. */
static bool
retention_fail(struct retention_run *run, const char *doing, const char *name)
{
	buf_printf(&run->why, "cannot %s %s: %s", doing, name, strerror(errno));
	return false;
}

/* List the files and add up what they have. False: there is no list, or nothing but the file that is written. */
static bool
retention_list(struct retention_run *run)
{
	struct buf stray = BUF_EMPTY;
	bool ok = journal_names_read(&run->names, run->j->dirfd, &stray);
	struct stat st;

	if (!ok && stray.n > 0)
		buf_printf(&run->why, "%.*s is none of the journal's files", STR_ARG(buf_str(&stray)));
	else if (!ok)
		retention_fail(run, "list", "the directory");
	buf_fini(&stray);
	for (size_t i = 0; ok && i < run->names.count; i++) {
		if (fstatat(run->j->dirfd, run->names.names[i], &st, AT_SYMLINK_NOFOLLOW) != 0)
			return retention_fail(run, "look at", run->names.names[i]);
		run->total += st.st_size;
		if (i == 0)
			run->name_bytes = st.st_size;
	}
	return ok && run->names.count >= 2;
}

/*
 * Learn what the record after the oldest file says of it. False: nothing is there yet, or (the reason) it is no such
 * record.
 */
static bool
retention_read_next(struct retention_run *run)
{
	const char *name = run->names.names[1];
	struct journal_reader reader;
	enum journal_read got;
	struct journal_line line;
	struct str text;
	bool ok;

	if (!journal_reader_open(&reader, run->j->dirfd, name))
		return retention_fail(run, "open", name);
	got = journal_reader_next(&reader, &text);
	ok = got == JOURNAL_READ_LINE && journal_line_parse(text, &line) == NULL && line.seq == run->last + 1 &&
	    journal_line_time(text, &run->newer);
	if (ok)
		memcpy(run->hash, line.prev.p, JOURNAL_HASH_HEX);
	else if (got != JOURNAL_READ_END)
		buf_printf(&run->why, "%s does not begin with the record that follows %s", name, run->name);
	journal_reader_close(&reader);
	return ok;
}

/* Find the oldest file, and what is known of it; false where it is not one that could ever go now. */
static bool
retention_oldest(struct retention_run *run)
{
	struct journal *j = run->j;
	uint64_t next;
	int date;

	run->name = run->names.names[0];
	journal_name_parse(run->name, &run->first, &date);
	journal_name_parse(run->names.names[1], &next, &date);
	run->last = next - 1;
	if (j->segment.fd < 0 || next > j->segment.first_seq)
		return false;
	if (journal_intents_oldest(&j->open, j->segment.first_seq) <= run->first)
		return false;
	return retention_read_next(run);
}

/* Whether it is to go: too old, or the files are too large together. */
static bool
retention_is_due(struct retention_run *run)
{
	int64_t age_us = clock_now_wall().us - run->newer.us;

	if (age_us < RETENTION_KEEP_US || run->last > run->limit)
		return false;
	if (run->age_us > 0 && age_us > run->age_us)
		run->reason = "age";
	else if (run->bytes > 0 && run->total > run->bytes)
		run->reason = "size";
	return run->reason != NULL;
}

/* Say durably that the file goes; false where the journal cannot be written. */
static bool
retention_attest(struct retention_run *run)
{
	struct journal *j = run->j;
	struct buf members = BUF_EMPTY;
	struct jsonw w = { &members, false };

	if (run->last <= j->retention.attested)
		return true;
	jsonw_string(&w, "kind", STR("retention"));
	jsonw_string(&w, "file", str_from(run->name));
	jsonw_int(&w, "first_seq", (int64_t)run->first);
	jsonw_int(&w, "last_seq", (int64_t)run->last);
	jsonw_string(&w, "last_hash", (struct str){ run->hash, JOURNAL_HASH_HEX });
	jsonw_int(&w, "bytes", run->name_bytes);
	jsonw_string(&w, "reason", str_from(run->reason));
	if (!journal_commit_event(j, &members))
		return false;
	j->retention.attested = run->last;
	return true;
}

/* Remove the file and what was once torn off it, durably: the next one must not go before it. */
static void
retention_remove(struct retention_run *run)
{
	struct journal *j = run->j;
	char torn[JOURNAL_NAME_BYTES + 8];

	snprintf(torn, sizeof(torn), "%s.torn", run->name);
	if ((unlinkat(j->dirfd, torn, 0) != 0 && errno != ENOENT) ||
	    (unlinkat(j->dirfd, run->name, 0) != 0 && errno != ENOENT) || fsync(j->dirfd) != 0) {
		retention_fail(run, "delete", run->name);
		return;
	}
	j->retention.look_at = clock_now_mono();	/* there may be another */
	log_line(LOG_INFO, "audit journal file deleted", log_z("file", run->name), log_z("reason", run->reason),
	    log_i("first_seq", (int64_t)run->first), log_i("last_seq", (int64_t)run->last));
}

/* Say once, and every 30 s, what keeps it from deleting; and when nothing does any more. */
static void
retention_say(struct journal *j, struct str why)
{
	struct mono_time now = clock_now_mono();
	bool was_ill = atomic_exchange(&j->retention.ill, why.n > 0);

	if (why.n == 0) {
		if (was_ill)
			log_line(LOG_INFO, "audit retention back", log_s("directory", buf_str(&j->directory)));
		return;
	}
	if (was_ill && mono_since(j->retention.say_at, now) > 0)
		return;
	j->retention.say_at = mono_add(now, RETENTION_SAY_US);
	log_line(LOG_ERROR, "audit retention deletes nothing", log_s("why", why),
	    log_s("directory", buf_str(&j->directory)));
}

/* Take what is wanted at present; false where nothing is to be deleted ever. */
static bool
retention_wanted(struct retention_run *run)
{
	struct journal *j = run->j;

	pthread_mutex_lock(&j->lock);
	run->age_us = j->retention.age_us;
	run->bytes = j->retention.bytes;
	buf_add(&run->collected, buf_str(&j->retention.collected));
	pthread_mutex_unlock(&j->lock);
	return run->age_us > 0 || run->bytes > 0;
}

/* Let the oldest file go where it is due; false where the journal cannot be written. */
static bool
retention_delete(struct retention_run *run)
{
	if (!retention_clock(run) || !retention_collected(run) || !retention_list(run) || !retention_oldest(run) || !retention_is_due(run))
		return true;
	/* A start must not be sent to a file that is gone. */
	if (!journal_commit_checkpoint(run->j)) {
		retention_fail(run, "write", "journal.checkpoint");
		return true;
	}
	if (!retention_attest(run))
		return false;
	retention_remove(run);
	return true;
}

bool
journal_retention_look(struct journal *j)
{
	struct retention_run run = { .j = j };
	bool ok = true;

	if (!atomic_exchange(&j->retention.changed, false) && mono_since(clock_now_mono(), j->retention.look_at) < 0)
		return true;
	j->retention.look_at = mono_add(clock_now_mono(), RETENTION_LOOK_US);
	if (retention_wanted(&run))
		ok = retention_delete(&run);
	if (ok)
		retention_say(j, buf_str(&run.why));
	journal_names_fini(&run.names);
	buf_fini(&run.collected);
	buf_fini(&run.why);
	return ok;
}

/* --- reading --- */

/* Read the members of a record of that kind; false where one is missing or of another form. */
static bool
retention_members(struct str line, struct journal_head *deleted)
{
	struct json_scan scan;
	unsigned found = 0;

	json_scan_init(&scan, line);
	if (json_scan_next(&scan) != JSON_OBJECT)
		return false;
	while (json_scan_next(&scan) == JSON_KEY) {
		struct str key = scan.text;
		enum json_token token = json_scan_next(&scan);

		if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(&scan))
			return false;
		if (str_eq(key, STR("kind")) && token == JSON_STRING && str_eq(scan.text, STR("retention")))
			found |= 1;
		if (str_eq(key, STR("last_seq")) && token == JSON_NUMBER && str_to_u64(scan.text, &deleted->seq))
			found |= 2;
		if (str_eq(key, STR("last_hash")) && token == JSON_STRING && scan.text.n == JOURNAL_HASH_HEX) {
			memcpy(deleted->hash, scan.text.p, JOURNAL_HASH_HEX);
			found |= 4;
		}
	}
	return found == 7;
}

bool
journal_retention_read(struct str line, struct journal_head *deleted)
{
	static const char mark[] = "\"kind\":\"retention\"";

	return memmem(line.p, line.n, mark, sizeof(mark) - 1) != NULL && retention_members(line, deleted);
}
