/*
 * Audit records: the bytes of what a record says (contract, "Audit journal").
 *
 * Each function appends the members of one record without braces, beginning with "kind"; `v`, `journal`, `instance`, `seq`, `time`,
 * `prev` and `hash` are added by the journal, which alone knows the order. Values are bounded and escaped: every record is one JSON line
 * of at most RECORD_BYTES_MAX bytes.
 */
#ifndef JOBGATE_RULES_RECORD_H
#define JOBGATE_RULES_RECORD_H

#include "base/jsonw.h"
#include "rules/operation.h"
#include "rules/resolve.h"

#define RECORD_BYTES_MAX 16384
/* Most records fit: memory is taken once. */
#define RECORD_BYTES_USUAL 1000

enum record_result {
	RESULT_ACCEPTED, RESULT_REJECTED, RESULT_UNKNOWN, RESULT_REFUSED, RESULT_FAILED, RESULT_CANCELLED, RESULT_COUNT
};
struct str record_result_name(enum record_result r);

/* p NULL means: not known, null. */
struct record_request {
	struct str request_id, client_request_id, caller, key, identity, peer;
	enum operation operation;	/* OPERATION_NONE is null */
	struct str workspace, item, job_type;
	bool legacy;
	int64_t body_bytes;		/* -1: not known */
	struct str body_sha256;		/* hex */
};

struct record_outcome {
	enum record_result result;
	int status, answered;
	struct str error_code, location, instance_id, upstream_request_id;
	int attempts;			/* negative: not known */
	int64_t wait_ms, duration_ms;	/* the same */
};

struct record_refusal { int status; struct str error_code; };

/*
 * What looking for a run of unknown outcome among its item's instances came to. It stands behind the outcome, at most
 * RECORD_RESOLUTION_WITHIN_US later by the clocks of the gateway.
 */
#define RECORD_RESOLUTION_WITHIN_US (10 * 60 * INT64_C(1000000))
struct record_resolution {
	enum resolve_why why;
	bool by_activity;		/* where matched: else by time */
	struct str location, instance_id;	/* p NULL unless matched */
	int lists;			/* calls that were answered with a list */
};

/* FIRST_ID: the request whose answer it is. */
struct record_replay { int status; struct str first_id; };

struct record_config { struct str digest; /* hex */ struct str event; /* "start" or "reload" */ };

void record_intent(struct buf *out, const struct record_request *r);
/* INTENT: what record_intent has appended; what an outcome has in common with it is copied from there. */
void record_outcome(struct buf *out, struct str intent, const struct record_outcome *o);
/* For how many it stands is what record_count adds at its end. */
void record_refusal(struct buf *out, const struct record_request *r, const struct record_refusal *f);
/* `result` is "accepted" where it was matched, else "unknown" still. */
void record_resolution(struct buf *out, const struct record_request *r, const struct record_resolution *s);
/* The same. */
void record_replay(struct buf *out, const struct record_request *r, const struct record_replay *p);
void record_count(struct buf *out, int64_t count);
struct config;

/*
 * A list of callers that would go beyond the bound is cut, and "callers_omitted" says how many are missing; the
 * digest binds them all.
 */
void record_config(struct buf *out, const struct config *config, struct str digest_hex, struct str event);
void record_stop(struct buf *out, struct str reason);

/* What another journal was seen to have: `of_journal`, `of_seq`, `of_hash` (`journal`, `seq` and `hash` are the record's own). */
struct heads_head;
void record_anchor(struct buf *out, const struct heads_head *head);

/*
 * The outcome of an intent that a start found open: its fate is unknown. INTENT_LINE is the intent's whole line, with
 * or without the newline; the common members are copied from it as they stand, those that it does not have become
 * null. For journal_settings.make_unknown.
 */
void record_unknown_from_intent(struct buf *out, struct str intent_line);

#endif
