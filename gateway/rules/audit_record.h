/*
 * The journal's records as a reader sees them (contract, "Audit journal"): their members, whether they are looked for,
 * and a trigger put together from its intent and its outcome.
 *
 * A reader skips kinds and members that it does not know. Values are slices of the line, strings still escaped.
 */
#ifndef JOBGATE_RULES_AUDIT_RECORD_H
#define JOBGATE_RULES_AUDIT_RECORD_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/json_scan.h"

enum audit_kind { AUDIT_INTENT, AUDIT_OUTCOME, AUDIT_REFUSAL, AUDIT_REPLAY, AUDIT_RESOLUTION, AUDIT_OTHER };

/* The members, in the order in which a trigger is written out. */
enum audit_member {
	AUDIT_TIME, AUDIT_JOURNAL, AUDIT_INSTANCE, AUDIT_SEQ, AUDIT_OUTCOME_SEQ, AUDIT_REQUEST_ID, AUDIT_CLIENT_REQUEST_ID,
	AUDIT_CALLER, AUDIT_KEY, AUDIT_IDENTITY, AUDIT_PEER, AUDIT_OPERATION, AUDIT_WORKSPACE, AUDIT_ITEM, AUDIT_JOB_TYPE,
	AUDIT_LEGACY, AUDIT_BODY_BYTES, AUDIT_BODY_SHA256, AUDIT_RESULT, AUDIT_STATUS, AUDIT_ANSWERED, AUDIT_ERROR_CODE,
	AUDIT_LOCATION, AUDIT_INSTANCE_ID, AUDIT_UPSTREAM_REQUEST_ID, AUDIT_ATTEMPTS, AUDIT_WAIT_MS, AUDIT_DURATION_MS,
	AUDIT_COUNT, AUDIT_FIRST_REQUEST_ID, AUDIT_RESOLUTION_SEQ, AUDIT_MEMBER_COUNT
};

/* The name of a member in records. */
struct str audit_member_name(enum audit_member member);

/* A value as it stands in the line; TOKEN is JSON_NULL where it is null or not there. */
struct audit_value { enum json_token token; struct str text; };

struct audit_record {
	enum audit_kind kind;
	struct str kind_name;		/* as it stands in the line, still escaped */
	uint64_t seq;
	struct wall_time time;
	struct audit_value values[AUDIT_MEMBER_COUNT];
};

/* Read LINE (without newline); NULL, or a phrase about what is wrong. Slices of OUT are LINE's. */
const char *audit_record_read(struct str line, struct audit_record *out);

/* RECORD was read from a line at FROM, of which there is a copy at TO: its slices are the copy's from now on. */
void audit_record_rebase(struct audit_record *record, const char *from, const char *to);

/* Its result: a refusal and a replay say by their kind what they are. */
struct audit_value audit_record_result(const struct audit_record *trigger);

/* Put what OUTCOME says to its INTENT: a whole trigger. */
void audit_record_join(struct audit_record *intent, const struct audit_record *outcome);

/* Put what RESOLUTION, which found the job of an unknown outcome, says in the place of what was not known. */
void audit_record_resolve(struct audit_record *trigger, const struct audit_record *resolution);

/* What is looked for; p NULL: anything. Job types and ids compare without case. */
struct audit_filter {
	struct str values[AUDIT_MEMBER_COUNT];
	struct wall_time since, until;	/* of the intent or refusal; since included, until not */
};

/* Whether an intent, a refusal or a replay may be looked for, as far as it is known: the outcome's members are not looked at. */
bool audit_filter_may_match(const struct audit_filter *filter, const struct audit_record *record);
/* Whether a whole trigger, a refusal, a replay, or an intent that will have no outcome is looked for. */
bool audit_filter_matches(const struct audit_filter *filter, const struct audit_record *record);

#endif
