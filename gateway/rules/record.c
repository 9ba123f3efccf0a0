/* Audit records. */
#include "rules/record.h"

#include "base/check.h"
#include "base/json_scan.h"
#include "rules/config.h"
#include "rules/heads.h"

/*
 * How many bytes a value may have in the record, its escapes counted: whatever comes in, the
 * sum stays far below RECORD_BYTES_MAX. Ids are UUIDs or hex digests; names and job types have
 * bounds of their own that are lower; Locations of the service have about 200 bytes.
 */
#define RECORD_ID_MAX 64
#define RECORD_NAME_MAX 128
#define RECORD_LOCATION_MAX 2048

/* What a config record's list of callers may take, so that the journal's own members have room too. */
#define RECORD_CALLERS_MAX (RECORD_BYTES_MAX - 4096)

/* No common member that this module wrote is longer. */
#define RECORD_COPIED_MAX 1024

struct str
record_result_name(enum record_result r)
{
	static const struct str names[RESULT_COUNT] = { STR_INIT("accepted"), STR_INIT("rejected"), STR_INIT("unknown"),
		STR_INIT("refused"), STR_INIT("failed"), STR_INIT("cancelled") };

	return names[r];
}

/*
 * Write a string of at most MAX bytes as written, or null where VALUE.p is NULL. One byte makes at most
 * six (\u001f), so dropping a sixth of what is too much never drops too much, and a few rounds do.
 */
static void
record_put_string(struct jsonw *w, struct str key, struct str value, size_t max)
{
	size_t start = w->out->n, keep = value.n < max ? value.n : max, written;
	bool comma = w->comma;

	if (value.p == NULL) {
		jsonw_put_raw(w, key, STR("null"));
		return;
	}
	for (;;) {
		written = jsonw_put_string(w, key, utf8_cut(value, keep));
		if (written <= max)
			return;
		keep -= (written - max + 5) / 6;
		w->out->n = start;
		w->comma = comma;
	}
}

/* The same of a key whose length is known when this is compiled, as nearly all are. */
static inline void
record_string(struct jsonw *w, const char *key, struct str value, size_t max)
{
	record_put_string(w, str_from(key), value, max);
}

/* Write a number, or null where it is negative: not known. */
static void
record_number(struct jsonw *w, const char *key, int64_t value)
{
	if (value < 0)
		jsonw_null(w, key);
	else
		jsonw_int(w, key, value);
}

/* Write the kind and the members that intent, outcome and refusal share. */
static void
record_common(struct jsonw *w, struct str kind, const struct record_request *r)
{
	struct str operation = { NULL, 0 };

	if (r->operation != OPERATION_NONE)
		operation = operation_name(r->operation);
	jsonw_string(w, "kind", kind);
	record_string(w, "request_id", r->request_id, RECORD_ID_MAX);
	record_string(w, "client_request_id", r->client_request_id, RECORD_NAME_MAX);
	record_string(w, "caller", r->caller, RECORD_NAME_MAX);
	record_string(w, "key", r->key, RECORD_ID_MAX);
	record_string(w, "identity", r->identity, RECORD_NAME_MAX);
	record_string(w, "peer", r->peer, RECORD_ID_MAX);
	record_string(w, "operation", operation, RECORD_ID_MAX);
}

/* Write what was asked for: intent and refusal. */
static void
record_asked(struct jsonw *w, const struct record_request *r)
{
	record_string(w, "workspace", r->workspace, RECORD_ID_MAX);
	record_string(w, "item", r->item, RECORD_ID_MAX);
	record_string(w, "job_type", r->job_type, RECORD_NAME_MAX);
	jsonw_bool(w, "legacy", r->legacy);
	record_number(w, "body_bytes", r->body_bytes);
	record_string(w, "body_sha256", r->body_sha256, RECORD_ID_MAX);
}

void
record_intent(struct buf *out, const struct record_request *r)
{
	struct jsonw w = { .out = out };

	record_common(&w, STR("intent"), r);
	record_asked(&w, r);
}

/* The common members of what record_intent has written, the comma before them included: no value has such a key's quotes in it. */
static struct str
record_common_of(struct str intent)
{
	size_t kind = sizeof("\"kind\":\"intent\"") - 1, asked = str_find(intent, STR(",\"workspace\":"));

	check(kind < asked && asked < intent.n);
	return str_sub(intent, kind, asked);
}

void
record_outcome(struct buf *out, struct str intent, const struct record_outcome *o)
{
	struct jsonw w = { .out = out };

	jsonw_string(&w, "kind", STR("outcome"));
	buf_add(out, record_common_of(intent));
	jsonw_string(&w, "result", record_result_name(o->result));
	jsonw_int(&w, "status", o->status);
	jsonw_int(&w, "answered", o->answered);
	record_string(&w, "error_code", o->error_code, RECORD_NAME_MAX);
	record_string(&w, "location", o->location, RECORD_LOCATION_MAX);
	record_string(&w, "instance_id", o->instance_id, RECORD_ID_MAX);
	record_string(&w, "upstream_request_id", o->upstream_request_id, RECORD_NAME_MAX);
	record_number(&w, "attempts", o->attempts);
	record_number(&w, "wait_ms", o->wait_ms);
	record_number(&w, "duration_ms", o->duration_ms);
}

void
record_refusal(struct buf *out, const struct record_request *r, const struct record_refusal *f)
{
	struct jsonw w = { .out = out };

	record_common(&w, STR("refusal"), r);
	record_asked(&w, r);
	jsonw_int(&w, "status", f->status);
	record_string(&w, "error_code", f->error_code, RECORD_NAME_MAX);
}

void
record_resolution(struct buf *out, const struct record_request *r, const struct record_resolution *s)
{
	struct jsonw w = { .out = out };
	bool matched = s->why == RESOLVE_MATCHED;
	struct str by = { NULL, 0 };

	if (matched)
		by = s->by_activity ? STR("activity") : STR("time");
	record_common(&w, STR("resolution"), r);
	jsonw_string(&w, "result", record_result_name(matched ? RESULT_ACCEPTED : RESULT_UNKNOWN));
	jsonw_string(&w, "why", resolve_why_name(s->why));
	record_string(&w, "matched_by", by, RECORD_ID_MAX);
	record_string(&w, "location", s->location, RECORD_LOCATION_MAX);
	record_string(&w, "instance_id", s->instance_id, RECORD_ID_MAX);
	jsonw_int(&w, "lists", s->lists);
}

void
record_replay(struct buf *out, const struct record_request *r, const struct record_replay *p)
{
	struct jsonw w = { .out = out };

	record_common(&w, STR("replay"), r);
	record_asked(&w, r);
	jsonw_int(&w, "answered", p->status);
	record_string(&w, "first_request_id", p->first_id, RECORD_ID_MAX);
}

void
record_count(struct buf *out, int64_t count)
{
	struct jsonw w = { .out = out, .comma = true };

	jsonw_int(&w, "count", count);
}

/* Write one caller's name and the ids of all it is known by; false, with nothing written, where that goes beyond LIMIT. */
static bool
record_caller(struct jsonw *w, const struct config_caller *caller, size_t limit)
{
	struct jsonw before = *w;
	size_t start = w->out->n;

	jsonw_object(w, NULL);
	record_string(w, "name", caller->name, RECORD_NAME_MAX);
	jsonw_array(w, "keys");
	for (size_t i = 0; i < caller->key_count && w->out->n < limit; i++)
		record_string(w, NULL, caller->keys[i].id, RECORD_ID_MAX);
	for (size_t i = 0; i < caller->token_count && w->out->n < limit; i++)
		record_string(w, NULL, caller->tokens[i].id, RECORD_ID_MAX);
	for (size_t i = 0; i < caller->certificate_count && w->out->n < limit; i++)
		record_string(w, NULL, caller->certificates[i].id, RECORD_ID_MAX);
	jsonw_end_array(w);
	jsonw_end_object(w);
	if (w->out->n <= limit)
		return true;
	*w = before;
	w->out->n = start;
	return false;
}

void
record_config(struct buf *out, const struct config *config, struct str digest_hex, struct str event)
{
	struct jsonw w = { .out = out };
	size_t limit = out->n + RECORD_CALLERS_MAX, i = 0;

	jsonw_string(&w, "kind", STR("config"));
	record_string(&w, "digest", digest_hex, RECORD_ID_MAX);
	record_string(&w, "event", event, RECORD_ID_MAX);
	jsonw_string(&w, "body_digest", config->audit_hmac.n ? STR("hmac-sha256") : STR("sha256"));
	jsonw_array(&w, "callers");
	while (i < config->caller_count && record_caller(&w, &config->callers[i], limit))
		i++;
	jsonw_end_array(&w);
	if (i < config->caller_count)
		jsonw_int(&w, "callers_omitted", (int64_t)(config->caller_count - i));
}

void
record_stop(struct buf *out, struct str reason)
{
	struct jsonw w = { .out = out };

	jsonw_string(&w, "kind", STR("stop"));
	record_string(&w, "reason", reason, RECORD_NAME_MAX);
}

void
record_anchor(struct buf *out, const struct heads_head *head)
{
	struct jsonw w = { .out = out };

	jsonw_string(&w, "kind", STR("anchor"));
	jsonw_string(&w, "of_journal", str_from(head->journal));
	jsonw_int(&w, "of_seq", (int64_t)head->seq);
	jsonw_string(&w, "of_hash", (struct str){ head->hash, HEADS_HASH_HEX });
}

/* The members that an outcome has in common with its intent, as record_common writes them. */
static const char *const common[] = { "request_id", "client_request_id", "caller", "key", "identity", "peer",
	"operation" };
#define COMMON_COUNT (sizeof(common) / sizeof(common[0]))

/* Return the JSON of the TOKEN just read, as it stands in the line; p NULL for null and what is no value of ours. */
static struct str
raw_scalar(const struct json_scan *s, enum json_token token)
{
	struct str raw = s->text;

	if (token == JSON_STRING)
		raw = (struct str){ s->text.p - 1, s->text.n + 2 };
	else if (token != JSON_NUMBER)
		return (struct str){ NULL, 0 };
	return raw.n <= RECORD_COPIED_MAX ? raw : (struct str){ NULL, 0 };
}

/* Find the common members of an intent's line; those that are not found before a fault stay p NULL. */
static void
find_common(struct str line, struct str found[COMMON_COUNT])
{
	struct json_scan s;
	enum json_token token;
	struct str key;

	json_scan_init(&s, line);
	if (json_scan_next(&s) != JSON_OBJECT)
		return;
	while (json_scan_next(&s) == JSON_KEY) {
		key = s.text;
		token = json_scan_next(&s);
		for (size_t i = 0; i < COMMON_COUNT; i++)
			if (found[i].p == NULL && str_eq(key, str_from(common[i])))
				found[i] = raw_scalar(&s, token);
		if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(&s))
			return;
	}
}

void
record_unknown_from_intent(struct buf *out, struct str intent_line)
{
	static const char *const unknown[] = { "location", "instance_id", "upstream_request_id", "attempts", "wait_ms",
		"duration_ms" };
	struct str found[COMMON_COUNT] = { { NULL, 0 } };
	struct jsonw w = { .out = out };

	find_common(intent_line, found);
	jsonw_string(&w, "kind", STR("outcome"));
	for (size_t i = 0; i < COMMON_COUNT; i++)
		jsonw_raw(&w, common[i], found[i].p ? found[i] : STR("null"));
	jsonw_string(&w, "result", record_result_name(RESULT_UNKNOWN));
	jsonw_int(&w, "status", 0);
	jsonw_int(&w, "answered", 0);
	jsonw_string(&w, "error_code", STR("JobgateOutcomeUnknown"));
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		jsonw_null(&w, unknown[i]);
}
