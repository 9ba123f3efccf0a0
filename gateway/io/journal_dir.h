/*
 * The journal's directory: made, locked, named, and its checkpoint.
 *
 *   lock                 the holder's pid; locked (flock) while a process owns the directory
 *   journal.id           the journal's UUID, made once
 *   journal.checkpoint   where a start begins to look for open intents, and how far the journal had come; rewritten
 *                        at each new file and at a clean stop. Missing or damaged: a start reads all files.
 */
#ifndef JOBGATE_IO_JOURNAL_DIR_H
#define JOBGATE_IO_JOURNAL_DIR_H

#include "base/buf.h"
#include "io/journal_chain.h"

/* Open DIRECTORY, made if missing (0750; its parent must be there). -1 and a sentence in ERROR. */
int journal_dir_open(struct str directory, struct buf *error);

/* Lock it for this process: the lock's descriptor, or -1 and a sentence with the holder's pid. */
int journal_dir_lock(int dirfd, struct str directory, struct buf *error);

/* A UUID (version 4) for a new journal. */
void journal_uuid_make(char uuid[JOURNAL_UUID_BYTES + 1]);

/*
 * Put BYTES under NAME so that a reader sees the old file or the new one, whole and durable. False with errno; the old
 * one then stands.
 */
bool journal_small_write(int dirfd, const char *name, struct str bytes);

enum journal_found { JOURNAL_FOUND, JOURNAL_MISSING, JOURNAL_DAMAGED };

/* Read journal.id. DAMAGED: unreadable (errno) or of another form (errno 0). */
enum journal_found journal_id_read(int dirfd, char uuid[JOURNAL_UUID_BYTES + 1]);
bool journal_id_write(int dirfd, const char *uuid);

struct journal_checkpoint {
	uint64_t segment;		/* first seq of the oldest file that can hold an open intent */
	struct journal_head head;	/* this far the journal was on the disk */
};

/* UUID empty: of any journal. */
enum journal_found journal_checkpoint_read(int dirfd, struct str uuid, struct journal_checkpoint *checkpoint);
/* False with errno; the old one then stands, and is still true. */
bool journal_checkpoint_write(int dirfd, struct str uuid, const struct journal_checkpoint *checkpoint);

#endif
