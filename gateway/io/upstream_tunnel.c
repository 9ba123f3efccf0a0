/*
 * Asking a proxy for a tunnel.
 *
 *   question written ─► answer's head read ─► upstream_open_wire, or upstream_call_fail
 *
 * The descriptor is read here without libevent's buffers, so that no byte behind the head is lost to the handshake. There should
 * be none: in TLS the client speaks first.
 */
#include "io/upstream_tunnel.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "io/loop_event.h"
#include "io/upstream_open.h"
#include "io/upstream_private.h"

#define UPSTREAM_TUNNEL_MAGIC 0x74756e6e
/* Far above what a proxy has to say before a tunnel. */
#define UPSTREAM_TUNNEL_HEAD_BYTES 16384

struct upstream_tunnel {
	uint32_t magic;
	struct upstream_connection *connection;
	struct event *readable;
	struct buf answer;		/* what has come */
	struct http1_scan scan;
};

static const struct http1_limits tunnel_limits = { .head_bytes = UPSTREAM_TUNNEL_HEAD_BYTES };

/* Fail the opening; the tunnel is freed with the connection's end. */
static void
tunnel_fail(struct upstream_tunnel *tunnel, const char *detail)
{
	upstream_open_fail(tunnel->connection, UPSTREAM_REASON_PROXY, detail);
}

/* The head is whole: only 2xx gives a tunnel, whatever framing it claims (RFC 9110 9.3.6). */
static void
tunnel_judge(struct upstream_tunnel *tunnel, size_t head_n)
{
	struct upstream_connection *connection = tunnel->connection;
	struct http1_head head;
	bool behind = tunnel->answer.n > head_n;
	char detail[64];

	/* HEAD: like a tunnel's answer it has no body, and its framing fields say nothing of what follows. */
	if (http1_parse_response(str_sub(buf_str(&tunnel->answer), 0, head_n), STR("HEAD"), &tunnel_limits, &head) != HTTP1_OK) {
		tunnel_fail(tunnel, "the proxy's answer is not HTTP/1.1");
	} else if (head.status < 200 || head.status > 299) {
		snprintf(detail, sizeof(detail), "the proxy answered %d", head.status);
		tunnel_fail(tunnel, detail);
	} else if (behind) {
		tunnel_fail(tunnel, "the proxy sent bytes before the handshake");
	} else {
		upstream_tunnel_free(&connection->opening->tunnel);
		upstream_open_wire(connection);
	}
}

/* Bytes of the answer have come. */
static void
tunnel_take(struct upstream_tunnel *tunnel)
{
	enum http1_fault fault;
	size_t head_n;

	head_n = http1_scan_head(&tunnel->scan, buf_str(&tunnel->answer), &tunnel_limits, &fault);
	if (fault != HTTP1_OK)
		tunnel_fail(tunnel, "the proxy's answer is not HTTP/1.1");
	else if (head_n > 0)
		tunnel_judge(tunnel, head_n);
}

/* Read what the proxy says. */
static void
tunnel_read(struct upstream_tunnel *tunnel, int fd)
{
	ssize_t n = recv(fd, buf_room(&tunnel->answer, UPSTREAM_TUNNEL_HEAD_BYTES), UPSTREAM_TUNNEL_HEAD_BYTES, 0);

	if (n > 0) {
		tunnel->answer.n += (size_t)n;
		tunnel_take(tunnel);
	} else if (n == 0) {
		tunnel_fail(tunnel, "the proxy closed the connection before its answer");
	} else if (errno != EAGAIN && errno != EINTR) {
		tunnel_fail(tunnel, strerror(errno));
	}
}

/* The proxy has said something, or has gone. */
static void
on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_tunnel *tunnel = arg;

	(void)what;
	check_magic(tunnel, UPSTREAM_TUNNEL_MAGIC);
	tunnel_read(tunnel, fd);
}

/* The question: the peer's name and our credentials for the proxy. */
static void
tunnel_question(const struct upstream *upstream, struct buf *out)
{
	bool ipv6 = strchr(upstream->host, ':') != NULL;
	struct buf authority = BUF_EMPTY;

	buf_printf(&authority, ipv6 ? "[%s]:%u" : "%s:%u", upstream->host, upstream->settings.port);
	buf_room(out, 2 * authority.n + upstream->proxy.authorization.n + 128);	/* once: a copy left behind would hold the password */
	buf_printf(out, "CONNECT %.*s HTTP/1.1\r\nHost: %.*s\r\n", STR_ARG(buf_str(&authority)), STR_ARG(buf_str(&authority)));
	if (upstream->proxy.authorization.n > 0)
		buf_printf(out, "Proxy-Authorization: %.*s\r\n", STR_ARG(upstream->proxy.authorization));
	buf_add_z(out, "\r\n");
	buf_fini(&authority);
}

/* Ask; NULL, or why that failed. An empty socket takes so few bytes at once. */
static const char *
tunnel_ask(const struct upstream *upstream, int fd)
{
	struct buf question = BUF_EMPTY;
	const char *why = NULL;
	ssize_t n;

	tunnel_question(upstream, &question);
	n = send(fd, question.p, question.n, MSG_NOSIGNAL);
	if (n < 0)
		why = strerror(errno);
	else if ((size_t)n < question.n)
		why = "the proxy does not read";
	buf_wipe(&question);
	return why;
}

void
upstream_tunnel_begin(struct upstream_connection *connection)
{
	struct upstream_tunnel *tunnel = calloc(1, sizeof(*tunnel));
	const char *why;

	check(tunnel != NULL);
	tunnel->magic = UPSTREAM_TUNNEL_MAGIC;
	tunnel->connection = connection;
	http1_scan_init(&tunnel->scan, false);
	tunnel->readable = event_new(loop_base(connection->upstream->loop), connection->fd, EV_READ | EV_PERSIST, on_answer, tunnel);
	check(tunnel->readable != NULL && event_add(tunnel->readable, NULL) == 0);
	connection->opening->tunnel = tunnel;
	upstream_open_phase(connection, UPSTREAM_TUNNEL);
	why = tunnel_ask(connection->upstream, connection->fd);
	if (why != NULL)
		tunnel_fail(tunnel, why);
}

void
upstream_tunnel_free(struct upstream_tunnel **tunnel_p)
{
	struct upstream_tunnel *tunnel = *tunnel_p;

	if (tunnel == NULL)
		return;
	*tunnel_p = NULL;
	event_free(tunnel->readable);
	buf_fini(&tunnel->answer);
	tunnel->magic = 0;
	free(tunnel);
}
