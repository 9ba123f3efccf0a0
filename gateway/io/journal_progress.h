/* How far a reading of journals is; struct journal_progress is in io/journal.h. */
#ifndef JOBGATE_IO_JOURNAL_PROGRESS_H
#define JOBGATE_IO_JOURNAL_PROGRESS_H

#include "io/journal.h"

/* So many more bytes of the file NAME, a record, are read. PROGRESS may be NULL. */
void journal_progress_add(struct journal_progress *progress, const char *name, size_t bytes);

/* DIRECTORY is to be read TIMES times. */
void journal_progress_measure(struct journal_progress *progress, struct str directory, uint64_t times);

#endif
