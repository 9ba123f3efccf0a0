/*
 * What a start does with the journal that it finds: check it, cut what a crash left torn, collect the open intents.
 *
 * Torn is a last line without its newline, or bad bytes at the very end of the last file behind which no whole record
 * stands, or zeros up to the end of a disk sector (a power cut keeps later pages of what was never synced, and
 * loses earlier ones). The torn bytes are kept in FILE.torn. Any other fault is damage or tampering: the start is
 * refused with file and line, unless a record accepts it (io/journal_repair.h).
 *
 * Files before the checkpoint's are not read: no intent in them is open.
 */
#ifndef JOBGATE_IO_JOURNAL_RECOVER_H
#define JOBGATE_IO_JOURNAL_RECOVER_H

#include "io/journal_chain.h"
#include "io/journal_intents.h"
#include "io/journal_repair.h"
#include "io/journal_segment.h"

struct journal_recovery {
	char uuid[JOURNAL_UUID_BYTES + 1];	/* journal.id's, or that of the records, or a new one */
	struct journal_head head;		/* the last good record */
	struct journal_intents open;		/* with their lines */
	struct journal_segment last;		/* the last file, open for appending; fd -1 where there is none */
	uint64_t records;			/* read */
	struct wall_time last_trigger;		/* the newest time of an intent or outcome among them; 0: none */
	struct journal_repairs repairs;		/* of damage on the way */
	const struct journal_repair *accepted;	/* the one that is accepted now, and whose record is to be written; NULL: none */
	int64_t torn_bytes;			/* cut off the end */
	uint64_t missing_from, missing_to;	/* records that the checkpoint knew and that are gone; 0: none */
};

/*
 * The directory is locked. ACCEPT: damage that is accepted now, or NULL. False with a sentence in ERROR. RECOVERY is the
 * caller's to fini either way.
 */
bool journal_recover(struct journal_recovery *recovery, int dirfd, struct str directory, const struct journal_accept *accept,
    struct buf *error);
void journal_recovery_fini(struct journal_recovery *recovery);

#endif
