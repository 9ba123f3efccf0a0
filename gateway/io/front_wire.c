/*
 * The front's connections on the wire: reads into a place that all share, writes that do not wait
 * for the loop where the socket takes the bytes. An idle connection holds no buffer.
 */
#include "io/front.h"
#include "io/front_private.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"

void
front_wire_open(struct front_conn *conn)
{
	if (conn->listener->tls) {
		conn->ssl = tls_server_ssl(conn->listener->tls);
		check(SSL_set_fd(conn->ssl, conn->fd) == 1);
	}
	front_wire_watch(conn);
}

void
front_wire_watch(struct front_conn *conn)
{
	bool reads = conn->open ? !conn->paused : conn->lingering;
	unsigned what = (reads ? LOOP_SOCKET_READ : 0) | (conn->open && conn->blocked ? LOOP_SOCKET_WRITE : 0);

	loop_sockets_watch(conn->front->sockets, conn->fd, conn->watched, what, conn);
	conn->watched = what;
}

/* What a read or write of TLS that brought N, not above 0, waits for; false where there is nothing more to wait for. */
static bool
wire_waits(struct front_conn *conn, int n)
{
	int why = SSL_get_error(conn->ssl, n);

	conn->blocked = conn->blocked || why == SSL_ERROR_WANT_WRITE;
	ERR_clear_error();
	return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

/* A handshake that has ended gives the head a time of its own. */
static void
wire_end_handshake(struct front_conn *conn)
{
	if (conn->handshaken || !SSL_is_init_finished(conn->ssl))
		return;
	conn->handshaken = true;
	front_guard_forget_deadline(conn);
	front_conn_schedule(conn);
}

/* Read once into IN, which has room for ROOM bytes; false at the end of what the client sends. What is left wakes the loop again. */
static bool
wire_read(struct front_conn *conn, char *in, size_t room, struct str *bytes)
{
	ssize_t n;
	bool waits;

	if (conn->ssl) {
		ERR_clear_error();
		n = SSL_read(conn->ssl, in, (int)room);
		waits = n > 0 || wire_waits(conn, (int)n);
		wire_end_handshake(conn);
	} else {
		n = recv(conn->fd, in, room, 0);
		waits = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
	}
	*bytes = (struct str){ in, n > 0 ? (size_t)n : 0 };
	return waits;
}

/* Give BYTES to the kernel; how many it took. */
static size_t
wire_send(struct front_conn *conn, struct str bytes)
{
	ssize_t n;

	if (conn->ssl) {
		int most = bytes.n > INT_MAX ? INT_MAX : (int)bytes.n;

		ERR_clear_error();
		n = SSL_write(conn->ssl, bytes.p, most);	/* all or nothing: what of it is sent already, OpenSSL knows */
		conn->broken = n <= 0 && !wire_waits(conn, (int)n);
	} else {
		n = send(conn->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
		conn->broken = n < 0 && errno != EAGAIN && errno != EINTR;
	}
	return n > 0 ? (size_t)n : 0;
}

struct buf *
front_wire_out(struct front_conn *conn)
{
	if (conn->out.p == NULL)
		conn->out = spare_bufs_take(&conn->front->spares);
	return &conn->out;
}

/* All of it is written: another answer may have the memory. */
static void
wire_give_out(struct front_conn *conn)
{
	conn->out_at = 0;
	spare_bufs_give(&conn->front->spares, &conn->out);
}

void
front_wire_flush(struct front_conn *conn)
{
	struct str rest = str_sub(buf_str(&conn->out), conn->out_at, conn->out.n);

	conn->blocked = false;
	if (conn->ssl && !conn->handshaken)
		return;		/* the handshake's own bytes come first; its end leads here again */
	if (rest.n > 0)
		conn->out_at += wire_send(conn, rest);
	if (conn->broken)
		front_conn_schedule(conn);
	else if (conn->out_at < conn->out.n)
		conn->blocked = true;
	else if (rest.n > 0)
		wire_give_out(conn);
	front_wire_watch(conn);
}

void
front_wire_flush_later(struct front_conn *conn)
{
	conn->blocked = true;
	front_wire_watch(conn);
}

/* Read what is to be looked at; false at the end. */
static bool
wire_read_any(struct front_conn *conn)
{
	struct front *front = conn->front;
	struct str bytes;
	bool more = wire_read(conn, front->in, FRONT_READ_BYTES, &bytes);

	if (bytes.n > 0) {
		front_conn_receive(conn, bytes);
		explicit_bzero(front->in, bytes.n);	/* it may be the last for a long time, and has credentials */
	}
	return more || bytes.n > 0;
}

/* Read the rest of a body to where it stays, in as few pieces as come: it is copied nowhere and grows nowhere. */
static bool
wire_read_body(struct front_conn *conn, struct buf *body)
{
	struct front_request *request = conn->request;
	struct str bytes;
	bool more = wire_read(conn, buf_room(body, (size_t)request->body_left), (size_t)request->body_left, &bytes);

	body->n += bytes.n;
	request->body_left -= bytes.n;
	conn->heard = true;
	front_conn_schedule(conn);
	return more;
}

/* Read once. Of a TLS record nothing may be left, since no socket tells of it. */
static bool
wire_receive(struct front_conn *conn)
{
	struct buf *body = front_guard_body(conn);

	if (body && (conn->ssl == NULL || conn->request->body_left >= FRONT_READ_BYTES))
		return wire_read_body(conn, body);
	return wire_read_any(conn);
}

void
front_wire_ready(void *arg, unsigned what)
{
	struct front_conn *conn = arg;

	check_magic(conn, FRONT_CONN_MAGIC);
	what &= conn->watched;
	if (what & LOOP_SOCKET_WRITE) {
		front_wire_flush(conn);
		front_conn_schedule(conn);
	}
	/* A handshake that waited to write goes on by reading. */
	if (conn->broken || ((what & LOOP_SOCKET_READ) == 0 && (conn->ssl == NULL || conn->handshaken)))
		return;
	if (front_move_away(conn))
		return;
	if (!wire_receive(conn))
		front_conn_end_of_input(conn);
	front_wire_watch(conn);
}

bool
front_wire_is_written(const struct front_conn *conn)
{
	return conn->out.n == 0 && !conn->broken;
}

void
front_wire_shutdown(struct front_conn *conn)
{
	/* Behind half an answer a close_notify would call that a whole one (RFC 8446 6.1). */
	if (conn->ssl && conn->handshaken && front_wire_is_written(conn)) {
		SSL_shutdown(conn->ssl);
		ERR_clear_error();
	}
	shutdown(conn->fd, SHUT_WR);
}

void
front_wire_fini(struct front_conn *conn)
{
	loop_sockets_watch(conn->front->sockets, conn->fd, conn->watched, 0, conn);
	conn->watched = 0;
	SSL_free(conn->ssl);
	conn->ssl = NULL;
	buf_fini(&conn->raw);
	buf_fini(&conn->out);
}

const struct tls_peer *
front_certificate(struct front_request *request)
{
	struct front_conn *conn = request->conn;
	struct tls_server *server;

	if (conn == NULL || conn->ssl == NULL)
		return NULL;
	server = conn->listener->tls;
	if (conn->certificate_by != tls_server_number(server)) {
		tls_peer_free(&conn->certificate);
		conn->certificate = tls_server_peer(server, conn->ssl);
		conn->certificate_by = tls_server_number(server);
	}
	return conn->certificate;
}
