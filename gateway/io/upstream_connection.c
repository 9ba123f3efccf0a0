/* One open connection: what comes, what goes, how it is looked at before use, and its end. */
#include "io/upstream_private.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "io/loop_event.h"
#include "io/upstream_open.h"
#include "io/upstream_wire.h"

/*
 * The most that a TLS record holds (RFC 8446 5.1). A message goes out in pieces of at most one record, so that SSL_write either takes a
 * piece whole or nothing of it has become readable for the peer: with larger ones it sends records before it says "not yet", and the
 * count of written bytes would say 0 of a request that was received.
 */
#define UPSTREAM_RECORD_BYTES 16384

bool
upstream_connection_has_more(const struct upstream_connection *connection)
{
	return connection->heard_n > 0 || upstream_wire_has_more(connection);
}

bool
upstream_connection_is_quiet(struct upstream_connection *connection, struct mono_time since)
{
	if (upstream_connection_has_more(connection))
		return false;
	if (loop_turn_is_since(connection->upstream->loop, since))
		return true;
	/* Reads the socket: a close_notify or FIN or a response that nobody asked for is found. */
	return upstream_wire_is_quiet(connection);
}

/* Be told when the socket has room. */
static void
connection_await_room(struct upstream_connection *connection)
{
	check(event_add(connection->writable, NULL) == 0);
}

/* Forget what was to be written, and wipe it: it holds credentials. */
static void
connection_forget_output(struct upstream_connection *connection)
{
	buf_wipe(&connection->output);
	connection->output_at = 0;
}

/* The connection is over: say so to whoever has it. */
static void
connection_over(struct upstream_connection *connection)
{
	struct upstream_wire_end end = upstream_wire_end(connection);

	if (connection->call)
		upstream_call_closed(connection->call, end.clean, end.why);
	else if (connection->place != UPSTREAM_DEAD)
		upstream_connection_close(connection, end.clean);
}

/* Hand bytes to the call. What nobody asked for ends the connection. */
static void
connection_hand_over(struct upstream_connection *connection, struct str bytes)
{
	if (connection->call)
		upstream_call_take(connection->call, bytes);
	else
		upstream_connection_close(connection, false);
}

/* Read once, into BYTES with room for a record; more than 0 are to be handed over, and all else was seen to. */
static int
connection_read(struct upstream_connection *connection, char *bytes)
{
	int n = upstream_wire_read(connection, bytes, UPSTREAM_RECORD_BYTES);

	if (n < 0)
		connection_over(connection);
	else if (n == 0 && connection->ssl && upstream_wire_wants_room(connection))
		connection_await_room(connection);
	return n;
}

/* Forget what was read, which was handed over or is nobody's. */
static void
connection_forget_heard(struct upstream_connection *connection)
{
	if (connection->heard_n > 0)
		TAILQ_REMOVE(&connection->upstream->heard_from, connection, heard_entry);
	connection->heard_n = 0;
}

/* Hand over what was read, and what has come with it, as long as the call holds the connection. */
static void
connection_take(struct upstream_connection *connection)
{
	struct str heard = { connection->upstream->heard + connection->heard_at, connection->heard_n };
	char bytes[UPSTREAM_RECORD_BYTES];
	int n = 1;

	connection_forget_heard(connection);
	connection_hand_over(connection, heard);
	while (n > 0 && connection->call && upstream_wire_has_more(connection))
		if ((n = connection_read(connection, bytes)) > 0)
			connection_hand_over(connection, (struct str){ bytes, (size_t)n });
}

void
upstream_hear(void *arg)
{
	struct upstream *upstream = arg;
	struct upstream_connection *connection;

	check_magic(upstream, UPSTREAM_MAGIC);
	while ((connection = TAILQ_FIRST(&upstream->heard_from)) != NULL)
		connection_take(connection);
	if (upstream->heard_n > 0)
		explicit_bzero(upstream->heard, upstream->heard_n);
	upstream->heard_n = 0;
}

/*
 * Read what has come, to be handed over when the turn's other connections were read. One read finds the socket empty unless it was
 * filled, since TLS reads ahead; what comes meanwhile wakes the loop.
 */
static void
connection_hear(struct upstream_connection *connection)
{
	struct upstream *upstream = connection->upstream;
	int n;

	if (connection->heard_n > 0 || UPSTREAM_HEARD_BYTES - upstream->heard_n < UPSTREAM_RECORD_BYTES)
		upstream_hear(upstream);
	if (connection->place == UPSTREAM_DEAD)
		return;
	if (upstream->heard == NULL)
		upstream->heard = malloc(UPSTREAM_HEARD_BYTES);
	check(upstream->heard != NULL);
	n = connection_read(connection, upstream->heard + upstream->heard_n);
	if (n <= 0)
		return;
	connection->heard_at = upstream->heard_n;
	connection->heard_n = (size_t)n;
	upstream->heard_n += (size_t)n;
	TAILQ_INSERT_TAIL(&upstream->heard_from, connection, heard_entry);
	loop_at_turn_end(upstream->loop, &upstream->hear);
}

/* A write failed: read what the peer said before it closed, such as a 413 to a body that it did not want. */
static void
connection_take_last(struct upstream_connection *connection)
{
	int error = connection->error, n = 0;
	char bytes[UPSTREAM_RECORD_BYTES];

	if (connection->heard_n > 0)
		connection_take(connection);
	while (connection->call && (n = upstream_wire_read(connection, bytes, sizeof(bytes))) > 0)
		upstream_call_take(connection->call, (struct str){ bytes, (size_t)n });
	if (n == 0)
		connection->error = error;
	connection_over(connection);
}

/* Write BYTES record by record, as far as the socket takes them; how many it took. A fault ends the connection. */
static size_t
connection_push(struct upstream_connection *connection, struct str bytes)
{
	size_t at = 0;
	int n = 1;

	while (at < bytes.n && (n = upstream_wire_write(connection, str_sub(bytes, at, at + UPSTREAM_RECORD_BYTES))) > 0) {
		at += (size_t)n;
		upstream_call_wrote(connection->call, (size_t)n);
	}
	if (n < 0)
		connection_take_last(connection);
	else if (n == 0 && upstream_wire_wants_room(connection))
		connection_await_room(connection);
	return at;
}

/* Write on what waits. */
static void
connection_flush(struct upstream_connection *connection)
{
	struct str left = str_sub(buf_str(&connection->output), connection->output_at, connection->output.n);
	size_t n = connection_push(connection, left);

	if (connection->place == UPSTREAM_DEAD)
		return;
	connection->output_at += n;
	if (n == left.n)
		connection_forget_output(connection);
}

/* Something has come: the handshake goes on, or bytes are there. */
static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_connection *connection = arg;

	(void)fd;
	(void)what;
	check_magic(connection, UPSTREAM_CONNECTION_MAGIC);
	loop_waits_no_more(connection->upstream->loop);
	if (!connection->open) {
		upstream_open_shake(connection);
		return;
	}
	connection_hear(connection);
	if (connection->output.n > 0)
		connection_flush(connection);	/* the record that it waited for may have come */
}

/* The socket has room. */
static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_connection *connection = arg;

	(void)fd;
	(void)what;
	check_magic(connection, UPSTREAM_CONNECTION_MAGIC);
	if (!connection->open)
		upstream_open_shake(connection);
	else if (connection->output.n > 0)
		connection_flush(connection);
	else
		connection_hear(connection);
}

void
upstream_connection_listen(struct upstream_connection *connection)
{
	struct event_base *base = loop_base(connection->upstream->loop);

	connection->readable = event_new(base, connection->fd, EV_READ | EV_PERSIST, on_readable, connection);
	connection->writable = event_new(base, connection->fd, EV_WRITE, on_writable, connection);
	check(connection->readable != NULL && connection->writable != NULL && event_add(connection->readable, NULL) == 0);
}

void
upstream_connection_unlisten(struct upstream_connection *connection)
{
	if (connection->readable)
		event_free(connection->readable);
	if (connection->writable)
		event_free(connection->writable);
	connection->readable = connection->writable = NULL;
}

void
upstream_connection_write(struct upstream_connection *connection, struct str message)
{
	size_t n;

	check(connection->open && connection->output.n == 0);
	n = connection_push(connection, message);	/* nearly always all of it, from where it is */
	if (n == message.n || connection->place == UPSTREAM_DEAD)
		return;
	buf_room(&connection->output, message.n - n);	/* once, so that growing leaves no copy of a credential */
	buf_add(&connection->output, str_sub(message, n, message.n));
}

void
upstream_connection_close(struct upstream_connection *connection, bool polite)
{
	if (connection->place == UPSTREAM_DEAD)
		return;
	connection->call = NULL;
	upstream_opening_free(&connection->opening);
	upstream_connection_unlisten(connection);
	connection_forget_output(connection);
	connection_forget_heard(connection);
	if (connection->open)
		upstream_wire_shut(connection, polite);
	upstream_move(connection, UPSTREAM_DEAD);
}

void
upstream_connection_free(struct upstream_connection *connection)
{
	upstream_wire_free(connection);
	if (connection->warm)
		connection->upstream->warm_count--;
	if (connection->fd >= 0)
		close(connection->fd);
	connection->magic = 0;
	free(connection);
}
