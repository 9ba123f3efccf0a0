/*
 * Whether an answer that the kernel has taken reached the client: its system has acknowledged every byte. One whose program
 * has closed resets the connection instead. That the bytes were read is not told.
 */
#ifndef JOBGATE_IO_FRONT_DELIVERY_H
#define JOBGATE_IO_FRONT_DELIVERY_H

#include <sys/queue.h>

#include "io/front.h"

enum front_delivery { FRONT_DELIVERED, FRONT_UNDELIVERED, FRONT_UNDER_WAY };

/* A connection whose descriptor is held open to be looked at; CONN NULL: none. The storage is the watcher's. */
struct front_watched {
	struct front_conn *conn;
	void (*on_news)(void *arg);
	void *arg;
	LIST_ENTRY(front_watched) link;
};

/*
 * In on_sent: hold the connection; false: it is gone. ON_NEWS is called when the client has sent more, before that is answered, and when
 * it has gone: a look will tell. It may leave. To be left before the loop is freed. The descriptor itself is held and not a double,
 * since epoll goes on watching a closed one while a double of it is open (io/loop.c).
 */
bool front_delivery_watch(const struct front_request *request, struct front_watched *watched, void (*on_news)(void *arg), void *arg);
void front_delivery_leave(struct front_watched *watched);
enum front_delivery front_delivery_look(const struct front_watched *watched);

#endif
