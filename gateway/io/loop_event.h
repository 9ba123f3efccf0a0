/* For the modules of io/ alone: the libevent base of a loop. */
#ifndef JOBGATE_IO_LOOP_EVENT_H
#define JOBGATE_IO_LOOP_EVENT_H

struct event_base;
struct loop;

struct event_base *loop_base(struct loop *loop);

#endif
