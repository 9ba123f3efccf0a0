/*
 * For upstream_connection.c and upstream_open.c alone: what TLS and plain TCP do differently on an open connection.
 * Plain connections have no SSL.
 */
#ifndef JOBGATE_IO_UPSTREAM_WIRE_H
#define JOBGATE_IO_UPSTREAM_WIRE_H

#include "io/upstream_private.h"

/*
 * The handshake is over: a record's head and its body are read at once from here on. Records that came together are then in OpenSSL's
 * buffer, where libevent does not look: whoever has read must read on past libevent until upstream_wire_has_more is false.
 */
void upstream_wire_begin(struct upstream_connection *connection);
/* Bytes below libevent's input, be it a part of a record. */
bool upstream_wire_has_more(const struct upstream_connection *connection);
/* Look at the socket now: whether it is open and nothing has come. Tickets are taken in by the way. */
bool upstream_wire_is_quiet(struct upstream_connection *connection);
/*
 * Write at most a record past libevent, whose output is empty. False: nothing of it was sent as yet, or it fails; the same bytes
 * must then go into libevent's output, which tries again and tells faults.
 */
bool upstream_wire_write(struct upstream_connection *connection, struct str bytes);
/* Read past libevent what the socket still has; 0 or less at its end. */
int upstream_wire_read(struct upstream_connection *connection, char *bytes, size_t n);
/* Whether upstream_wire_read of TLS, which has returned N, found the end, and not only nothing as yet. */
bool upstream_wire_has_ended(const struct upstream_connection *connection, int n);
/* How the connection that ended with WHAT (BEV_EVENT_) and errno ERROR did so. WHY is never NULL, and static. */
struct upstream_wire_end { bool clean; const char *why; };
struct upstream_wire_end upstream_wire_end(struct upstream_connection *connection, short what, int error);
/* Say good-bye before the descriptor is closed; POLITE: with close_notify. */
void upstream_wire_shut(struct upstream_connection *connection, bool polite);

#endif
