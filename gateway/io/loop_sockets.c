/* Sockets of which a turn takes a few at a time. */
#include "io/loop_sockets.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/check.h"
#include "io/loop_event.h"

/* What of so many requests a turn touches fits into a core's cache; fewer would wake the journal and ask the store more often. */
#define SOCKETS_TURN_MAX 64

struct loop_sockets {
	int fd;				/* the epoll set */
	struct event *event;		/* of that */
	struct loop *loop;
	void (*on_ready)(void *socket, unsigned what);
	bool many;			/* a look took as many as it could */
};

/* What epoll is asked for, which tells of errors by itself. */
static uint32_t
sockets_asked(unsigned what)
{
	return (what & LOOP_SOCKET_READ ? EPOLLIN : 0) | (what & LOOP_SOCKET_WRITE ? EPOLLOUT : 0);
}

/* What epoll tells. */
static unsigned
sockets_told(uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP))
		return LOOP_SOCKET_READ | LOOP_SOCKET_WRITE;
	return (events & EPOLLIN ? LOOP_SOCKET_READ : 0) | (events & EPOLLOUT ? LOOP_SOCKET_WRITE : 0);
}

/* Some are ready. */
static void
on_set(evutil_socket_t fd, short what, void *arg)
{
	struct loop_sockets *sockets = arg;
	struct epoll_event events[SOCKETS_TURN_MAX];
	int count = epoll_wait((int)fd, events, SOCKETS_TURN_MAX, 0);

	(void)what;
	loop_waits_no_more(sockets->loop);
	check(count >= 0 || errno == EINTR);
	sockets->many = sockets->many || count == SOCKETS_TURN_MAX;
	for (int i = 0; i < count; i++)
		sockets->on_ready(events[i].data.ptr, sockets_told(events[i].events));
}

struct loop_sockets *
loop_sockets_new(struct loop *loop, void (*on_ready)(void *socket, unsigned what))
{
	struct loop_sockets *sockets = calloc(1, sizeof(*sockets));

	check(sockets != NULL);
	sockets->loop = loop;
	sockets->on_ready = on_ready;
	sockets->fd = epoll_create1(EPOLL_CLOEXEC);
	check(sockets->fd >= 0);
	sockets->event = event_new(loop_base(loop), sockets->fd, EV_READ | EV_PERSIST, on_set, sockets);
	check(sockets->event != NULL && event_add(sockets->event, NULL) == 0);
	return sockets;
}

void
loop_sockets_free(struct loop_sockets **sockets)
{
	if (*sockets == NULL)
		return;
	event_free((*sockets)->event);
	close((*sockets)->fd);
	free(*sockets);
	*sockets = NULL;
}

void
loop_sockets_watch(struct loop_sockets *sockets, int fd, unsigned before, unsigned what, void *socket)
{
	struct epoll_event event = { .events = sockets_asked(what), .data.ptr = socket };

	if (what != before)
		check(epoll_ctl(sockets->fd, what == 0 ? EPOLL_CTL_DEL : before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) == 0);
}

bool
loop_sockets_had_many(struct loop_sockets *sockets)
{
	bool many = sockets->many;

	sockets->many = false;
	return many;
}
