/* Whether an answer reached the client. */
#include "io/front_delivery.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "io/front_private.h"

bool
front_delivery_watch(const struct front_request *request, struct front_watched *watched)
{
	if (request->conn == NULL)
		return false;
	watched->conn = request->conn;
	watched->conn->watchers++;
	return true;
}

void
front_delivery_leave(struct front_watched *watched)
{
	struct front_conn *conn = watched->conn;

	watched->conn = NULL;
	if (conn && --conn->watchers == 0 && conn->front == NULL)
		front_conn_drop(conn);
}

enum front_delivery
front_delivery_look(const struct front_watched *watched)
{
	int fd = watched->conn->fd;
	struct tcp_info info;
	socklen_t length = sizeof(info);
	int unacknowledged;

	if (ioctl(fd, SIOCOUTQ, &unacknowledged) != 0)
		return FRONT_UNDELIVERED;
	if (unacknowledged == 0)
		return FRONT_DELIVERED;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
		return FRONT_UNDELIVERED;
	/* A reset ends in CLOSE, and so does a connection that both sides have ended well; but that has nothing open. */
	return info.tcpi_state == TCP_CLOSE ? FRONT_UNDELIVERED : FRONT_UNDER_WAY;
}
