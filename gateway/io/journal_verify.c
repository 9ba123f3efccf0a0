/* Check a journal from its first record to its last; changes nothing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/journal_dir.h"
#include "io/journal_intents.h"
#include "io/journal_progress.h"
#include "io/journal_repair.h"
#include "io/journal_retention.h"
#include "io/journal_segment.h"
#include "io/journal_verify.h"

struct verify_run {
	int dirfd;
	struct str directory;
	struct journal_verdict *verdict;
	struct journal_progress *progress;
	const struct journal_anchors *anchors;	/* NULL: of nobody else */
	size_t witnesses;
	struct journal_anchors *gathered;	/* NULL: what it says of others is not wanted */
	struct journal_hearing hearing;
	struct journal_names names;
	char uuid[JOURNAL_UUID_BYTES + 1];	/* empty until known */
	struct journal_head head;
	struct journal_intents open;
	struct journal_head deleted;		/* the record in front of the first, where the oldest files are gone */
	bool attested;				/* and a record says that it was deleted */
	bool bad_line;				/* the fault is in the line behind head */
	bool any_head;				/* the oldest files are gone: the first record says what it follows */
	struct journal_checkpoint checkpoint;	/* head.seq 0: none */
	struct journal_repairs repairs;		/* of damage on the way */
	const struct journal_repair *passed;	/* behind which the next record stands; NULL: none */
};

/* Note the first fault; false. LINE 0: the file as a whole; NAME empty: the directory. */
static bool
verify_fail(struct verify_run *run, const char *name, uint64_t line, const char *what)
{
	struct journal_verdict *v = run->verdict;

	v->ok = false;
	if (line > 0)
		snprintf(v->where, sizeof(v->where), "%.*s/%s:%" PRIu64, STR_ARG(run->directory), name, line);
	else
		snprintf(v->where, sizeof(v->where), "%.*s%s%s", STR_ARG(run->directory), *name ? "/" : "", name);
	snprintf(v->what, sizeof(v->what), "%s", what);
	return false;
}

/* Check that intents and outcomes pair. */
static const char *
verify_pair(struct verify_run *run, const struct journal_line *line)
{
	if (line->kind == JOURNAL_INTENT &&
	    !journal_intents_open(&run->open, line->request_id, line->seq, line->seq, STR("")))
		return "a second intent of the same request";
	if (line->kind == JOURNAL_OUTCOME && !journal_intents_close(&run->open, line->request_id) &&
	    run->deleted.seq == 0 && run->verdict->accepted == 0)
		return "an outcome without an open intent, or a second one";
	return NULL;
}

/* Note where an event says that what is missing in front was deleted. */
static void
verify_attestation(struct verify_run *run, struct str text)
{
	struct journal_head deleted;

	if (run->deleted.seq > 0 && !run->attested && journal_retention_read(text, &deleted))
		run->attested = deleted.seq == run->deleted.seq &&
		    memcmp(deleted.hash, run->deleted.hash, JOURNAL_HASH_HEX) == 0;
}

/* It is known which journal it is: find out what others say of it. */
static void
verify_begin(struct verify_run *run, struct str uuid)
{
	memmove(run->uuid, uuid.p, JOURNAL_UUID_BYTES);
	memcpy(run->verdict->journal, run->uuid, sizeof(run->uuid));
	if (run->anchors)
		journal_hearing_begin(&run->hearing, journal_anchors_find(run->anchors, uuid), run->witnesses);
}

/* Check one line against what came before. FIRST: of the file that is named after SEGMENT. */
static const char *
verify_line(struct verify_run *run, struct str text, bool first, uint64_t segment)
{
	struct journal_verdict *v = run->verdict;
	struct journal_head lost = run->deleted;	/* the last record that is known not to be there any more */
	struct journal_line line;
	const char *fault = journal_line_parse(text, &line);

	if (fault)
		return fault;
	if (run->passed && (line.seq != run->passed->after.seq ||
	    memcmp(line.hash.p, run->passed->after.hash, JOURNAL_HASH_HEX) != 0))
		return "it is not the record that stood behind the accepted damage";
	if (run->any_head || run->passed) {
		run->head.seq = line.seq - 1;
		memcpy(run->head.hash, line.prev.p, JOURNAL_HASH_HEX);
		lost = run->head;
		if (run->any_head)
			run->deleted = run->head;
		run->any_head = false;
	}
	if (first && line.seq != segment && run->passed == NULL)
		return "its seq is not that of the file's name";
	fault = journal_line_follows(&line, &run->head, str_from(run->uuid));
	if (fault)
		return fault;
	if (v->journal[0] == '\0')
		verify_begin(run, line.uuid);
	journal_head_set(&run->head, &line);
	journal_repairs_see(&run->repairs, &line);
	run->passed = NULL;
	journal_hearing_record(&run->hearing, &run->head, &lost);
	if (line.seq == run->checkpoint.head.seq &&
	    memcmp(run->head.hash, run->checkpoint.head.hash, JOURNAL_HASH_HEX) != 0)
		return "journal.checkpoint knows another record with this seq";
	if (v->records++ == 0)
		v->first_seq = line.seq;
	v->last_seq = line.seq;
	if (line.kind == JOURNAL_EVENT)
		verify_attestation(run, text);
	if (line.kind == JOURNAL_ANCHOR && run->gathered)
		journal_anchors_take(run->gathered, text, 0, (struct wall_time){ INT64_MAX });
	return verify_pair(run, &line);
}

/* Note that damage was passed which a record accepts. */
static void
verify_accepted(struct verify_run *run, const struct journal_repair *repair)
{
	struct journal_verdict *v = run->verdict;

	run->passed = repair;
	if (v->accepted++ > 0)
		return;
	snprintf(v->accepted_where, sizeof(v->accepted_where), "%.*s/%s:%" PRIu64, STR_ARG(run->directory), repair->file,
	    repair->line);
	v->accepted_by = repair->seq;
}

/* Go behind what READER has given out of the file AT, where it is accepted. KNOWN: what stood before is known. */
static bool
verify_pass(struct verify_run *run, struct journal_reader *reader, size_t at, bool known, const char *what)
{
	struct journal_damage damage = { run->dirfd, &run->names, at, str_from(run->uuid), &run->head, known, what, NULL };
	struct journal_repair *repair = journal_repairs_pass(&run->repairs, reader, &damage);

	if (repair)
		verify_accepted(run, repair);
	return repair != NULL;
}

/* What is wrong with what was read, which is TEXT; NULL: nothing, or it is the end. */
static const char *
verify_text(struct verify_run *run, enum journal_read got, struct str text, bool first, uint64_t segment, bool last)
{
	switch (got) {
	case JOURNAL_READ_LINE:
		return verify_line(run, text, first, segment);
	case JOURNAL_READ_LONG:
		return "longer than any record";
	case JOURNAL_READ_TAIL:
		if (last && journal_tail_is_torn(text))
			return NULL;
		return last ? "bytes that no interrupted write leaves" : "an incomplete record";
	case JOURNAL_READ_ERROR:
		return strerror(errno);
	case JOURNAL_READ_END:
		break;
	}
	return NULL;
}

/* Read the lines of the file AT until its end or a fault that nobody has accepted. GOT says how the reading ended. */
static const char *
verify_lines(struct verify_run *run, struct journal_reader *reader, size_t at, enum journal_read *got)
{
	const char *name = run->names.names[at], *fault;
	bool last = at + 1 == run->names.count;
	uint64_t segment, line;
	struct str text = { NULL, 0 };
	int date;

	journal_name_parse(name, &segment, &date);
	do {
		bool known = !run->any_head;

		*got = journal_reader_next(reader, &text);
		line = reader->line;
		fault = verify_text(run, *got, text, line == 1, segment, last);
		if (fault && (*got == JOURNAL_READ_ERROR || !verify_pass(run, reader, at, known, fault))) {
			reader->line = line;	/* where it is */
			return fault;
		}
		if (fault)
			*got = JOURNAL_READ_LINE;
		if (*got == JOURNAL_READ_LINE)
			journal_progress_add(run->progress, name, text.n + 1);
	} while (*got == JOURNAL_READ_LINE);
	return NULL;
}

/* Check the file AT. Only the last may be empty or end in an incomplete line. */
static bool
verify_file(struct verify_run *run, size_t at)
{
	const char *name = run->names.names[at], *fault;
	bool last = at + 1 == run->names.count;
	struct journal_reader reader;
	enum journal_read got;

	if (!journal_reader_open(&reader, run->dirfd, name) && errno == ENOENT && !last) {
		/* The gateway has deleted it since the names were read; its record of that is to come. */
		run->any_head = true;
		run->attested = false;
		return true;
	}
	if (reader.fd < 0)
		return verify_fail(run, name, 0, strerror(errno));
	run->verdict->files++;
	fault = verify_lines(run, &reader, at, &got);
	if (fault == NULL && reader.line == 0 && !last &&
	    !verify_pass(run, &reader, at, !run->any_head, "an empty file between others"))
		fault = "an empty file between others";
	run->verdict->torn_tail = fault == NULL && got == JOURNAL_READ_TAIL;
	run->bad_line = fault != NULL;
	if (fault)
		verify_fail(run, name, reader.line, fault);
	journal_reader_close(&reader);
	return fault == NULL;
}

/* Read journal.id and journal.checkpoint: before the files, which can only have more by the time they are read. */
static bool
verify_small_files(struct verify_run *run)
{
	if (journal_id_read(run->dirfd, run->uuid) == JOURNAL_DAMAGED)
		return verify_fail(run, "journal.id", 1, "it is no UUID and a newline");
	if (run->uuid[0] != '\0')
		verify_begin(run, str_from(run->uuid));
	if (journal_checkpoint_read(run->dirfd, str_from(run->uuid), &run->checkpoint) == JOURNAL_DAMAGED)
		return verify_fail(run, "journal.checkpoint", 1, "its hash does not match, or it is another journal's");
	return true;
}

/* Read the names of the files. */
static bool
verify_names(struct verify_run *run)
{
	struct buf stray = BUF_EMPTY;
	bool ok = journal_names_read(&run->names, run->dirfd, &stray);

	if (!ok && stray.n > 0) {
		buf_add_char(&stray, '\0');
		verify_fail(run, stray.p, 0, "none of the journal's files");
	} else if (!ok) {
		verify_fail(run, "", 0, strerror(errno));
	} else if (run->names.count == 0) {
		ok = verify_fail(run, "*.jsonl", 0, "there is no journal file");
	}
	buf_fini(&stray);
	return ok;
}

/* Check what lies between and behind the files. */
static bool
verify_files(struct verify_run *run)
{
	size_t count = run->names.count;
	uint64_t first;
	int date;

	journal_name_parse(run->names.names[0], &first, &date);
	run->any_head = first > 1;
	for (size_t i = 0; i < count; i++)
		if (!verify_file(run, i))
			return false;
	if (run->deleted.seq > 0 && !run->attested)
		return verify_fail(run, run->names.names[0], 1,
		    "records are missing in front of it, and no retention record says that they were deleted");
	if (!journal_repairs_are_seen(&run->repairs))
		return verify_fail(run, run->names.names[count - 1], 0, "the record that accepts damage stands in no good place");
	journal_name_parse(run->names.names[count - 1], &first, &date);
	if (!run->any_head && first > run->head.seq + 1)
		return verify_fail(run, run->names.names[count - 1], 1, "records are missing in front of it");
	if (!run->any_head && run->head.seq < run->checkpoint.head.seq)
		return verify_fail(run, run->names.names[count - 1], 0,
		    "records are missing at the end: journal.checkpoint knows more");
	return true;
}

/* Open the directory; -1 is told as its fault. */
static int
verify_open(struct verify_run *run)
{
	struct buf path = BUF_EMPTY;
	int fd;

	buf_add(&path, run->directory);
	buf_add_char(&path, '\0');
	fd = open(path.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	buf_fini(&path);
	if (fd < 0)
		verify_fail(run, "", 0, strerror(errno));
	return fd;
}

void
journal_verify_one(struct str directory, const struct journal_anchors *anchors, size_t witnesses,
    struct journal_anchors *gathered, struct journal_progress *progress, struct journal_verified *out)
{
	struct verify_run run = { .directory = directory, .verdict = &out->verdict, .progress = progress,
		.anchors = anchors, .witnesses = witnesses, .gathered = gathered };

	*out = (struct journal_verified){ .verdict = { .ok = true }, .bad_from = UINT64_MAX };
	journal_head_init(&run.head);
	run.dirfd = verify_open(&run);
	if (run.dirfd < 0)
		return;
	if (verify_small_files(&run) && verify_names(&run) && verify_files(&run))
		journal_hearing_end(&run.hearing);
	else if (run.bad_line)
		out->bad_from = run.head.seq + 1;
	out->verdict.open_intents = run.open.count;
	out->hearing = run.hearing;
	out->names = run.names;
	journal_intents_fini(&run.open);
	journal_repairs_fini(&run.repairs);
	close(run.dirfd);
}

void
journal_verified_fini(struct journal_verified *verified)
{
	journal_hearing_fini(&verified->hearing);
	journal_names_fini(&verified->names);
}

void
journal_verify(struct str directory, struct journal_progress *progress, struct journal_verdict *verdict)
{
	struct journal_verified verified;

	journal_verify_one(directory, NULL, 0, NULL, progress, &verified);
	*verdict = verified.verdict;
	journal_verified_fini(&verified);
}
