/*
 * For loop.c alone: the timers of one loop. A heap with a place for each timer that was ever set, and one timerfd for the first of them.
 *
 * A timer that is put off, or cleared, keeps its place until its earlier time comes: deadlines are put off with every request, and
 * hardly ever met. The kernel is told of the first place only where it is earlier than what it knows.
 */
#ifndef JOBGATE_IO_LOOP_TIMERS_H
#define JOBGATE_IO_LOOP_TIMERS_H

#include "io/loop.h"

struct event;
struct event_base;

/* Where a timer stands: the time is beside it, so that none is touched to compare others. */
struct loop_timer_place {
	int64_t look_us;		/* when it is looked at whether it is due, monotonic */
	struct loop_timer *timer;
};

struct loop_timers {
	struct loop_timer_place *heap;	/* HEAP[0] is looked at first */
	size_t count, size;
	int fd;				/* timerfd */
	struct event *event;		/* of the timerfd */
	int64_t told_us;		/* when it will fire, monotonic; 0: not told */
	int64_t running_us;		/* the time of the present loop_timers_run; 0 outside */
	bool fired;			/* and not told anew */
};

void loop_timers_init(struct loop_timers *timers, struct event_base *base);
/* Timers that were not finished have no place any more. */
void loop_timers_fini(struct loop_timers *timers);

/* Before the loop waits: have it woken for the first. */
void loop_timers_tell(struct loop_timers *timers);
/* After it has waited: call what is due. What is set meanwhile, be it for now, is for the next turn. */
void loop_timers_run(struct loop_timers *timers);

struct loop_timers *loop_timers_of(struct loop *loop);

#endif
