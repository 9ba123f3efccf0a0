/* A connection of the front: birth, what comes, end. */
#include "io/front.h"
#include "io/front_private.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

void
front_conn_receive(struct front_conn *conn, struct str bytes)
{
	conn->heard = true;
	if (conn->lingering || conn->reading == READING_NOTHING || conn->dead) {
		conn->lingered_bytes += bytes.n;
		if (conn->lingered_bytes > FRONT_LINGER_BYTES_MAX)
			conn->dead = true;
	} else if (conn->reading == READING_DONE && conn->raw.n + bytes.n > FRONT_RAW_BYTES_MAX) {
		conn->closing = true;	/* it floods behind a pending request: answer that one and close */
	} else {
		if (conn->raw.p == NULL)
			conn->raw = spare_bufs_take(&conn->front->spares);
		buf_add(&conn->raw, bytes);
	}
	front_conn_schedule(conn);
}

void
front_conn_end_of_input(struct front_conn *conn)
{
	if (conn->lingering)
		conn->dead = true;
	front_conn_close(conn);
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

/* Write the peer's address as text: from accept, since a reset may take it from the socket. */
static void
front_conn_name_peer(struct front_conn *conn, const struct sockaddr *peer, socklen_t peer_bytes)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	check(getnameinfo(peer, peer_bytes, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) == 0);
	snprintf(conn->peer, sizeof(conn->peer), strchr(host, ':') ? "[%.54s]:%.5s" : "%.54s:%.5s", host, port);
}

struct front_conn *
front_conn_make(struct front_listener *listener, int fd)
{
	struct front *front = listener->front;
	struct front_conn *conn = calloc(1, sizeof(*conn));

	check(conn != NULL);
	conn->magic = FRONT_CONN_MAGIC;
	conn->fd = fd;
	conn->front = front;
	conn->listener = listener;
	conn->open = true;
	loop_timer_init(&conn->timer, front->loop, on_deadline, conn);
	conn->hook.fn = on_work;
	conn->hook.arg = conn;
	http1_scan_init(&conn->scan, true);
	LIST_INIT(&conn->watchers);
	LIST_INSERT_HEAD(&front->conns, conn, link);
	front_conn_add_to_count(front, 1);
	return conn;
}

void
front_conn_new(struct front_listener *listener, int fd, const struct sockaddr *peer, socklen_t peer_bytes)
{
	struct front *front = listener->front;
	bool shed = front_conn_count(front) >= front->settings.limits.connections;
	struct front_conn *conn = front_conn_make(listener, fd);

	conn->number = front->next_number;
	front->next_number += front->settings.number_step;
	conn->proxied = listener->proxied;
	conn->handshaken = listener->tls == NULL && !conn->proxied;
	conn->shed = shed;
	front_conn_name_peer(conn, peer, peer_bytes);
	front_wire_open(conn);
	front_proxy_begin(conn);
	if (conn->shed && front_conn_count(front) > front->settings.limits.connections + FRONT_SHED_MAX)
		conn->dead = true;
	front_conn_schedule(conn);
}

void
front_conn_schedule(struct front_conn *conn)
{
	loop_at_turn_end(conn->front->loop, &conn->hook);
}

/* Its answer is in the kernel. */
static void
front_conn_sent(struct front_conn *conn)
{
	check(conn->answer == ANSWER_WRITING);
	conn->answer = ANSWER_WRITTEN;
	conn->paused = false;
	front_wire_watch(conn);
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
	spare_bufs_give(&conn->front->spares, &request->head_bytes);
	buf_fini(&request->body);
	request->magic = 0;
	spares_give(&conn->front->requests, request);
}

/* Free a dead connection; closes its descriptor, unless the delivery of its last answer is looked at. */
static void
front_conn_free(struct front_conn *conn)
{
	check(!conn->open && conn->request == NULL);
	loop_unhook(conn->front->loop, &conn->hook);	/* its own end may have scheduled it once more */
	LIST_REMOVE(conn, link);
	front_conn_add_to_count(conn->front, -1);
	front_wire_fini(conn);
	loop_timer_fini(&conn->timer);
	tls_peer_free(&conn->certificate);
	conn->front = NULL;
	if (LIST_EMPTY(&conn->watchers))
		front_conn_drop(conn);
}

void
front_conn_drop(struct front_conn *conn)
{
	check(conn->front == NULL && LIST_EMPTY(&conn->watchers));
	if (conn->fd >= 0)
		close(conn->fd);
	conn->magic = 0;
	free(conn);
}

/* Do what the turn's callbacks have made due. */
static void
on_work(void *arg)
{
	struct front_conn *conn = arg;

	check_magic(conn, FRONT_CONN_MAGIC);
	if (conn->heard)
		front_delivery_tell(conn);	/* while nothing newer is under way */
	conn->heard = false;
	if (conn->open && !conn->dead)
		front_answer_write(conn);
	if (conn->open && conn->broken)
		front_conn_close(conn);
	if (conn->open && !conn->dead && conn->answer == ANSWER_WRITING && front_wire_is_written(conn))
		front_conn_sent(conn);
	if (conn->open && !conn->dead)
		front_guard_process(conn);
	if (conn->open && conn->dead)
		front_conn_kill(conn);
	if (conn->gone)
		front_guard_posthumous(conn);
	if (conn->dead)
		front_conn_free(conn);
	else if (conn->lingering && !conn->timer.pending)
		loop_timer_at(&conn->timer, mono_add(loop_now(conn->front->loop), FRONT_LINGER_US));
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
	if (!conn->open)
		return;
	conn->open = false;
	loop_timer_clear(&conn->timer);
	if (conn->answer == ANSWER_WRITING && front_wire_is_written(conn))
		front_conn_sent(conn);
	/* Read on and drop for a while after the last answer, since closing over unread bytes resets it away. */
	conn->lingering = conn->answer == ANSWER_WRITTEN && conn->closing && !conn->dead;
	conn->gone = !conn->closing && !conn->dead && (conn->reading == READING_HEAD || conn->reading == READING_DONE);
	front_conn_end_request(conn);
	front_delivery_tell(conn);	/* before the FIN, which would count as unacknowledged */
	front_wire_shutdown(conn);
	conn->dead = !conn->lingering;
	front_wire_watch(conn);
	front_conn_schedule(conn);
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
