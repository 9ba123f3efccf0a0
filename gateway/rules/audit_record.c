/* The journal's records as a reader sees them. */
#include "rules/audit_record.h"

#include <string.h>

static const struct {
	struct str name;
	bool of_outcome;	/* an intent does not have it */
	bool any_case;		/* ids and job types */
} members[AUDIT_MEMBER_COUNT] = {
	[AUDIT_TIME] = { STR_INIT("time"), false, false },
	[AUDIT_JOURNAL] = { STR_INIT("journal"), false, true },
	[AUDIT_INSTANCE] = { STR_INIT("instance"), false, false },
	[AUDIT_SEQ] = { STR_INIT("seq"), false, false },
	[AUDIT_OUTCOME_SEQ] = { STR_INIT("outcome_seq"), true, false },
	[AUDIT_REQUEST_ID] = { STR_INIT("request_id"), false, true },
	[AUDIT_CLIENT_REQUEST_ID] = { STR_INIT("client_request_id"), false, false },
	[AUDIT_CALLER] = { STR_INIT("caller"), false, false },
	[AUDIT_KEY] = { STR_INIT("key"), false, false },
	[AUDIT_IDENTITY] = { STR_INIT("identity"), false, false },
	[AUDIT_PEER] = { STR_INIT("peer"), false, false },
	[AUDIT_OPERATION] = { STR_INIT("operation"), false, false },
	[AUDIT_WORKSPACE] = { STR_INIT("workspace"), false, true },
	[AUDIT_ITEM] = { STR_INIT("item"), false, true },
	[AUDIT_JOB_TYPE] = { STR_INIT("job_type"), false, true },
	[AUDIT_LEGACY] = { STR_INIT("legacy"), false, false },
	[AUDIT_BODY_BYTES] = { STR_INIT("body_bytes"), false, false },
	[AUDIT_BODY_SHA256] = { STR_INIT("body_sha256"), false, true },
	[AUDIT_RESULT] = { STR_INIT("result"), true, false },
	[AUDIT_STATUS] = { STR_INIT("status"), true, false },
	[AUDIT_ANSWERED] = { STR_INIT("answered"), true, false },
	[AUDIT_ERROR_CODE] = { STR_INIT("error_code"), true, false },
	[AUDIT_LOCATION] = { STR_INIT("location"), true, false },
	[AUDIT_INSTANCE_ID] = { STR_INIT("instance_id"), true, true },
	[AUDIT_UPSTREAM_REQUEST_ID] = { STR_INIT("upstream_request_id"), true, true },
	[AUDIT_ATTEMPTS] = { STR_INIT("attempts"), true, false },
	[AUDIT_WAIT_MS] = { STR_INIT("wait_ms"), true, false },
	[AUDIT_DURATION_MS] = { STR_INIT("duration_ms"), true, false },
	[AUDIT_COUNT] = { STR_INIT("count"), true, false },
	[AUDIT_FIRST_REQUEST_ID] = { STR_INIT("first_request_id"), true, true },
	[AUDIT_RESOLUTION_SEQ] = { STR_INIT("resolution_seq"), true, false },
};

struct str
audit_member_name(enum audit_member member)
{
	return members[member].name;
}

/*
 * The member of that name; AUDIT_MEMBER_COUNT for one that is not known. It is looked for from AT on, since the members
 * of a line come in the order of the table but for a few.
 */
static enum audit_member
member_from(struct str name, int at)
{
	for (int i = at; i < AUDIT_MEMBER_COUNT; i++)
		if (str_eq(members[i].name, name))
			return (enum audit_member)i;
	for (int i = 0; i < at; i++)
		if (str_eq(members[i].name, name))
			return (enum audit_member)i;
	return AUDIT_MEMBER_COUNT;
}

/* The kind of that name. */
static enum audit_kind
kind_from(struct str name)
{
	if (str_eq(name, STR("intent")))
		return AUDIT_INTENT;
	if (str_eq(name, STR("outcome")))
		return AUDIT_OUTCOME;
	if (str_eq(name, STR("refusal")))
		return AUDIT_REFUSAL;
	if (str_eq(name, STR("replay")))
		return AUDIT_REPLAY;
	return str_eq(name, STR("resolution")) ? AUDIT_RESOLUTION : AUDIT_OTHER;
}

/* Read the value behind KEY; false where it is no JSON. AT: where the next member is looked for first. */
static bool
read_value(struct json_scan *scan, struct str key, struct audit_record *out, int *at)
{
	enum audit_member member = member_from(key, *at);
	enum json_token token = json_scan_next(scan);

	if (member < AUDIT_MEMBER_COUNT)
		*at = (int)member + 1;
	if (token == JSON_OBJECT || token == JSON_ARRAY)
		return json_scan_skip(scan);
	if (member < AUDIT_MEMBER_COUNT)
		out->values[member] = (struct audit_value){ token, scan->text };
	else if (token == JSON_STRING && str_eq(key, STR("kind"))) {
		out->kind_name = scan->text;
		out->kind = kind_from(scan->text);
	}
	return token != JSON_FAULT;
}

/* Whether the members are there that every record has. */
static const char *
read_common(struct audit_record *out)
{
	if (out->values[AUDIT_SEQ].token != JSON_NUMBER || !str_to_u64(out->values[AUDIT_SEQ].text, &out->seq))
		return "it has no seq";
	if (out->values[AUDIT_TIME].token != JSON_STRING || !clock_parse_rfc3339(out->values[AUDIT_TIME].text, &out->time))
		return "it has no time";
	if (out->values[AUDIT_JOURNAL].token != JSON_STRING)
		return "it names no journal";
	if (out->kind != AUDIT_OTHER && out->values[AUDIT_REQUEST_ID].token != JSON_STRING)
		return "it has no request_id";
	return NULL;
}

const char *
audit_record_read(struct str line, struct audit_record *out)
{
	struct json_scan scan;
	enum json_token token;
	int at = 0;

	out->kind = AUDIT_OTHER;
	out->kind_name = STR("");
	for (int i = 0; i < AUDIT_MEMBER_COUNT; i++)
		out->values[i] = (struct audit_value){ JSON_NULL, { NULL, 0 } };
	json_scan_init(&scan, line);
	if (json_scan_next(&scan) != JSON_OBJECT)
		return "it is no JSON object";
	while ((token = json_scan_next(&scan)) == JSON_KEY)
		if (!read_value(&scan, scan.text, out, &at))
			return "it is no JSON";
	if (token != JSON_OBJECT_END || json_scan_next(&scan) != JSON_END)
		return "it is no JSON";
	return read_common(out);
}

/* Make a slice of FROM the same slice of TO. */
static void
str_rebase(struct str *s, const char *from, const char *to)
{
	if (s->p)
		s->p = to + (s->p - from);
}

void
audit_record_rebase(struct audit_record *record, const char *from, const char *to)
{
	if (record->kind_name.n > 0)
		str_rebase(&record->kind_name, from, to);
	for (int i = 0; i < AUDIT_MEMBER_COUNT; i++)
		str_rebase(&record->values[i].text, from, to);
}

struct audit_value
audit_record_result(const struct audit_record *trigger)
{
	if (trigger->kind == AUDIT_REFUSAL)
		return (struct audit_value){ JSON_STRING, STR("refused") };
	if (trigger->kind == AUDIT_REPLAY)
		return (struct audit_value){ JSON_STRING, STR("replayed") };
	return trigger->values[AUDIT_RESULT];
}

void
audit_record_join(struct audit_record *intent, const struct audit_record *outcome)
{
	for (int i = 0; i < AUDIT_MEMBER_COUNT; i++)
		if (members[i].of_outcome)
			intent->values[i] = outcome->values[i];
	intent->values[AUDIT_OUTCOME_SEQ] = outcome->values[AUDIT_SEQ];
}

void
audit_record_resolve(struct audit_record *trigger, const struct audit_record *resolution)
{
	static const enum audit_member found[] = { AUDIT_RESULT, AUDIT_LOCATION, AUDIT_INSTANCE_ID };

	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
		trigger->values[found[i]] = resolution->values[found[i]];
	trigger->values[AUDIT_RESOLUTION_SEQ] = resolution->values[AUDIT_SEQ];
}

/* Whether member I of RECORD is what is looked for. */
static bool
matches_member(const struct audit_filter *filter, const struct audit_record *record, int i)
{
	struct str wanted = filter->values[i], is = record->values[i].text;

	if (wanted.p == NULL)
		return true;
	if (record->values[i].token == JSON_NULL)
		return false;
	return members[i].any_case ? str_eq_nocase(wanted, is) : str_eq(wanted, is);
}

bool
audit_filter_may_match(const struct audit_filter *filter, const struct audit_record *record)
{
	if (record->time.us < filter->since.us || record->time.us >= filter->until.us)
		return false;
	for (int i = 0; i < AUDIT_MEMBER_COUNT; i++)
		if (!members[i].of_outcome && !matches_member(filter, record, i))
			return false;
	return true;
}

bool
audit_filter_matches(const struct audit_filter *filter, const struct audit_record *record)
{
	struct str wanted = filter->values[AUDIT_RESULT];

	if (!audit_filter_may_match(filter, record))
		return false;
	if (wanted.p && !str_eq(wanted, audit_record_result(record).text))
		return false;
	for (int i = 0; i < AUDIT_MEMBER_COUNT; i++)
		if (members[i].of_outcome && i != AUDIT_RESULT && !matches_member(filter, record, i))
			return false;
	return true;
}
