/* For upstream_open.c and upstream_connection.c alone: how an opening connection becomes a live one. */
#ifndef JOBGATE_IO_UPSTREAM_OPEN_H
#define JOBGATE_IO_UPSTREAM_OPEN_H

struct upstream_connection;

/* Set the bufferevent's callbacks and let the handshake run. */
void upstream_connection_listen(struct upstream_connection *connection);
/* The handshake is over and good: from now on bytes count and the timer ends idleness. */
void upstream_connection_live(struct upstream_connection *connection);

/* What the bufferevent says while the connection is not open. */
void upstream_open_done(struct upstream_connection *connection);
void upstream_open_failed(struct upstream_connection *connection);

#endif
