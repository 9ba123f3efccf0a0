/*
 * A journal's lines from its first file to its last, for who only reads: a gateway may be writing meanwhile, or the directory
 * is a copy of another machine's. Nothing is locked or changed.
 */
#ifndef JOBGATE_IO_JOURNAL_TRAIL_H
#define JOBGATE_IO_JOURNAL_TRAIL_H

#include "io/journal_segment.h"

struct journal_trail {
	int dirfd;				/* owned */
	struct journal_names names;		/* owned */
	size_t at;				/* the file that is read */
	struct journal_reader reader;		/* fd -1: none is open */
	int64_t offset;				/* of the next line in it */
	char name[JOURNAL_NAME_BYTES];		/* of the line given out last */
	uint64_t line;				/* its number in that file */
};

/*
 * Open DIRECTORY, beginning with the files of UTC day FIRST_DATE (20261123; 0: all): older ones have none of that day's records.
 * False with a sentence in ERROR.
 */
bool journal_trail_open(struct journal_trail *trail, const char *directory, int first_date, struct buf *error);
void journal_trail_close(struct journal_trail *trail);

/*
 * The next line; TEXT is good until the next call. JOURNAL_READ_END: nothing more at present, an incomplete last line not
 * counted; a later call looks again, at new files too. JOURNAL_READ_LONG: no record, passed over in part. JOURNAL_READ_ERROR: errno.
 */
enum journal_read journal_trail_next(struct journal_trail *trail, struct str *text);

#endif
