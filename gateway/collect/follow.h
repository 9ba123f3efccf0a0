/*
 * A journal's directory that is followed into the database, while its gateway writes, rotates and deletes.
 *
 *   closed -> open (the journal is known) -> placed (its position in the database is known) -> reading, storing
 *
 * Whatever is not answered takes it back to open: all is read again from the position that the database then has. A
 * directory in its place is opened when this one is read to its end. A line that is no record of this journal, or does
 * not follow the one before, is looked at twice (a gateway may be cutting it off) and then stops the directory, with
 * the place in its log; others go on.
 */
#ifndef JOBGATE_COLLECT_FOLLOW_H
#define JOBGATE_COLLECT_FOLLOW_H

#include "collect/database.h"

struct follow;

/* DIRECTORY and TAKEN (NULL: collected.json in the directory) are borrowed. */
struct follow *follow_new(const char *directory, const char *taken);
void follow_free(struct follow **follow);

enum follow_step {
	FOLLOW_MOVED,		/* something was read or stored: there may be more */
	FOLLOW_IDLE,		/* all that is there is stored, or the directory cannot be read at present */
	FOLLOW_AWAY,		/* the database is */
	FOLLOW_STOPPED,		/* for good; announced */
};

/* Read and store the next records. */
enum follow_step follow_step(struct follow *follow, struct database *db);

/* Whether, being idle, all that is in the directory is stored: it could be read. */
bool follow_is_whole(const struct follow *follow);

/* Records stored since start. */
uint64_t follow_stored(const struct follow *follow);

#endif
