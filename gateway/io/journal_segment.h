/*
 * The files of the journal: names, creation, appending, syncing, cutting, and reading them line by line.
 *
 * A file is NAME.jsonl, NAME being the seq of its first record in 20 digits and the UTC day: names sort in order. All
 * functions that can fail leave the reason in errno.
 */
#ifndef JOBGATE_IO_JOURNAL_SEGMENT_H
#define JOBGATE_IO_JOURNAL_SEGMENT_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/clock.h"

#define JOURNAL_NAME_BYTES 36	/* 20 digits, '-', 8 digits, ".jsonl", NUL */

/*
 * How the writer reaches the disk: the C library's functions. Tests put failing ones here before they open a journal.
 */
struct journal_disk {
	ssize_t (*write)(int fd, const void *bytes, size_t n);
	int (*sync)(int fd);
	int (*truncate)(int fd, off_t size);
};
extern struct journal_disk journal_disk;

/* A file that is appended to. */
struct journal_segment {
	int fd;			/* -1: none is open */
	char name[JOURNAL_NAME_BYTES];
	uint64_t first_seq;
	int date;		/* UTC, 20261123 */
	int64_t bytes;		/* whole records written */
	int64_t synced;		/* of them known to be on the disk */
};

/* The UTC day of T as a number that reads like it: 20261123. */
int journal_date(struct wall_time t);

/*
 * Make the file for the records from FIRST_SEQ on, mode 0640, and its entry in the directory durable. An empty file of
 * that name is taken over.
 */
bool journal_segment_create(struct journal_segment *s, int dirfd, uint64_t first_seq, int date);

/* Open an existing file to append behind its BYTES. */
bool journal_segment_open(struct journal_segment *s, int dirfd, const char *name, int64_t bytes);

void journal_segment_close(struct journal_segment *s);

/* Append all of BYTES; where it cannot, it cuts off what was written. CUT tells whether the file is as before. */
bool journal_segment_append(struct journal_segment *s, struct str bytes, bool *cut);

/* fdatasync. Failure is final for the file: all behind s->synced is in doubt. */
bool journal_segment_sync(struct journal_segment *s);

/* Make the file end at s->synced, durably: remove it where nothing of it was ever synced. */
bool journal_segment_roll_back(struct journal_segment *s, int dirfd);

/* False (EIO's place is taken by ESTALE) where somebody removed the file or changed its size under us. */
bool journal_segment_is_ours(const struct journal_segment *s);

/* --- names --- */
struct journal_names {
	char (*names)[JOURNAL_NAME_BYTES];	/* owned, sorted */
	size_t count;
};

/* Read a file's name; false where it is none of ours. */
bool journal_name_parse(const char *name, uint64_t *first_seq, int *date);

/*
 * The directory's journal files. False with errno, or with errno 0 and STRAY a *.jsonl file with a name that is none
 * of ours.
 */
bool journal_names_read(struct journal_names *names, int dirfd, struct buf *stray);
void journal_names_fini(struct journal_names *names);

/* --- reading --- */
enum journal_read {
	JOURNAL_READ_LINE,	/* a line, its newline taken off */
	JOURNAL_READ_TAIL,	/* the last bytes, without a newline; END follows */
	JOURNAL_READ_LONG,	/* a line longer than any record: its beginning */
	JOURNAL_READ_END,
	JOURNAL_READ_ERROR,	/* errno */
};

struct journal_reader {
	int fd;			/* owned */
	struct buf buf;		/* read and not given out yet, from AT on */
	size_t at;
	int64_t offset;		/* in the file, of what comes next */
	int64_t start;		/* of the line given out last */
	uint64_t line;		/* its number, from 1 */
	bool ended;
};

bool journal_reader_open(struct journal_reader *r, int dirfd, const char *name);
/* TEXT is good until the next call. */
enum journal_read journal_reader_next(struct journal_reader *r, struct str *text);
/* Go on at OFFSET, the beginning of the line behind LINE. TEXT given out before is gone. False with errno. */
bool journal_reader_seek(struct journal_reader *r, int64_t offset, uint64_t line);
void journal_reader_close(struct journal_reader *r);

#endif
