/*
 * Anchors: each instance shows the head of its journal to the others through the limiter's Redis, and writes the heads
 * that it sees into its own journal. Who then cuts or rewrites one journal must rewrite all.
 *
 * Only heads that no power cut takes back are shown. A head is written when it is another than the last that was written
 * of its journal; anchors alone move no head, but once in sixty intervals, so that an idle fleet is quiet. Redis carries
 * heads of others that nobody has proven: who may write there can put false ones into the journals, never take one out.
 */
#ifndef JOBGATE_GATE_ANCHORS_H
#define JOBGATE_GATE_ANCHORS_H

#include "gate/audit.h"
#include "gate/limiter.h"

struct anchors;

/* LOOP is the calling thread's; LIMITER and AUDIT are borrowed. Of CONFIG what anchors_set takes. Nothing is shown yet. */
struct anchors *anchors_new(struct loop *loop, struct limiter *limiter, struct audit *audit, const struct config *config);
/* After the limiter, which could tell it heads yet. */
void anchors_free(struct anchors **anchors);

/* Take CONFIG's audit.anchors, and whether there is a Redis. The loop's thread. */
void anchors_set(struct anchors *anchors, const struct config *config);

/* Show the head now, and from now on in intervals; the loop's thread. */
void anchors_show(struct anchors *anchors);

/* Whether the last head that was to be shown was not; the loop's thread. */
bool anchors_are_ill(const struct anchors *anchors);

#endif
