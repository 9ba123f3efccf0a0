/*
 * Which of an item's instances a run of unknown outcome has started: what a list of them shows (fabric.md 2).
 *
 * An instance is the run's where its rootActivityId is the RequestId of the run's answer, in whatever answer that came.
 * Where no answer came there is none, and by time it can only be said that of all instances of the job type that began
 * after the run was sent one is nobody else's; whether somebody else may have started it is for the caller to judge.
 */
#ifndef JOBGATE_RULES_RESOLVE_H
#define JOBGATE_RULES_RESOLVE_H

#include "base/arena.h"
#include "base/clock.h"
#include "rules/uuid.h"

/* The service's clock and ours: an instance may seem to have begun so much before its run was sent. */
#define RESOLVE_SKEW_US (5 * (int64_t)CLOCK_SECOND)

/* What came of looking for it. */
enum resolve_why {
	RESOLVE_MATCHED,	/* one instance is the run's: it was accepted */
	RESOLVE_NONE,		/* the list shows none */
	RESOLVE_SEVERAL,	/* more than one may be it, or another run may have started the one */
	RESOLVE_FAILED,		/* there was no list, or not a whole one */
	RESOLVE_WHY_COUNT
};
struct str resolve_why_name(enum resolve_why why);

struct resolve_run {
	struct str job_type;
	struct str activity;		/* RequestId of its answer; p NULL: none came */
	struct wall_time from, to;	/* when an instance of it may have begun, both included */
	/* Whether the instance ID is known to be another run's; NULL: nobody knows any. */
	bool (*is_taken)(void *arg, struct str id);
	void *arg;
};

/* What the pages read so far show; all zero before the first. */
struct resolve_found {
	size_t count;			/* instances that may be the run's */
	size_t undated;			/* of the job type, not begun yet and nobody's: they may be, too */
	char id[UUID_BYTES];		/* of the last one counted, in lower case */
};

/*
 * Read a page of the list; *TOKEN (in ARENA) is how the next one is asked for, p NULL where there is none. False where
 * BODY is no such list, or says that it goes on and not how.
 */
bool resolve_read_page(struct arena *arena, struct str body, const struct resolve_run *run, struct resolve_found *found,
    struct str *token);

/* What they show in the end. CONTESTED: another run may have started what was found. */
enum resolve_why resolve_judge(const struct resolve_found *found, bool contested);

#endif
