/*
 * For upstream_connection.c and upstream_open.c alone: what TLS and plain TCP do differently on a connection's socket.
 * Plain connections have no SSL.
 *
 * OpenSSL is driven on the socket itself. What reads or writes returns how many bytes, 0 where the socket has to be waited for, and
 * -1 where the connection is over. The thread's list of OpenSSL's errors is not asked which of these it is, and so not cleared before.
 */
#ifndef JOBGATE_IO_UPSTREAM_WIRE_H
#define JOBGATE_IO_UPSTREAM_WIRE_H

#include "io/upstream_private.h"

/* TCP, or the tunnel, is there: make the SSL where there is TLS. */
void upstream_wire_begin(struct upstream_connection *connection);
/* Go on with the handshake; 1: it is over. From then on a record's head and body, and all that came with it, are read at once. */
int upstream_wire_shake(struct upstream_connection *connection);
/* Keep the record's buffers, 34 KB, between records; else each record's reading and writing allocates one and frees it. */
void upstream_wire_keep_buffers(struct upstream_connection *connection);
/* Bytes that were read with others and not given out yet, be it a part of a record: the socket wakes nobody for them. */
bool upstream_wire_has_more(const struct upstream_connection *connection);
/* Look at the socket now: whether it is open and nothing has come. Tickets are taken in by the way. */
bool upstream_wire_is_quiet(struct upstream_connection *connection);
int upstream_wire_read(struct upstream_connection *connection, char *bytes, size_t n);
/*
 * Write at most a record. TLS takes it whole or not at all: 0 says that nothing of it has become readable for the peer; the same
 * bytes must then be written again, from wherever they are.
 */
int upstream_wire_write(struct upstream_connection *connection, struct str bytes);
/* Whether what returned 0 waits for room in the socket. */
bool upstream_wire_wants_room(const struct upstream_connection *connection);
/* How a connection that is over ended. WHY is never NULL, and static. */
struct upstream_wire_end { bool clean; const char *why; };
struct upstream_wire_end upstream_wire_end(struct upstream_connection *connection);
/* Why the handshake failed; never NULL, and static. */
const char *upstream_wire_shake_failure(struct upstream_connection *connection);
/* Say good-bye before the descriptor is closed; POLITE: with close_notify. */
void upstream_wire_shut(struct upstream_connection *connection, bool polite);
/* Free the SSL. */
void upstream_wire_free(struct upstream_connection *connection);

#endif
