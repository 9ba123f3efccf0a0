/*
 * The runs that this instance has sent lately, of all workers, by item: what must be known to say of an instance that
 * it is nobody else's (rules/resolve). Any thread; nothing is kept longer than RUNS_KEEP_US.
 */
#ifndef JOBGATE_GATE_RUNS_H
#define JOBGATE_GATE_RUNS_H

#include "base/clock.h"
#include "base/str.h"

struct runs;

/* Longer than a run's time upstream, its resolution and the longest window together. */
#define RUNS_KEEP_US (30 * 60 * (int64_t)CLOCK_SECOND)

/* One that knows of all runs sent from SINCE on. */
struct runs *runs_new(struct mono_time since);
void runs_free(struct runs **runs);

/* It was told of all runs sent from SINCE on. */
void runs_know_since(struct runs *runs, struct mono_time since);

/*
 * The run REQUEST (its id) of ITEM is being sent at NOW. Where it was sent before, that has ended as RUNS_NOTHING: it is not looked for, since
 * of a table of thousands its places are in nobody's cache.
 */
void runs_sent(struct runs *runs, struct str item, struct str request, struct mono_time now);

enum runs_fate {
	RUNS_NOTHING,		/* it has started nothing: it is forgotten */
	RUNS_INSTANCE,		/* an instance that is known */
	RUNS_UNKNOWN		/* perhaps one */
};
/* What has become of it; INSTANCE is a UUID in lower case where there is one. Nothing where it is not known. */
void runs_ended(struct runs *runs, struct str request, enum runs_fate fate, struct str instance);

/* Whether every run is known that was sent from FROM on. */
bool runs_knows_since(struct runs *runs, struct mono_time from);
/* Whether INSTANCE is known to be of a run of ITEM. */
bool runs_has_instance(struct runs *runs, struct str item, struct str instance);
/*
 * Whether another run of ITEM than REQUEST, sent from FROM to TO, may have started an instance that is not known: it
 * is under way, or its fate is unknown.
 */
bool runs_any_open(struct runs *runs, struct str item, struct str request, struct mono_time from, struct mono_time to);

#endif
