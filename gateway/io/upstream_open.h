/* For the upstream_*.c files that open and hold connections alone: how an opening connection becomes a live one. */
#ifndef JOBGATE_IO_UPSTREAM_OPEN_H
#define JOBGATE_IO_UPSTREAM_OPEN_H

struct upstream_connection;

/* Set the bufferevent's callbacks and let the handshake run. */
void upstream_connection_listen(struct upstream_connection *connection);
/* The handshake is over and good: from now on bytes count and the timer ends idleness. */
void upstream_connection_live(struct upstream_connection *connection);

/* The way to the peer is there, directly or through a tunnel: begin the handshake, or be open where there is none. */
void upstream_open_wire(struct upstream_connection *connection);

/* What the bufferevent says while the connection is not open. */
void upstream_open_done(struct upstream_connection *connection);
void upstream_open_failed(struct upstream_connection *connection);

#endif
