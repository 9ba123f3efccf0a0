/* Whether an answer reached the client. */
#include "io/front_delivery.h"

#include <event2/bufferevent.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "io/front_private.h"

int
front_delivery_watch(const struct front_request *request)
{
	int fd = request->conn ? bufferevent_getfd(request->conn->bev) : -1;

	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

enum front_delivery
front_delivery_look(int fd)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);
	int unacknowledged;

	if (ioctl(fd, SIOCOUTQ, &unacknowledged) != 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
		return FRONT_UNDELIVERED;
	if (unacknowledged == 0)
		return FRONT_DELIVERED;
	/* A reset ends in CLOSE, and so does a connection that both sides have ended well; but that has nothing open. */
	return info.tcpi_state == TCP_CLOSE ? FRONT_UNDELIVERED : FRONT_UNDER_WAY;
}
