/*
 * The operations of the Job Scheduler API: one table for routes, records, metrics and rights.
 */
#ifndef JOBGATE_RULES_OPERATION_H
#define JOBGATE_RULES_OPERATION_H

#include <stdbool.h>

#include "base/str.h"

enum operation {
	OPERATION_RUN,
	OPERATION_GET,
	OPERATION_LIST,
	OPERATION_CANCEL,
	OPERATION_SCHEDULE_GET,
	OPERATION_SCHEDULE_LIST,
	OPERATION_SCHEDULE_CREATE,
	OPERATION_SCHEDULE_UPDATE,
	OPERATION_SCHEDULE_DELETE,
	OPERATION_OTHER,	/* another route of the API, for callers that may use them (other_routes) */
	OPERATION_NONE,		/* no route was recognised */
	OPERATION_COUNT
};

/* What a caller's `allow` rules speak of. */
enum operation_right { RIGHT_RUN, RIGHT_READ, RIGHT_CANCEL, RIGHT_SCHEDULE, RIGHT_COUNT };

/* "run", "get", ... as records, logs and metrics have it; "none". */
struct str operation_name(enum operation op);

/* Whether it is a trigger: has an intent and an outcome in the journal. */
bool operation_is_trigger(enum operation op);

/* Whether it takes a token of its identity's quota: all but other. */
bool operation_is_metered(enum operation op);

/* Whether a retry could start something twice, so that an ambiguous 5xx is unknown: run and schedule_create. */
bool operation_starts_job(enum operation op);

/* run: RIGHT_RUN; get, list: RIGHT_READ; cancel; schedule_list and schedule_get: RIGHT_READ; other schedules: RIGHT_SCHEDULE. */
enum operation_right operation_right(enum operation op);
/* "run", "read", "cancel", "schedule"; false for another word. */
bool operation_right_from(struct str word, enum operation_right *right);

#endif
