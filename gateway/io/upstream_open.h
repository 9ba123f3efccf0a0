/* For the upstream_*.c files that open and hold connections alone: how an opening connection becomes a live one. */
#ifndef JOBGATE_IO_UPSTREAM_OPEN_H
#define JOBGATE_IO_UPSTREAM_OPEN_H

#include "io/upstream_private.h"

struct upstream_tunnel;

/* What a connection needs only while it opens. */
struct upstream_opening {
	struct resolver_ask *ask;	/* while resolving */
	struct resolver_answer addresses;
	size_t address_next;		/* the next to try */
	struct event *connecting;	/* the socket becomes writable */
	struct upstream_tunnel *tunnel;	/* while a proxy is asked for one */
	struct loop_timer timer;	/* the present attempt's share */
	struct mono_time deadline;
	enum upstream_phase phase;	/* as the call's, where it still has one */
};
/* NULL is nothing. */
void upstream_opening_free(struct upstream_opening **opening);

/* The opening has come to PHASE. */
void upstream_open_phase(struct upstream_connection *connection, enum upstream_phase phase);
/* It has failed: the call, where there is one, ends with it. */
void upstream_open_fail(struct upstream_connection *connection, enum upstream_reason reason, const char *detail);

/* Watch the socket; and no more. */
void upstream_connection_listen(struct upstream_connection *connection);
void upstream_connection_unlisten(struct upstream_connection *connection);

/* The way to the peer is there, directly or through a tunnel: begin the handshake, or be open where there is none. */
void upstream_open_wire(struct upstream_connection *connection);
/* The socket has changed while the connection is not open: go on with the handshake. */
void upstream_open_shake(struct upstream_connection *connection);

#endif
