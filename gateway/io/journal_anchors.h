/*
 * What journals say of each other: their records of kind `anchor`, gathered and held against the journals.
 *
 * An anchor is a record's place and hash in another journal, which was on that one's disk when it was written down. The
 * anchors of all directories are gathered before any journal is verified: a journal that is being written has by then
 * more than they say, never less. 56 bytes are kept for each.
 */
#ifndef JOBGATE_IO_JOURNAL_ANCHORS_H
#define JOBGATE_IO_JOURNAL_ANCHORS_H

#include "io/journal.h"
#include "io/journal_chain.h"

struct journal_anchor {
	uint64_t seq;		/* of the record that was seen */
	uint64_t own_seq;	/* of the anchor itself */
	uint32_t witness;	/* the directory that has it: an index */
	bool late;		/* written after the time that is asked about: that the other one ends before it proves nothing */
	uint8_t hash[JOURNAL_HASH_HEX / 2];
};

/* All that is said of one journal. */
struct journal_anchors_of {
	char uuid[JOURNAL_UUID_BYTES + 1];
	struct journal_anchor *list;	/* owned; in the order of seq once they are sorted */
	size_t count, size;
};

struct journal_anchors {
	struct journal_anchors_of *of;	/* owned */
	size_t count;
};

/*
 * Add what the journal in DIRECTORY, the WITNESSth, says of others; what is no good line of its own says nothing. A
 * directory that cannot be read adds nothing: to verify it will tell. PROGRESS may be NULL.
 */
void journal_anchors_gather(struct journal_anchors *anchors, struct str directory, uint32_t witness,
    struct wall_time as_of, struct journal_progress *progress);
/* Add what one line of it says, where it is an anchor's. */
void journal_anchors_take(struct journal_anchors *anchors, struct str text, uint32_t witness, struct wall_time as_of);
void journal_anchors_sort(struct journal_anchors *anchors);
void journal_anchors_fini(struct journal_anchors *anchors);

/* What is said of journal UUID; NULL: nothing. */
const struct journal_anchors_of *journal_anchors_find(const struct journal_anchors *anchors, struct str uuid);

/* --- held against a journal while it is read --- */

/* The first thing that one witness says otherwise. */
struct journal_accusation {
	struct journal_anchor anchor;
	uint64_t agreed;	/* the last record before it that any anchor has right; 0: none */
	bool ends;		/* the journal ends before it; else it has another hash there */
};

/* A journal's hearing. All zero: nothing is said of it. */
struct journal_hearing {
	const struct journal_anchors_of *of;	/* borrowed; NULL: nothing is said */
	size_t at;				/* the next that was not heard */
	uint64_t next_seq;			/* of which it is; UINT64_MAX: there is none */
	uint64_t agreed;
	uint64_t held, deleted, late;		/* anchors that are right; of records that are deleted; not held against the end */
	struct journal_accusation *accusations;	/* owned; one a witness at most, in the order of seq */
	size_t count;
	uint64_t *vouched;			/* owned; of each witness: the last record that it has right */
	size_t witnesses;
};

/* OF may be NULL. Anchors have WITNESSES witnesses at most. */
void journal_hearing_begin(struct journal_hearing *hearing, const struct journal_anchors_of *of, size_t witnesses);
void journal_hearing_fini(struct journal_hearing *hearing);

/* The record HEAD comes next. BEFORE: the last one that is known to have been deleted in front of it; seq 0: none. */
void journal_hearing_record(struct journal_hearing *hearing, const struct journal_head *head,
    const struct journal_head *before);
/* There are no more. */
void journal_hearing_end(struct journal_hearing *hearing);

#endif
