/*
 * The database that the journals are collected in (deploy/collect.sql): a table of records, and a table that says of
 * each journal how far it has been taken.
 *
 * Rows and position are one transaction, and the position's row is locked while they are written: whoever else follows
 * the same journal finds it moved. So a record is stored once, whatever was not answered. A database that is away is
 * announced, and tried again with growing pauses.
 */
#ifndef JOBGATE_COLLECT_DATABASE_H
#define JOBGATE_COLLECT_DATABASE_H

#include "collect/batch.h"

struct database;

/* CONNINFO: libpq's connection string, borrowed; NULL: the environment says all. */
struct database *database_new(const char *conninfo);
void database_free(struct database **db);

enum database_answer {
	DATABASE_OK,
	DATABASE_AWAY,		/* nothing is known of what was asked last; announced */
	DATABASE_MOVED,		/* the journal's position was another: nothing was stored */
	DATABASE_REFUSED,	/* a row cannot be stored, ever; database_why says so */
};

/* How far journal UUID has been taken; seq 0: not at all. OK or AWAY. */
enum database_answer database_position(struct database *db, const char *uuid, struct journal_head *position);

/*
 * Store BATCH of journal UUID, and move its *POSITION to the batch's last record. Where it has MOVED, *POSITION is what
 * it is now.
 */
enum database_answer database_store(struct database *db, const char *uuid, struct journal_head *position,
    const struct batch *batch);

/* Why the last answer was not OK. */
struct str database_why(const struct database *db);

/* How long until it is tried again; 0: at once. */
int64_t database_pause_us(const struct database *db);

#endif
