/* `jobgate audit search`: finds triggers in journals, live ones too. */
#include "command/audit_search.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "command/audit_query.h"
#include "io/journal_chain.h"
#include "io/journal_retention.h"
#include "io/journal_trail.h"
#include "rules/audit_join.h"
#include "rules/record.h"

/* How often a followed journal is looked at. */
#define SEARCH_FOLLOW_MS 200
#define SEARCH_OUT_BYTES 65536

/* One directory. */
struct search_stream {
	const char *directory;
	struct journal_trail trail;
	struct journal_trail ahead;	/* reads what comes behind an unknown outcome; opened where there is one */
	bool ahead_open, ahead_failed;
	struct wall_time ahead_time;	/* of the last record that it has read */
	struct audit_join join;
	uint64_t oldest;	/* first seq of the oldest file as the search began; 0: there was none */
	uint64_t deleted;	/* up to this seq, records of kind `retention` say; 0: none does */
	bool open;		/* the trail is */
	bool ended;		/* there is nothing more, at present */
	bool failed;
};

struct search {
	struct audit_query query;
	struct search_stream *streams;
	struct buf out;
};

/* Write out what has been gathered. */
static void
search_flush(struct search *search)
{
	if (search->out.n > 0)
		fwrite(search->out.p, 1, search->out.n, stdout);
	buf_clear(&search->out);
}

/* Say why a directory is not read, or not further. */
static void
stream_fail(struct search_stream *stream, const char *where, const char *why)
{
	fprintf(stderr, "%s%s%s: %s\n", stream->directory, *where ? "/" : "", where, why);
	stream->failed = stream->ended = true;
}

/* The first seq of the directory's oldest file; 0 where there is none. */
static uint64_t
stream_oldest(const struct search_stream *stream)
{
	const struct journal_names *names = &stream->trail.names;
	uint64_t seq;
	int date;

	return names->count > 0 && journal_name_parse(names->names[0], &seq, &date) ? seq : 0;
}

/* Begin with a directory. */
static void
stream_open(struct search_stream *stream, const char *directory, const struct audit_filter *filter)
{
	struct buf error = BUF_EMPTY;

	stream->directory = directory;
	audit_join_init(&stream->join, filter);
	stream->open = journal_trail_open(&stream->trail, directory, journal_date(filter->since), &error);
	if (stream->open) {
		stream->oldest = stream_oldest(stream);
	} else {
		fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&error)));
		stream->failed = stream->ended = true;
	}
	buf_fini(&error);
}

/* Note how far a record says that the journal was deleted. */
static void
stream_note_deleted(struct search_stream *stream, struct str line)
{
	struct journal_head deleted;

	if (journal_retention_read(line, &deleted) && deleted.seq > stream->deleted)
		stream->deleted = deleted.seq;
}

/* Have the trail ahead open, and not behind what is read; false where it cannot be. */
static bool
stream_open_ahead(struct search_stream *stream)
{
	struct buf error = BUF_EMPTY;

	if (!stream->ahead_open && !stream->ahead_failed) {
		stream->ahead_open = journal_trail_open(&stream->ahead, stream->directory, 0, &error);
		stream->ahead_failed = !stream->ahead_open;
		buf_fini(&error);
	}
	if (stream->ahead_open && strcmp(stream->ahead.name, stream->trail.name) < 0)
		journal_trail_seek(&stream->ahead, stream->join.last_seq);
	return stream->ahead_open;
}

/*
 * LINE is given out next: where it is an unknown outcome, read ahead as far as a resolution of it can stand. The files
 * are read twice at most, and nothing is kept but resolutions.
 */
static void
stream_look_ahead(struct search_stream *stream, struct str line)
{
	enum journal_read got = JOURNAL_READ_LINE;
	struct wall_time from;
	struct str text;

	if (str_find(line, STR("\"result\":\"unknown\"")) == line.n || !journal_line_time(line, &from))
		return;
	if (stream->ahead_time.us > from.us + RECORD_RESOLUTION_WITHIN_US || !stream_open_ahead(stream))
		return;
	while (stream->ahead_time.us <= from.us + RECORD_RESOLUTION_WITHIN_US
	    && (got == JOURNAL_READ_LINE || got == JOURNAL_READ_LONG)) {
		got = journal_trail_next(&stream->ahead, &text);
		if (got != JOURNAL_READ_LINE)
			continue;
		journal_line_time(text, &stream->ahead_time);
		if (str_find(text, STR("\"kind\":\"resolution\"")) < text.n)
			audit_join_ahead(&stream->join, text);
	}
}

/* Read one line, or find that there is none. */
static void
stream_read(struct search_stream *stream)
{
	const struct audit_join *join = &stream->join;
	struct str line;

	switch (journal_trail_next(&stream->trail, &line)) {
	case JOURNAL_READ_LINE:
	case JOURNAL_READ_LONG:
		stream_look_ahead(stream, line);
		if (!audit_join_line(&stream->join, line) && join->bad_lines == 1)
			fprintf(stderr, "%s/%s:%" PRIu64 ": is no record\n", stream->directory, stream->trail.name, stream->trail.line);
		stream_note_deleted(stream, line);
		break;
	case JOURNAL_READ_TAIL:
	case JOURNAL_READ_END:
		stream->ended = true;
		break;
	case JOURNAL_READ_ERROR:
		stream_fail(stream, stream->trail.name, strerror(errno));
		break;
	}
	/* Nothing later is looked for, and all that is has its outcome. */
	if (join->last_time.us >= join->filter->until.us && join->open_count == 0)
		stream->ended = true;
}

/* The next trigger of a directory, once so much has been read that it is known; NULL: there is none. */
static struct audit_trigger *
stream_next(struct search_stream *stream, bool follow)
{
	struct audit_trigger *first;

	while ((first = audit_join_first(&stream->join)) == NULL && !stream->ended)
		stream_read(stream);
	if (first || follow)
		return first;
	return audit_join_as_it_is(&stream->join);
}

/* Print a trigger. */
static void
search_print(struct search *search, struct search_stream *stream, struct audit_trigger *trigger)
{
	audit_text_trigger(&search->out, search->query.format, &trigger->record);
	audit_join_done(&stream->join, trigger);
	if (search->out.n >= SEARCH_OUT_BYTES)
		search_flush(search);
}

/* Print the earliest of all directories; false where there is none. */
static bool
search_step(struct search *search)
{
	struct search_stream *from = NULL;
	struct audit_trigger *earliest = NULL;

	for (int i = 0; i < search->query.directory_count; i++) {
		struct audit_trigger *next = stream_next(&search->streams[i], search->query.follow);

		if (next && (earliest == NULL || next->record.time.us < earliest->record.time.us)) {
			earliest = next;
			from = &search->streams[i];
		}
	}
	if (earliest == NULL)
		return false;
	search_print(search, from, earliest);
	return true;
}

/* Print what has come to a directory that was read to its end, each trigger as soon as it is whole. */
static void
search_follow(struct search *search, struct search_stream *stream)
{
	struct audit_trigger *trigger;

	for (stream->ended = stream->failed; !stream->ended;)
		stream_read(stream);
	while ((trigger = audit_join_any_whole(&stream->join)) != NULL)
		search_print(search, stream, trigger);
}

/*
 * Say what of the journal's beginning is not there; false where that is a gap. Where days were asked for, the record
 * that would tell may stand in a file that was not read.
 */
static bool
stream_tell_beginning(const struct search_stream *stream)
{
	const struct audit_join *join = &stream->join;
	bool all = join->first_seq <= stream->oldest;

	if (stream->oldest <= 1)
		return true;
	fprintf(stderr, "; %" PRIu64 " to %" PRIu64 " %s", UINT64_C(1), stream->oldest - 1,
	    stream->deleted + 1 >= stream->oldest ? "deleted by audit.retention"
	    : all				  ? "missing: no record says that they were deleted"
						  : "not there, before what was asked for");
	return !all || stream->deleted + 1 >= stream->oldest;
}

/* Say which records between those read are missing; false where any is. */
static bool
stream_tell_gaps(const struct search_stream *stream)
{
	const struct audit_join *join = &stream->join;
	bool whole = join->gap_count <= AUDIT_JOIN_GAPS;

	for (uint64_t i = 0; i < join->gap_count && i < AUDIT_JOIN_GAPS; i++) {
		bool deleted = join->gaps[i].to <= stream->deleted;	/* while this was read */

		fprintf(stderr, "; %s%" PRIu64 " to %" PRIu64 "%s", deleted ? "" : "missing ", join->gaps[i].from,
		    join->gaps[i].to, deleted ? " deleted by audit.retention" : "");
		whole &= deleted;
	}
	if (join->gap_count > AUDIT_JOIN_GAPS)
		fprintf(stderr, " and %" PRIu64 " more gaps", join->gap_count - AUDIT_JOIN_GAPS);
	return whole;
}

/* Say what was read of a directory, and what is not there; false where that is not all. */
static bool
stream_tell(const struct search_stream *stream)
{
	const struct audit_join *join = &stream->join;
	bool whole;

	if (!stream->open)
		return false;
	if (join->first_seq == 0) {
		fprintf(stderr, "%s: no records\n", stream->directory);
		return !stream->failed;
	}
	fprintf(stderr, "%s: journal %s, seq %" PRIu64 " to %" PRIu64, stream->directory, join->journal, join->first_seq,
	    join->last_seq);
	whole = stream_tell_beginning(stream);
	whole &= stream_tell_gaps(stream);
	if (join->bad_lines > 0)
		fprintf(stderr, "; %" PRIu64 " lines are no records", join->bad_lines);
	fputc('\n', stderr);
	return whole && !stream->failed && join->bad_lines == 0;
}

/* Search; true where all was there. */
static bool
search_run(struct search *search)
{
	bool whole = true;

	audit_text_head(&search->out, search->query.format);
	while (search_step(search))
		;
	search_flush(search);
	for (int i = 0; i < search->query.directory_count; i++)
		whole &= stream_tell(&search->streams[i]);
	while (search->query.follow && fflush(stdout) == 0) {
		poll(NULL, 0, SEARCH_FOLLOW_MS);
		for (int i = 0; i < search->query.directory_count; i++)
			search_follow(search, &search->streams[i]);
		search_flush(search);
	}
	return fflush(stdout) == 0 && whole;
}

int
audit_search(int argc, char **argv)
{
	struct search search = { .out = BUF_EMPTY };
	enum arguments arguments = audit_query_read(argc, argv, &search.query);
	bool whole;

	if (arguments != ARGUMENTS_RUN)
		return arguments == ARGUMENTS_HELP ? 0 : 2;
	search.streams = calloc((size_t)search.query.directory_count, sizeof(*search.streams));
	check(search.streams != NULL);
	for (int i = 0; i < search.query.directory_count; i++)
		stream_open(&search.streams[i], search.query.directories[i], &search.query.filter);
	for (int i = 0; i < search.query.directory_count; i++)
		search.streams[i].join.remembers = search.query.follow;
	whole = search_run(&search);
	for (int i = 0; i < search.query.directory_count; i++) {
		audit_join_fini(&search.streams[i].join);
		if (search.streams[i].open)
			journal_trail_close(&search.streams[i].trail);
		if (search.streams[i].ahead_open)
			journal_trail_close(&search.streams[i].ahead);
	}
	free(search.streams);
	buf_fini(&search.out);
	return whole ? 0 : 1;
}
