/*
 * Routes: what a target asks for, and how it goes upstream.
 *
 * Works on the raw target, never on a decoded C string. The legacy `?jobType=` submission is
 * rewritten to the path form; only that parameter is taken out, all others keep their order and
 * encoding, the collection word and the caller's spelling of ids and job type stay
 * (reference: Fabric REST, "Run On Demand Item Job"; RFC 9110 7.7).
 */
#ifndef JOBGATE_RULES_ROUTE_H
#define JOBGATE_RULES_ROUTE_H

#include "base/arena.h"
#include "rules/operation.h"

enum route_verdict {
	ROUTE_OK,
	ROUTE_BAD_TARGET,	/* 400 JobgateBadRequest: not a strict target, or an id that is no UUID */
	ROUTE_BAD_JOB_TYPE,	/* 400 InvalidJobType: missing, empty, twice, different in path and query, illegal */
	ROUTE_UNKNOWN,		/* 404 EntityNotFound */
	ROUTE_BAD_METHOD,	/* 405 JobgateMethodNotAllowed, with allow */
};

struct route {
	enum operation operation;
	const char *fault;		/* a sentence for the error, NULL where ROUTE_OK */
	const char *allow;		/* for 405: "GET, POST" */
	struct str collection;		/* "items" or the word of a type, as written; p NULL where not known */
	struct str workspace, item;	/* UUIDs in lower case; p NULL where not known */
	struct str job_type;		/* decoded once, caller's spelling; p NULL where the operation has none */
	struct str instance;		/* job instance or schedule id in lower case; p NULL where none */
	bool legacy;			/* the job type came by query alone */
	struct str upstream_target;	/* path and query as sent upstream, public path removed */
	bool is_other;			/* with ROUTE_UNKNOWN: a route under /v1 that is none of the scheduler's; upstream_target is set */
	struct str instances_path;	/* "/v1/.../jobs/instances" of the item: Location of an unknown outcome */
};

/* Other authorities that an absolute-form target may name: those of the listeners and of public_url. */
struct route_origin {
	struct str public_path;		/* accepted in front of /v1, and taken off; empty where none */
};

/*
 * Recognise TARGET (origin-form; the guard has reduced absolute-form). METHOD decides among
 * operations; HEAD is a GET. Fixed words match in any case but only unencoded; "*" is ROUTE_BAD_METHOD.
 * A job type is 1 to 128 bytes of [A-Za-z0-9_.-], not dots alone, not `instances` or `schedules`. The key
 * jobType counts in any case and encoding wherever the path has a job type too: a second or another one there
 * is ROUTE_BAD_JOB_TYPE; it is taken out for runs alone. Slices of OUT live in ARENA or in TARGET.
 * ROUTE_BAD_METHOD and ROUTE_BAD_JOB_TYPE leave workspace and item set for the record.
 */
enum route_verdict route_parse(struct arena *arena, struct str method, struct str target,
    const struct route_origin *origin, struct route *out);

#endif
