/*
 * The lines of the journal: how one is built and what a good one looks like.
 *
 * A byte of a line is covered by its hash, by the exact form of the hash's own member and of the line's end, or by
 * both. Pure but for the digest.
 */
#ifndef JOBGATE_IO_JOURNAL_CHAIN_H
#define JOBGATE_IO_JOURNAL_CHAIN_H

#include "base/buf.h"
#include "base/clock.h"
#include "io/journal.h"

#define JOURNAL_HASH_HEX 64
#define JOURNAL_UUID_BYTES 36

/* The last record so far: what the next one follows. */
struct journal_head {
	uint64_t seq;			/* 0: there is none yet */
	char hash[JOURNAL_HASH_HEX];	/* zeros then */
};

void journal_head_init(struct journal_head *head);

/* Append what every line of a journal begins with, up to `"seq":`. */
void journal_line_prefix(struct buf *out, struct str uuid, struct str instance);

/* Append the record after HEAD with its newline, and move HEAD to it. MEMBERS begin with "kind". */
void journal_line_build(struct buf *out, struct str prefix, struct journal_head *head, struct wall_time time,
    struct str members);

/* What the journal needs to know of a line; slices of it. */
struct journal_line {
	struct str uuid;
	uint64_t seq;
	enum journal_kind kind;
	struct str request_id;		/* p NULL: none or null */
	struct str prev, hash;		/* hexadecimal */
};

/*
 * Check LINE (without newline) by itself: hash, JSON, the members that every record has. NULL or what is wrong, a
 * phrase.
 */
const char *journal_line_parse(struct str line, struct journal_line *out);

/* Whether LINE's own hash is right: somebody once wrote it whole. */
bool journal_line_whole(struct str line);

/* Check that a line follows HEAD in journal UUID (empty: any). NULL or what is wrong. */
const char *journal_line_follows(const struct journal_line *line, const struct journal_head *head, struct str uuid);

/* Move HEAD to LINE. */
void journal_head_set(struct journal_head *head, const struct journal_line *line);

/*
 * The `request_id` of members as rules/record writes them, kind and request_id first, without a parse; p NULL where they are
 * written in another way.
 */
struct str journal_members_request_id(struct str members);

/* The `request_id` of a line that we built ourselves; p NULL where it has none. */
struct str journal_line_request_id(struct str line);

/* The `time` of a good line; false where it has none that can be read. */
bool journal_line_time(struct str line, struct wall_time *time);

/*
 * Whether a last line without newline is what an interrupted write leaves: the beginning of a record, no more than
 * one.
 */
bool journal_tail_is_torn(struct str tail);

/* 36 characters of a UUID in lower case. */
bool journal_uuid_valid(struct str text);

#endif
