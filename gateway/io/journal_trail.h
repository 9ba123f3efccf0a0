/*
 * A journal's lines from its first file to its last, for who only reads: a gateway may be writing meanwhile, or the
 * directory is a copy of another machine's. Nothing is locked or changed.
 */
#ifndef JOBGATE_IO_JOURNAL_TRAIL_H
#define JOBGATE_IO_JOURNAL_TRAIL_H

#include "io/journal_segment.h"

struct journal_trail {
	int dirfd;				/* owned */
	struct journal_names names;		/* owned */
	size_t at;				/* the file that is read */
	char present[JOURNAL_NAME_BYTES];	/* its name at the last look; it may be gone since */
	struct journal_reader reader;		/* fd -1: none is open */
	int64_t offset;				/* of the next line in it */
	char name[JOURNAL_NAME_BYTES];		/* of the line given out last */
	uint64_t line;				/* its number in that file */
};

/*
 * Open DIRECTORY, beginning with the files of UTC day FIRST_DATE (20261123; 0: all): older ones have none of that day's
 * records. False with a sentence in ERROR.
 */
bool journal_trail_open(struct journal_trail *trail, const char *directory, int first_date, struct buf *error);
void journal_trail_close(struct journal_trail *trail);

/*
 * The next line; TEXT is good until the next call. JOURNAL_READ_END: nothing more at present, an incomplete last line
 * not counted; a later call looks again, at new files too. JOURNAL_READ_LONG: no record, passed over in part.
 * JOURNAL_READ_ERROR: errno. A file that was deleted before it was read is passed over: the next line's seq tells.
 */
enum journal_read journal_trail_next(struct journal_trail *trail, struct str *text);

/* Go on from the beginning of the file that has record SEQ; of the oldest one where that is later. */
void journal_trail_seek(struct journal_trail *trail, uint64_t seq);

/*
 * Make all that was read of the last line's file durable: a follower that tells others of records must not know more than a
 * gateway does after a power cut. False with errno; ESTALE: the file was cut since, what was read last is not in it.
 */
bool journal_trail_sync(const struct journal_trail *trail);

/* Whether DIRECTORY still leads to the directory that was opened. */
bool journal_trail_is_at(const struct journal_trail *trail, const char *directory);

#endif
