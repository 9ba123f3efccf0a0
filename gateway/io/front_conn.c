/* A connection of the front: birth, adoption, end. */
#include "io/front.h"
#include "io/front_private.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Unparsed bytes behind a pending request: more than a whole pipelined head is nothing a client needs. */
#define FRONT_RAW_BYTES_MAX 65536
/* Lingering reads and drops what a refused client still sends, so that its answer is not lost to a reset. */
#define FRONT_LINGER_US (2 * CLOCK_SECOND)
#define FRONT_LINGER_BYTES_MAX (1 << 20)
/* Shed connections get their 503 up to so many over the limit; beyond, they are closed at once. */
#define FRONT_SHED_MAX 256

static void on_deadline(void *arg);
static void on_work(void *arg);

/* Move what was received out of evhttp's reach. */
static void
on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct front_conn *conn = arg;
	size_t n = evbuffer_get_length(input);

	check_magic(conn, FRONT_CONN_MAGIC);
	if (info->n_added == 0 || conn->injecting || n == 0)
		return;
	if (!conn->handshaken && !conn->proxied) {
		conn->handshaken = true;
		front_guard_forget_deadline(conn);	/* the handshake's; the head has one of its own */
	}
	if (conn->lingering || conn->reading == READING_NOTHING || (conn->dead && !conn->gone)) {
		conn->lingered_bytes += n;
		evbuffer_drain(input, n);
		if (conn->lingered_bytes > FRONT_LINGER_BYTES_MAX)
			conn->dead = true;
	} else if (conn->reading == READING_DONE && conn->raw.n + n > FRONT_RAW_BYTES_MAX) {
		conn->closing = true;	/* it floods behind a pending request: answer that one and close */
		evbuffer_drain(input, n);
	} else {
		check(evbuffer_remove(input, buf_room(&conn->raw, n), n) == (int)n);
		conn->raw.n += n;
	}
	front_conn_schedule(conn);
}

/* How many connections count against the limit. */
static size_t
front_conn_count(const struct front *front)
{
	return front->settings.connections ? atomic_load(front->settings.connections) : front->conn_count;
}

/* Count a connection that comes (1) or goes (-1). */
static void
front_conn_add_to_count(struct front *front, int n)
{
	front->conn_count += (size_t)n;
	if (front->settings.connections)
		atomic_fetch_add(front->settings.connections, (size_t)n);
}

struct front_conn *
front_conn_new(struct front_listener *listener, struct bufferevent *bev)
{
	struct front *front = listener->front;
	struct front_conn *conn = calloc(1, sizeof(*conn));

	check(conn != NULL);
	conn->magic = FRONT_CONN_MAGIC;
	conn->front = front;
	conn->listener = listener;
	conn->bev = bev;
	conn->tls = listener->tls != NULL;
	conn->proxied = listener->proxied;
	conn->handshaken = !conn->tls && !conn->proxied;
	conn->shed = front_conn_count(front) >= front->settings.limits.connections;
	bufferevent_incref(bev);
	check(evbuffer_add_cb(bufferevent_get_input(bev), on_input, conn) != NULL);
	loop_timer_init(&conn->timer, front->loop, on_deadline, conn);
	conn->hook.fn = on_work;
	conn->hook.arg = conn;
	http1_scan_init(&conn->scan, true);
	LIST_INSERT_HEAD(&front->conns, conn, link);
	front_conn_add_to_count(front, 1);
	front_conn_schedule(conn);
	return conn;
}

void
front_conn_schedule(struct front_conn *conn)
{
	loop_at_turn_end(conn->front->loop, &conn->hook);
}

void
front_conn_sent(struct front_conn *conn)
{
	check(conn->answer == ANSWER_WRITING);
	conn->answer = ANSWER_WRITTEN;
	conn->front->settings.hooks.on_sent(conn->front->settings.arg, conn->request, true);
}

void
front_conn_end_request(struct front_conn *conn)
{
	struct front_request *request = conn->request;
	const struct front_hooks *hooks = &conn->front->settings.hooks;
	enum front_answer answer = conn->answer;

	conn->request = NULL;
	conn->answer = ANSWER_NONE;
	if (request == NULL)
		return;
	request->conn = NULL;
	if (answer == ANSWER_PENDING)
		hooks->on_gone(conn->front->settings.arg, request);
	else if (answer == ANSWER_WRITING)
		hooks->on_sent(conn->front->settings.arg, request, false);
	buf_fini(&request->head_bytes);
	buf_fini(&request->body);
	request->magic = 0;
	spares_give(&conn->front->requests, request);
}

/* evhttp closes its connection: the client went, or the last answer was written. */
static void
on_close(struct evhttp_connection *evcon, void *arg)
{
	struct front_conn *conn = arg;

	(void)evcon;
	check_magic(conn, FRONT_CONN_MAGIC);
	front_carrier_say_close(conn);
	conn->evcon = NULL;
	loop_timer_clear(&conn->timer);
	if (conn->carrier) {
		/* Detached by evhttp and ours to free, or still its own (pitfalls A.5). */
		if (evhttp_request_get_connection(conn->carrier) == NULL)
			evhttp_request_free(conn->carrier);
		conn->carrier = NULL;
	}
	if (conn->answer == ANSWER_WRITING && evbuffer_get_length(bufferevent_get_output(conn->bev)) == 0)
		front_conn_sent(conn);	/* with TLS evhttp hears it a moment after the bytes have gone */
	conn->lingering = conn->answer == ANSWER_WRITTEN && conn->closing && !conn->dead;
	conn->gone = !conn->closing && !conn->dead && (conn->reading == READING_HEAD || conn->reading == READING_DONE);
	front_conn_end_request(conn);
	conn->dead = !conn->lingering;
	front_conn_schedule(conn);
}

/* The client has nothing more to say, or broke off, while its last answer lingers. */
static void
on_linger_event(struct bufferevent *bev, short what, void *arg)
{
	struct front_conn *conn = arg;

	(void)bev;
	(void)what;
	check_magic(conn, FRONT_CONN_MAGIC);
	conn->dead = true;
	front_conn_schedule(conn);
}

/* Read on and drop for a while after the last answer, since closing over unread bytes resets it away. */
static void
front_conn_linger(struct front_conn *conn)
{
	bufferevent_setcb(conn->bev, NULL, NULL, on_linger_event, conn);
	bufferevent_enable(conn->bev, EV_READ);
	loop_timer_at(&conn->timer, mono_add(loop_now(conn->front->loop), FRONT_LINGER_US));
}

/* Write the peer's address as text; evhttp has it from accept, when a reset may have taken it from the socket. */
static void
front_conn_name_peer(struct front_conn *conn)
{
	char *address;
	uint16_t port;

	evhttp_connection_get_peer(conn->evcon, &address, &port);
	snprintf(conn->peer, sizeof(conn->peer), strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
}

/*
 * Learn evhttp's connection: it is the argument of the callbacks that evhttp put on the bufferevent (2.1 has no hook that
 * tells it before the first request). Ours to the end through its close callback.
 */
static void
front_conn_adopt(struct front_conn *conn)
{
	bufferevent_event_cb on_event;
	void *evcon;

	conn->adopted = true;
	bufferevent_getcb(conn->bev, NULL, NULL, &on_event, &evcon);
	if (on_event == NULL || bufferevent_getfd(conn->bev) < 0) {
		conn->gone = conn->dead = true;		/* it came and went in one turn */
		return;
	}
	conn->evcon = evcon;
	evhttp_connection_set_closecb(conn->evcon, on_close, conn);
	front_conn_name_peer(conn);
	front_proxy_begin(conn);
	if (conn->shed && front_conn_count(conn->front) > conn->front->settings.limits.connections + FRONT_SHED_MAX)
		conn->dead = true;
	else
		front_guard_set_deadline(conn);
}

/* Free a dead connection; closes its descriptor, unless the delivery of its last answer is looked at. */
static void
front_conn_free(struct front_conn *conn)
{
	check(conn->evcon == NULL && conn->request == NULL);
	loop_unhook(conn->front->loop, &conn->hook);	/* its own end may have scheduled it once more */
	LIST_REMOVE(conn, link);
	front_conn_add_to_count(conn->front, -1);
	evbuffer_remove_cb(bufferevent_get_input(conn->bev), on_input, conn);
	bufferevent_setcb(conn->bev, NULL, NULL, NULL, NULL);
	bufferevent_disable(conn->bev, EV_READ | EV_WRITE);	/* an answer's delivery may hold it longer (front_delivery) */
	bufferevent_decref(conn->bev);
	loop_timer_fini(&conn->timer);
	buf_fini(&conn->raw);
	tls_peer_free(&conn->certificate);
	conn->magic = 0;
	free(conn);
}

/* Do what the turn's callbacks have made due. */
static void
on_work(void *arg)
{
	struct front_conn *conn = arg;

	check_magic(conn, FRONT_CONN_MAGIC);
	if (!conn->adopted)
		front_conn_adopt(conn);	/* also where it is to die: evhttp must let go of it */
	if (conn->evcon && !conn->dead)
		front_carrier_write(conn);
	if (conn->evcon && !conn->dead)
		front_guard_process(conn);
	if (conn->dead && conn->evcon)
		front_conn_kill(conn);
	if (conn->gone)
		front_guard_posthumous(conn);
	if (conn->dead)
		front_conn_free(conn);
	else if (conn->lingering && conn->evcon == NULL && !conn->timer.pending)
		front_conn_linger(conn);
}

/* A deadline has passed. */
static void
on_deadline(void *arg)
{
	struct front_conn *conn = arg;

	check_magic(conn, FRONT_CONN_MAGIC);
	if (conn->lingering)
		conn->dead = true;
	else
		front_guard_timeout(conn);
	front_conn_schedule(conn);
}

void
front_conn_kill(struct front_conn *conn)
{
	conn->dead = true;
	front_conn_close(conn);
}

void
front_conn_close(struct front_conn *conn)
{
	if (conn->evcon == NULL)
		return;
	/* It frees a pending carrier with it; on_close has forgotten ours by then. */
	evhttp_connection_free(conn->evcon);
	check(conn->evcon == NULL && (conn->dead || conn->lingering));
}

void
front_conn_drain(struct front_conn *conn)
{
	conn->closing = true;
	if (conn->answer == ANSWER_NONE && conn->reading == READING_HEAD && conn->raw.n == 0 && !conn->lingering)
		conn->dead = true;
	front_conn_schedule(conn);
}

void
front_conn_abort(struct front_conn *conn)
{
	conn->closing = true;
	if (conn->answer != ANSWER_PENDING)
		conn->dead = true;
	front_conn_schedule(conn);
}

void
front_conn_free_all(struct front *front)
{
	struct front_conn *conn;

	while ((conn = LIST_FIRST(&front->conns)) != NULL) {
		front_conn_kill(conn);
		front_conn_free(conn);
	}
}
