/*
 * Polls: what of a GET's answer may serve other GETs, for how long, and to whom (README, "Polls").
 *
 * This is no general cache (RFC 9111): Fabric's answers say no-store, and yet its status changes about once a minute.
 * What is kept is known by a declared rule: the answers to GETs of one job instance and of an item's list of instances,
 * status 200.
 */
#ifndef JOBGATE_RULES_POLL_H
#define JOBGATE_RULES_POLL_H

#include "base/arena.h"
#include "base/http1.h"
#include "rules/config.h"
#include "rules/route.h"

/* Longer ones of a single instance are none of Fabric's; a page of a list has about 100 of them. */
#define POLL_INSTANCE_BYTES 4096
#define POLL_LIST_BYTES 65536

/* What a caller wishes of a kept answer. */
struct poll_wish {
	bool conditional;	/* it has a precondition or a range: the upstream is to judge (RFC 9110 13, 14) */
	int64_t max_age_us;	/* of an answer that it takes; INT64_MAX: of any age that is due later */
};

/* Cache-Control's no-cache and max-age; Pragma: no-cache where there is no Cache-Control (RFC 9111 5.2.1, 5.4). */
struct poll_wish poll_read_wish(const struct http1_head *request);

/* Whether answers to OPERATION are kept and joined. */
bool poll_is_one(enum operation op);

/*
 * Whether a caller's FIELD that goes upstream may change what comes back, so that answers must not be mixed: all but
 * those that identify the call, its sender or its age, Authorization, which is a matter of rights, and an Accept that
 * takes anything.
 */
bool poll_selects(const struct http1_field *field);

/* Whether an answer's FIELD is its first reader's: a cookie, or of a name by which requests bring ids that an upstream repeats. */
bool poll_is_personal(const struct http1_field *field);

/*
 * Append what names an answer: as whom it was asked for (the identity, and its credential where that is the gateway's),
 * item, instance (none of a list), collection, query and what selects the representation; and what names the resource
 * that it is of, which is the same for all of its representations, queries and identities.
 */
void poll_add_key(struct buf *out, const struct config_identity *identity, const struct route *route,
    struct str selecting);
void poll_add_resource(struct buf *out, struct str workspace, struct str item, struct str instance);

/* How an instance is. */
struct poll_state {
	bool known;		/* the body is an instance's, with a status */
	bool terminal;		/* Completed, Failed, Cancelled, Deduped; what is not known is not terminal */
	uint64_t status;	/* of two bodies equal where their statuses are; 0: not known */
	/*
	 * Fabric has not found yet what it has just accepted (its failureReason says NotFound): that passes, and is not
	 * kept.
	 */
	bool brief;
};
/* NOW: what the instance's startTimeUtc is compared with; an instance older than a minute is told of as it is. */
struct poll_state poll_read_state(struct str body, struct wall_time now);

/*
 * How long an answer stands: of a terminal state `keep`; else `refresh`, or Retry-After where that is shorter and over
 * 0 (a 0 says nothing: Fabric's real ones mean no haste).
 */
int64_t poll_stands_us(const struct config_polls *polls, bool terminal, struct str retry_after);

/*
 * What is no 200 is not kept; but who asks for what is not there does not get the quota for it, nor who is refused. How
 * long after the COUNTth such answer in a row the next call waits: half a second, then twice as long each time, up to
 * `min_refresh`.
 */
int64_t poll_pause_us(const struct config_polls *polls, unsigned count);

/*
 * Write over FIELDS of a kept answer what it says of its time at AGE_US: Age (with the upstream's own added), and
 * Retry-After in whole seconds, at least 1: what remains of the upstream's own, else until it is due again, DUE_US
 * (under 0: it is late). A date stays as it is; a terminal state has none where the upstream sent none. There is room
 * for two more. Returns the new count.
 */
size_t poll_date(struct arena *arena, struct http1_field *fields, size_t count, int64_t age_us, int64_t due_us,
    bool terminal);

#endif
