/* For the modules of io/ alone: the libevent base of a loop, and a write that does not wait for it. */
#ifndef JOBGATE_IO_LOOP_EVENT_H
#define JOBGATE_IO_LOOP_EVENT_H

#include <stdbool.h>

struct bufferevent;
struct event_base;
struct loop;

struct event_base *loop_base(struct loop *loop);

/* Something has come: loop_waited_us counts no further. For callbacks that have much to do. */
void loop_waits_no_more(struct loop *loop);

/*
 * Write what BEV, a socket's without TLS, has to write, as far as the socket takes it now: nearly always that is all, and having
 * the loop ask first costs two epoll_ctl and a turn. True: nothing is left. What is left, and a fault, is for libevent's write event.
 */
bool loop_write_now(struct bufferevent *bev);

#endif
