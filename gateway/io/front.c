/* Front: listeners and their connections. */
#include "io/front.h"
#include "io/front_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "io/loop_event.h"

/* Connections that wait to be accepted: a burst of a second at a rate no worker reaches. */
#define FRONT_BACKLOG 1024
/* Requests that are kept for the next ones: 1.2 MB. */
#define FRONT_SPARE_REQUESTS 256
/* Accepting pauses so long after descriptors ran out. */
#define FRONT_ACCEPT_PAUSE_US (100 * CLOCK_MS)

static void on_settle(void *arg);

/* Fill ADDRESS from a numeric HOST and PORT. */
static bool
front_address(struct str host, uint16_t port, struct sockaddr_storage *address, socklen_t *length)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	char text[64];

	memset(address, 0, sizeof(*address));
	if (host.n >= sizeof(text))
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = '\0';
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*length = sizeof(*v4);
		return true;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*length = sizeof(*v6);
		return true;
	}
	return false;
}

/* Open a socket bound to HOST and PORT; -1 with a sentence. */
static int
front_socket(struct str host, uint16_t port, bool share, struct buf *error)
{
	struct sockaddr_storage address;
	socklen_t length;
	int fd, one = 1;

	if (!front_address(host, port, &address, &length)) {
		buf_printf(error, "%.*s is no numeric address", STR_ARG(host));
		return -1;
	}
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		buf_printf(error, "socket: %s", strerror(errno));
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (share)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	/* Accepted connections inherit these: no Nagle (a factor of 7), and dead peers are noticed. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, length) < 0) {
		buf_printf(error, "%.*s port %u: %s", STR_ARG(host), port, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

bool
front_address_taken(struct str host, uint16_t port, struct buf *error)
{
	int fd = port ? front_socket(host, port, false, error) : -1;

	if (fd >= 0)
		close(fd);
	return port && fd < 0;
}

int
front_bind(struct str host, uint16_t *port, struct buf *error)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int fd = front_socket(host, *port, true, error);

	if (fd < 0)
		return -1;
	if (listen(fd, FRONT_BACKLOG) < 0 || getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		buf_printf(error, "%.*s port %u: %s", STR_ARG(host), *port, strerror(errno));
		close(fd);
		return -1;
	}
	*port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
						    : ((struct sockaddr_in *)&address)->sin_port);
	return fd;
}

struct front *
front_new(struct loop *loop, const struct front_settings *settings)
{
	struct front *front = calloc(1, sizeof(*front));

	check(front != NULL);
	front->loop = loop;
	front->settings = *settings;
	front->next_number = settings->number;
	front->listeners_tail = &front->listeners;
	loop_timer_init(&front->settle, loop, on_settle, front);
	front->sockets = loop_sockets_new(loop, front_wire_ready);
	LIST_INIT(&front->conns);
	spares_init(&front->requests, sizeof(struct front_request), FRONT_SPARE_REQUESTS);
	return front;
}

/* A client has connected. */
static void
on_accept(struct evconnlistener *evlistener, evutil_socket_t fd, struct sockaddr *peer, int peer_bytes, void *arg)
{
	(void)evlistener;
	front_conn_new(arg, fd, peer, (socklen_t)peer_bytes);
}

/* Accept again. */
static void
on_accept_retry(void *arg)
{
	struct front_listener *listener = arg;

	if (listener->listener)
		evconnlistener_enable(listener->listener);
}

/* Accepting failed for want of descriptors or memory: pause, or the loop would spin. */
static void
on_accept_error(struct evconnlistener *evlistener, void *arg)
{
	struct front_listener *listener = arg;

	log_line(LOG_ERROR, "accept failed", log_z("error", strerror(errno)));
	evconnlistener_disable(evlistener);
	loop_timer_at(&listener->retry, mono_add(loop_now(listener->front->loop), FRONT_ACCEPT_PAUSE_US));
}

void
front_listen(struct front *front, int fd, struct tls_server *tls)
{
	struct front_listener *listener = calloc(1, sizeof(*listener)), *other;

	check(listener != NULL);
	for (other = front->listeners; other; other = other->next)
		listener->index++;
	listener->front = front;
	listener->tls = tls;
	loop_timer_init(&listener->retry, front->loop, on_accept_retry, listener);
	listener->listener = evconnlistener_new(loop_base(front->loop), on_accept, listener, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	check(listener->listener != NULL);
	evconnlistener_set_error_cb(listener->listener, on_accept_error);
	*front->listeners_tail = listener;
	front->listeners_tail = &listener->next;
}

struct front_listener *
front_listener_at(struct front *front, size_t index)
{
	struct front_listener *listener = front->listeners;

	for (; listener && index > 0; index--)
		listener = listener->next;
	return listener;
}

void
front_set_tls(struct front *front, size_t index, struct tls_server *tls)
{
	struct front_listener *listener = front_listener_at(front, index);

	if (listener)
		listener->tls = tls;
}

void
front_set_proxied(struct front *front, size_t index, bool proxied)
{
	struct front_listener *listener = front_listener_at(front, index);

	check(!proxied || front->settings.hooks.is_proxy != NULL);
	if (listener)
		listener->proxied = proxied;
}

void
front_set_limits(struct front *front, const struct front_limits *limits)
{
	front->settings.limits = *limits;
}

/* Stop accepting, and close the socket. */
static void
front_listener_close(struct front_listener *listener)
{
	if (listener->listener == NULL)
		return;
	evconnlistener_free(listener->listener);
	listener->listener = NULL;
	loop_timer_fini(&listener->retry);
}

/* Close the listeners and every connection that has nothing to say. */
static void
front_close(struct front *front)
{
	struct front_listener *listener;
	struct front_conn *conn;

	for (listener = front->listeners; listener; listener = listener->next)
		front_listener_close(listener);
	LIST_FOREACH(conn, &front->conns, link)
		front_conn_drain(conn);
}

/*
 * A turn of the loop has passed since the drain began: what waited to be accepted was accepted in the first, and what such
 * connections had sent already was read in the second, or in as many as that took. Closing at once would reset them unheard.
 */
static void
on_settle(void *arg)
{
	struct front *front = arg;

	if (front->settled_turns > 0 && loop_sockets_had_many(front->sockets)) {
		loop_timer_at(&front->settle, loop_now(front->loop));
	} else if (front->settled_turns++ == 0) {
		struct front_listener *listener;

		for (listener = front->listeners; listener; listener = listener->next)
			front_listener_close(listener);
		loop_timer_at(&front->settle, loop_now(front->loop));
	} else {
		front_close(front);
	}
}

void
front_drain(struct front *front)
{
	front->draining = true;
	loop_timer_at(&front->settle, loop_now(front->loop));
}

void
front_abort(struct front *front)
{
	struct front_conn *conn;

	LIST_FOREACH(conn, &front->conns, link)
		front_conn_abort(conn);
}

bool
front_is_quiet(const struct front *front)
{
	const struct front_conn *conn;

	if (front->draining && front->settled_turns < 2)
		return false;
	LIST_FOREACH(conn, &front->conns, link)
		if (conn->answer == ANSWER_PENDING || conn->answer == ANSWER_WRITING)
			return false;
	return true;
}

void
front_free(struct front **front_p)
{
	struct front *front = *front_p;
	struct front_listener *listener;

	if (front == NULL)
		return;
	*front_p = NULL;
	front->draining = true;
	front_close(front);
	loop_timer_fini(&front->settle);
	front_conn_free_all(front);
	while ((listener = front->listeners) != NULL) {
		front->listeners = listener->next;
		free(listener);
	}
	loop_sockets_free(&front->sockets);
	spares_fini(&front->requests);
	spare_bufs_fini(&front->spares);
	free(front);
}
