/* One directory's journal verified, for journal_verify and journal_verify_all alone. */
#ifndef JOBGATE_IO_JOURNAL_VERIFY_H
#define JOBGATE_IO_JOURNAL_VERIFY_H

#include "io/journal.h"
#include "io/journal_anchors.h"
#include "io/journal_segment.h"

struct journal_verified {
	struct journal_verdict verdict;		/* of the journal by itself */
	uint64_t bad_from;			/* the first record that is bad by itself; UINT64_MAX: none is */
	struct journal_hearing hearing;		/* owned: what others say of it */
	struct journal_names names;		/* owned */
};

/*
 * Check DIRECTORY, and hear what ANCHORS (NULL: none) of so many WITNESSES say of it. What it says itself is added to
 * GATHERED (NULL: it is not wanted).
 */
void journal_verify_one(struct str directory, const struct journal_anchors *anchors, size_t witnesses,
    struct journal_anchors *gathered, struct journal_progress *progress, struct journal_verified *out);
void journal_verified_fini(struct journal_verified *verified);

#endif
