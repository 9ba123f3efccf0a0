/* One open connection: what comes, what goes, how it is looked at before use, and its end. */
#include "io/upstream_private.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "io/upstream_open.h"
#include "io/upstream_tunnel.h"
#include "io/upstream_wire.h"

/*
 * The most that a TLS record holds (RFC 8446 5.1). The output is made of pieces of at most one record, so that
 * SSL_write either takes a piece whole or nothing of it has become readable for the peer: with larger ones it sends
 * records before it says "not yet", and the count of written bytes would say 0 of a request that was received.
 */
#define UPSTREAM_RECORD_BYTES 16384

bool
upstream_connection_has_more(const struct upstream_connection *connection)
{
	return evbuffer_get_length(bufferevent_get_input(connection->bev)) > 0 || upstream_wire_has_more(connection);
}

bool
upstream_connection_is_quiet(struct upstream_connection *connection)
{
	/* Reads the socket: a close_notify or FIN or a response that nobody asked for is found. */
	return !upstream_connection_has_more(connection) && upstream_wire_is_quiet(connection);
}

/*
 * Hand what has come to the call, as long as it holds the connection: what libevent has read, then what came with it. What nobody
 * asked for ends the connection. False: the end came with it too, and has not been told.
 */
static bool
connection_take(struct upstream_connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->bev);
	char bytes[UPSTREAM_RECORD_BYTES];
	int n = 1;

	while (connection->call && (n = evbuffer_remove(input, bytes, sizeof(bytes))) > 0)
		upstream_call_take(connection->call, (struct str){ bytes, (size_t)n });
	for (n = 1; connection->call && n > 0 && upstream_wire_has_more(connection);)
		if ((n = upstream_wire_read(connection, bytes, sizeof(bytes))) > 0)
			upstream_call_take(connection->call, (struct str){ bytes, (size_t)n });
	if (connection->place == UPSTREAM_IDLE && evbuffer_get_length(input) > 0)
		upstream_connection_close(connection, false);
	return n > 0 || connection->call == NULL || !upstream_wire_has_ended(connection, n);
}

static void connection_over(struct upstream_connection *connection, short what);

/* Bytes have come. */
static void
on_readable(struct bufferevent *bev, void *arg)
{
	struct upstream_connection *connection = arg;

	(void)bev;
	check_magic(connection, UPSTREAM_CONNECTION_MAGIC);
	if (!connection_take(connection))
		connection_over(connection, BEV_EVENT_READING | BEV_EVENT_EOF);
}

/* Bytes were added to the output, or SSL_write has taken some. */
static void
on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
	struct upstream_connection *connection = arg;

	(void)output;
	check_magic(connection, UPSTREAM_CONNECTION_MAGIC);
	if (info->n_deleted > 0 && connection->call)
		upstream_call_wrote(connection->call, info->n_deleted);
}

/* A write failed: read what the peer said before it closed, such as a 413 to a body that it did not want. */
static void
connection_take_last(struct upstream_connection *connection)
{
	char bytes[UPSTREAM_RECORD_BYTES];
	int n;

	while (connection->call && (n = upstream_wire_read(connection, bytes, sizeof(bytes))) > 0)
		upstream_call_take(connection->call, (struct str){ bytes, (size_t)n });
}

/* The connection is over: say so to whoever has it. */
static void
connection_over(struct upstream_connection *connection, short what)
{
	int error = EVUTIL_SOCKET_ERROR();
	struct upstream_wire_end end;

	connection_take(connection);	/* libevent tells the end before the bytes that came with it */
	if (what & BEV_EVENT_WRITING)
		connection_take_last(connection);
	end = upstream_wire_end(connection, what, error);
	if (connection->call)
		upstream_call_closed(connection->call, end.clean, end.why);
	else if (connection->place != UPSTREAM_DEAD)
		upstream_connection_close(connection, end.clean);
}

/* The handshake or the connection has ended. */
static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct upstream_connection *connection = arg;

	(void)bev;
	check_magic(connection, UPSTREAM_CONNECTION_MAGIC);
	if (connection->open)
		connection_over(connection, what);
	else if (what & BEV_EVENT_CONNECTED)
		upstream_open_done(connection);
	else
		upstream_open_failed(connection);
}

void
upstream_connection_listen(struct upstream_connection *connection)
{
	bufferevent_setcb(connection->bev, on_readable, NULL, on_event, connection);
	bufferevent_enable(connection->bev, EV_READ | EV_WRITE);
}

/* The connection has been idle long enough. */
static void
on_idle_end(void *arg)
{
	struct upstream_connection *connection = arg;

	check_magic(connection, UPSTREAM_CONNECTION_MAGIC);
	upstream_connection_close(connection, true);
}

void
upstream_connection_live(struct upstream_connection *connection)
{
	upstream_wire_begin(connection);
	check(evbuffer_add_cb(bufferevent_get_output(connection->bev), on_output, connection) != NULL);
	loop_timer_init(&connection->timer, connection->upstream->loop, on_idle_end, connection);
}

/* Give a run's memory back when libevent is done with its last piece, without the credentials that were in it. */
static void
on_run_sent(const void *bytes, size_t n, void *arg)
{
	char *run = arg;

	explicit_bzero(run, (size_t)((const char *)bytes + n - run));
	free(run);
}

/* Move a run of bytes to the end of OUTPUT, in pieces of a record. */
static void
connection_queue(struct evbuffer *output, struct buf *run)
{
	struct buf taken = buf_take(run);

	for (size_t at = 0; at < taken.n; at += UPSTREAM_RECORD_BYTES) {
		bool last = taken.n - at <= UPSTREAM_RECORD_BYTES;
		size_t n = last ? taken.n - at : UPSTREAM_RECORD_BYTES;

		check(evbuffer_add_reference(output, taken.p + at, n, last ? on_run_sent : NULL, taken.p) == 0);
	}
	if (taken.n == 0)
		buf_fini(&taken);
}

void
upstream_connection_write(struct upstream_connection *connection, struct str head, struct buf *body)
{
	struct evbuffer *output = bufferevent_get_output(connection->bev);
	struct buf first = BUF_EMPTY;

	check(connection->open && evbuffer_get_length(output) == 0);
	buf_room(&first, head.n + body->n);	/* once, so that growing leaves no copy of a credential */
	buf_add(&first, head);
	if (first.n + body->n <= UPSTREAM_RECORD_BYTES) {	/* one record, one packet more often than two */
		buf_add(&first, buf_str(body));
		buf_wipe(body);
	}
	if (body->n == 0 && first.n <= UPSTREAM_RECORD_BYTES && upstream_wire_write(connection, buf_str(&first))) {
		upstream_call_wrote(connection->call, first.n);
		buf_wipe(&first);
		return;
	}
	connection_queue(output, &first);
	connection_queue(output, body);
}

void
upstream_connection_close(struct upstream_connection *connection, bool polite)
{
	if (connection->place == UPSTREAM_DEAD)
		return;
	connection->call = NULL;
	loop_timer_clear(&connection->timer);
	resolver_cancel(&connection->ask);
	if (connection->connecting)
		event_free(connection->connecting);
	connection->connecting = NULL;
	upstream_tunnel_free(&connection->tunnel);
	if (connection->bev) {
		bufferevent_setcb(connection->bev, NULL, NULL, NULL, NULL);
		bufferevent_disable(connection->bev, EV_READ | EV_WRITE);
	}
	if (connection->open)
		upstream_wire_shut(connection, polite);
	upstream_move(connection, UPSTREAM_DEAD);
}

void
upstream_connection_free(struct upstream_connection *connection)
{
	loop_timer_fini(&connection->timer);
	if (connection->fd >= 0)
		close(connection->fd);
	if (connection->bev)
		bufferevent_free(connection->bev);
	connection->magic = 0;
	free(connection);
}
