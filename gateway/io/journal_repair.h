/*
 * Damage in the middle of the journal that somebody has accepted.
 *
 * A start refuses over it, and so does every check. Whoever knows that it cannot be undone may accept one such place, by
 * an act of its own (`jobgate audit accept`): a record of kind `repair` then says at the journal's end where it is (file,
 * line, offset), what was wrong, how many bytes are no records (bytes, sha256), which record is the last before it and
 * the first behind it (before_seq, before_hash, after_seq, after_hash), and who has accepted it and why (by, reason).
 *
 * The bytes stay where they are and as they are. A reader that comes to them looks for such a record ahead, measures
 * again, and goes on behind them only where all of it is as the record says, and where the chain leads on to that record:
 * another byte, a record less before or behind, is a new damage. One thread.
 */
#ifndef JOBGATE_IO_JOURNAL_REPAIR_H
#define JOBGATE_IO_JOURNAL_REPAIR_H

#include "io/journal_chain.h"
#include "io/journal_segment.h"

#define JOURNAL_REPAIR_WHAT_BYTES 128

struct journal_repair {
	struct journal_repair *next;	/* private */
	char file[JOURNAL_NAME_BYTES];
	uint64_t line;			/* where it begins */
	int64_t offset, bytes;		/* of what is no record; no byte where records are only missing */
	char digest[JOURNAL_HASH_HEX];	/* SHA-256 of it */
	struct journal_head before;	/* the last record in front */
	struct journal_head after;	/* the first one behind; seq 0: the next file begins with damage too */
	char what[JOURNAL_REPAIR_WHAT_BYTES];	/* what was wrong */
	uint64_t seq;			/* of the record that accepts it; 0: it is to be written */
	bool used, seen;		/* it was passed; its record was come to */
};

/* All zero is an empty list. */
struct journal_repairs { struct journal_repair *list; bool scanned; };

void journal_repairs_fini(struct journal_repairs *repairs);

/* Where a reader stands before damage. */
struct journal_damage {
	int dirfd;
	const struct journal_names *names;
	size_t at;			/* the file that is read */
	struct str uuid;		/* of the journal */
	const struct journal_head *before;	/* the last good record */
	bool before_known;		/* reading did not begin here */
	const char *what;
	const struct journal_accept *accept;	/* NULL: nothing is to be accepted that was not */
};

/*
 * READER has given out something that is not as it should be (or nothing at all, in an empty file). Where that is
 * accepted, or is now, move it behind: the repair, which REPAIRS keep. NULL: it is not, or no record follows; the reader
 * then gives it out again.
 */
struct journal_repair *journal_repairs_pass(struct journal_repairs *repairs, struct journal_reader *reader,
    const struct journal_damage *damage);

/* LINE is a good record: where it is one that accepts damage, it was come to. */
void journal_repairs_see(struct journal_repairs *repairs, const struct journal_line *line);
/* Whether the records of all that was passed were come to. */
bool journal_repairs_are_seen(const struct journal_repairs *repairs);

/* Append the members of the record that accepts REPAIR. */
void journal_repair_members(struct buf *out, const struct journal_repair *repair, const struct journal_accept *accept);

#endif
