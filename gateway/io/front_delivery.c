/* Whether an answer reached the client. */
#include "io/front_delivery.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "io/front_private.h"

bool
front_delivery_watch(const struct front_request *request, struct front_watched *watched, void (*on_news)(void *arg), void *arg)
{
	*watched = (struct front_watched){ .conn = request->conn, .on_news = on_news, .arg = arg };
	if (request->conn == NULL)
		return false;
	LIST_INSERT_HEAD(&request->conn->watchers, watched, link);
	return true;
}

void
front_delivery_tell(struct front_conn *conn)
{
	struct front_watched *watched, *next;

	for (watched = LIST_FIRST(&conn->watchers); watched; watched = next) {
		next = LIST_NEXT(watched, link);
		watched->on_news(watched->arg);
	}
}

void
front_delivery_leave(struct front_watched *watched)
{
	struct front_conn *conn = watched->conn;

	if (conn == NULL)
		return;
	watched->conn = NULL;
	LIST_REMOVE(watched, link);
	if (LIST_EMPTY(&conn->watchers) && conn->front == NULL)
		front_conn_drop(conn);
}

enum front_delivery
front_delivery_look(const struct front_watched *watched)
{
	const struct front_conn *conn = watched->conn;
	int fd = conn->fd;
	struct tcp_info info;
	socklen_t length = sizeof(info);
	int unacknowledged;

	if (ioctl(fd, SIOCOUTQ, &unacknowledged) != 0)
		return FRONT_UNDELIVERED;
	if (unacknowledged == 0)
		return FRONT_DELIVERED;
	/* A reset would have ended it, or is about to, and be told. */
	if (conn->front && conn->open)
		return FRONT_UNDER_WAY;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
		return FRONT_UNDELIVERED;
	/* A reset ends in CLOSE, and so does a connection that both sides have ended well; but that has nothing open. */
	return info.tcpi_state == TCP_CLOSE ? FRONT_UNDELIVERED : FRONT_UNDER_WAY;
}
