/*
 * Resolutions: runs whose fate is unknown are looked for among their item's instances, where `resolve` says so.
 *
 *   begun ──► waiting ──(delay)──► listing ──► judged ──► recorded, gone
 *                ^──── not found, tries left ────┘
 *
 * One begins when the outcome `unknown` was recorded. Each list is an errand (request.h) that takes a token of the
 * run's identity, in the class of polls and in nobody's queue, so that no trigger waits behind it. It goes with the
 * identity's credential, else with the run's own token, which is kept for RESOLUTION_TOKEN_US at most and wiped then.
 * What came of it is recorded once (kind `resolution`); a drain ends all that is open as `failed`, at once. On the
 * worker's thread alone.
 */
#ifndef JOBGATE_GATE_RESOLUTION_H
#define JOBGATE_GATE_RESOLUTION_H

#include "base/clock.h"
#include "rules/audit_record.h"
#include "rules/config.h"

struct request;
struct worker;
struct resolutions;

/* How long a run's own token is kept for it. */
#define RESOLUTION_TOKEN_US (5 * 60 * (int64_t)CLOCK_SECOND)
/* So many at a time of one instance; the outcomes of more stay unknown. Each holds a head of 20 KB at most. */
#define RESOLUTIONS_MAX 1000

struct resolutions *resolutions_new(struct worker *worker);
/* No errand is under way. What is waiting is forgotten. */
void resolutions_free(struct resolutions **resolutions);

/*
 * Look for what REQUEST has started, where it is a run, its configuration wants that, and there is something to know
 * it by; else nothing. Its outcome was recorded.
 */
void resolutions_begin(struct resolutions *resolutions, struct request *request);

/*
 * The same for a run of a process before this one, whose INTENT (a run's, with workspace, item and job type) had no
 * outcome: it goes as CALLER of CONFIG, whose identity has a credential. SENT: when that was written, by this process'
 * clock. Before the worker runs, or on its thread.
 */
void resolutions_begin_orphan(struct resolutions *resolutions, struct config *config,
    const struct config_caller *caller, const struct audit_record *intent, struct mono_time sent);

/* End all that is waiting, and what is begun from now on. */
void resolutions_drain(struct resolutions *resolutions);

#endif
