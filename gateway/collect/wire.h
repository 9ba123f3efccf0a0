/*
 * libpq with a deadline for everything: connections are opened and statements run without its blocking calls, so that a
 * database that hangs is one that is away.
 *
 * The names are looked up by libpq itself, which blocks; stop.h is what ends the program then.
 */
#ifndef JOBGATE_COLLECT_WIRE_H
#define JOBGATE_COLLECT_WIRE_H

#include <libpq-fe.h>

#include "base/buf.h"

/*
 * Connect as CONNINFO says (NULL: as the environment says, PGHOST and so on), to a server that can be written to unless
 * that is said otherwise. NULL with a sentence in WHY.
 */
PGconn *wire_connect(const char *conninfo, struct buf *why);

/*
 * Run SQL, statements divided by semicolons. The result of the first that failed, else of the last, for PQclear; NULL
 * where no answer came: the connection is of no more use, WHY has a sentence.
 */
PGresult *wire_query(PGconn *conn, const char *sql, struct buf *why);

/* Run SQL, a COPY FROM STDIN, with ROWS in text format. Returns as wire_query does. */
PGresult *wire_copy(PGconn *conn, const char *sql, struct str rows, struct buf *why);

/* Append libpq's MESSAGE as one line. */
void wire_message(struct buf *why, const char *message);

#endif
