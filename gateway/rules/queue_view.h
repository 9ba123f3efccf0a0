/*
 * Who waits in a queue, and what keeps them waiting: for people (`jobgate status`). Nothing is decided by it.
 */
#ifndef JOBGATE_RULES_QUEUE_VIEW_H
#define JOBGATE_RULES_QUEUE_VIEW_H

#include "rules/queue.h"

/* More lanes than this say no more to a reader. */
#define QUEUE_VIEW_LANES 20

struct queue_view_lane {
	const struct queue_lane *lane;
	size_t ready, making_ready;
	int64_t oldest_us;	/* how long the one that came first has waited */
	uint64_t held;		/* bit I: its own limit I keeps it waiting */
};

struct queue_view {
	struct queue_view_lane lanes[QUEUE_VIEW_LANES];	/* those in which most wait; the fullest first */
	size_t lane_count;
	size_t more_lanes, more_waiting;	/* that are not among them */
	size_t ready, making_ready;		/* of all */
	int64_t oldest_us;			/* of all; 0 where nobody waits */
};

/*
 * Look at Q. That a limit holds is concluded from the store's last word: the lane's turn is not soon, and those lanes in VIEW
 * that share the limit would get more than it lets through.
 */
void queue_view(const struct queue *q, struct mono_time now, struct queue_view *view);

#endif
