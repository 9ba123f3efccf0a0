/*
 * The condition of something outside: announced once when it changes and every 30 s while it is ill. Any thread.
 */
#ifndef JOBGATE_GATE_CONDITION_H
#define JOBGATE_GATE_CONDITION_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"

struct condition {
	const char *down, *up;		/* the log's events */
	atomic_bool ill;
	atomic_int_fast64_t said_us;	/* when it was last announced */
};

#define CONDITION_INIT(down_event, up_event) { .down = (down_event), .up = (up_event) }

/* Note that it is well or ill, with a sentence why. */
void condition_set(struct condition *condition, bool well, const char *why, struct mono_time now);
bool condition_is_ill(const struct condition *condition);

#endif
