/*
 * Over how many workers the callers' connections are spread: as few as carry the load, the first ones.
 *
 * Two workers that are half busy cost more than one that is busy, a fifth on two cores: each wakes for what the other would have done
 * without waking once more, the journal is woken by both, and what the second asks of the limiter, which lives on the first, wakes
 * both. So a plain connection is served by the first worker until that is busy nearly all the time, then by two, and so on; it is moved
 * when its next request begins (io/front.h). A connection with TLS stays where it was accepted, since its keys are in OpenSSL's hands.
 *
 * Any thread. Workers note how busy they are when a request begins; an idle instance does nothing.
 */
#ifndef JOBGATE_GATE_SPREAD_H
#define JOBGATE_GATE_SPREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

/* More than there ever are (config/jobgate.schema.json). */
#define SPREAD_WORKERS_MAX 64
/* How long a worker is watched: far above a burst, far below what a human would call a delay. */
#define SPREAD_WINDOW_US (200 * CLOCK_MS)

struct spread {
	size_t count;				/* of workers */
	bool all;				/* at work, always */
	atomic_size_t active;			/* over how many of them */
	atomic_int_fast64_t changed_us;		/* since when, monotonic */
	atomic_size_t moving;			/* connections that have left one worker and have not come to another */
	atomic_bool still;			/* none is moved any more */
	struct {
		_Alignas(64) atomic_int_fast64_t busy_permille;	/* in the last window; a cache line for each, since each is written by another */
		atomic_int_fast64_t until_us;	/* when that ended */
	} workers[SPREAD_WORKERS_MAX];
};

/* What a worker keeps of itself. */
struct spread_window {
	struct mono_time began;
	int64_t waited_us;		/* loop_waited_us at that time */
};

/* Over COUNT workers; ALL: at any load. */
void spread_init(struct spread *spread, size_t count, bool all);
/* Whether connections ever leave the worker that has accepted them. */
bool spread_moves(const struct spread *spread);

/* Whether a worker's WINDOW is over at NOW, or has not begun: it is to note how busy it was. */
bool spread_is_due(const struct spread *spread, const struct spread_window *window, struct mono_time now);
/* Note it for worker INDEX, and begin the next WINDOW. WAITED_US: how long it has had nothing to do, in all (loop_waited_us). */
void spread_note(struct spread *spread, size_t index, struct spread_window *window, struct mono_time now, int64_t waited_us);

/* Over how many workers they are spread now. */
size_t spread_active(const struct spread *spread);
/* The worker to which connection NUMBER belongs. Those accepted by worker K count K, K + COUNT, ...: with all at work they stay. */
size_t spread_home(const struct spread *spread, size_t number);

/* A connection is to be moved: false where none is any more. Ended when it has come. */
bool spread_begin(struct spread *spread);
void spread_end(struct spread *spread);
/* Have no more moved; from then on spread_is_quiet tells whether all have come. */
void spread_stop(struct spread *spread);
bool spread_is_quiet(const struct spread *spread);

#endif
