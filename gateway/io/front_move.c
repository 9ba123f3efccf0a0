/* Connections go from one front to another, between two requests. */
#include "io/front.h"
#include "io/front_private.h"

#include <string.h>
#include <unistd.h>

/* Whether nothing is known of CONN but its socket and its peer. */
static bool
move_is_idle(const struct front_conn *conn)
{
	return conn->ssl == NULL && conn->open && !conn->dead && !conn->closing && !conn->shed && !conn->proxied &&
	    conn->answer == ANSWER_NONE && conn->reading == READING_HEAD && conn->raw.n == 0 && conn->out.n == 0;
}

/* The descriptor is another's: what is left of CONN goes at the end of the turn. */
static void
move_end(struct front_conn *conn)
{
	conn->fd = -1;
	conn->open = false;
	conn->dead = true;
	loop_timer_clear(&conn->timer);
	front_conn_schedule(conn);
}

/* Offer CONN to the owner; no descriptor may be watched by two. */
static bool
move_offer(struct front_conn *conn)
{
	const struct front_hooks *hooks = &conn->front->settings.hooks;
	struct front_moved moved = { .fd = conn->fd, .listener = conn->listener->index, .number = conn->number };

	memcpy(moved.peer, conn->peer, sizeof(moved.peer));
	loop_sockets_watch(conn->front->sockets, conn->fd, conn->watched, 0, conn);
	conn->watched = 0;
	if (hooks->on_leave(conn->front->settings.arg, &moved))
		return true;
	front_wire_watch(conn);
	return false;
}

bool
front_move_away(struct front_conn *conn)
{
	const struct front_hooks *hooks = &conn->front->settings.hooks;

	if (hooks->leaves == NULL || !move_is_idle(conn) || !hooks->leaves(conn->front->settings.arg, conn->number))
		return false;
	front_delivery_tell(conn);	/* what has come brings the acknowledgement of the last answer along */
	if (!LIST_EMPTY(&conn->watchers) || !move_offer(conn))
		return false;
	move_end(conn);
	return true;
}

void
front_take(struct front *front, const struct front_moved *moved)
{
	struct front_listener *listener = front_listener_at(front, moved->listener);
	struct front_conn *conn;

	if (listener == NULL) {
		close(moved->fd);
		return;
	}
	conn = front_conn_make(listener, moved->fd);
	conn->number = moved->number;
	conn->handshaken = true;
	conn->closing = front->draining;
	memcpy(conn->peer, moved->peer, sizeof(conn->peer));
	front_wire_open(conn);
	front_conn_schedule(conn);
	front_wire_ready(conn, LOOP_SOCKET_READ);
}
