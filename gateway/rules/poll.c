/* Polls: what is kept, for how long, and what it says of its time. */
#include "rules/poll.h"

#include <string.h>

#include "base/json_scan.h"

/* It lasts a second or two after the 202 (fabric.md 3); beyond a minute it is the truth. */
#define POLL_BRIEF_US (60 * (int64_t)CLOCK_SECOND)
/* So soon it has passed, as a rule. */
#define POLL_PAUSE_US (CLOCK_SECOND / 2)
/* "continuationToken" is the longest key of a list; a longer one is not "status". */
#define POLL_KEY_BYTES 64

/* Who calls, which call it is, and what is of the message alone: none of it changes what an instance is. */
static const struct str harmless_names[] = { STR_INIT("Authorization"), STR_INIT("User-Agent"), STR_INIT("Date"),
	STR_INIT("From"), STR_INIT("Referer"), STR_INIT("Cache-Control"), STR_INIT("Pragma"), STR_INIT("Via"),
	STR_INIT("Content-Type"), STR_INIT("traceparent"), STR_INIT("tracestate"), STR_INIT("baggage"),
	STR_INIT("Request-Id"), STR_INIT("Correlation-Context"), STR_INIT("Correlation-Id"), STR_INIT("ms-cv"),
	STR_INIT("ActivityId"), STR_INIT("x-ms-useragent"), STR_INIT("x-ms-client-request-id"),
	STR_INIT("x-ms-client-session-id"), STR_INIT("x-ms-correlation-id"), STR_INIT("x-ms-correlation-request-id"),
	STR_INIT("x-ms-request-id") };

static const struct str personal_names[] = { STR_INIT("Set-Cookie"), STR_INIT("Set-Cookie2"), STR_INIT("traceparent"),
	STR_INIT("tracestate"), STR_INIT("traceresponse"), STR_INIT("baggage"), STR_INIT("Request-Id"), STR_INIT("Request-Context"),
	STR_INIT("Correlation-Context"), STR_INIT("Correlation-Id"), STR_INIT("ms-cv"), STR_INIT("ActivityId"),
	STR_INIT("x-ms-client-request-id"), STR_INIT("x-ms-client-session-id"), STR_INIT("x-ms-correlation-id"),
	STR_INIT("x-ms-correlation-request-id") };

static const struct str condition_names[] = { STR_INIT("If-Match"), STR_INIT("If-None-Match"),
	STR_INIT("If-Modified-Since"), STR_INIT("If-Unmodified-Since"), STR_INIT("If-Range"), STR_INIT("Range") };

static const struct str terminal_names[] = { STR_INIT("Completed"), STR_INIT("Failed"), STR_INIT("Cancelled"),
	STR_INIT("Deduped") };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Whether NAME is one of NAMES, without case. */
static bool
is_one_of(struct str name, const struct str *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq_nocase(name, names[i]))
			return true;
	return false;
}

/* Take what one Cache-Control line says of age into WISH. */
static void
read_cache_control(struct str value, struct poll_wish *wish)
{
	struct str part;
	uint64_t seconds;

	while (str_next(&value, ',', &part)) {
		part = str_trim(part);
		if (str_eq_nocase(part, STR("no-cache")))
			wish->max_age_us = 0;
		else if (str_starts_nocase(part, STR("max-age=")) && str_to_u64(str_sub(part, 8, part.n), &seconds)
		    && seconds < 1000000 && (int64_t)seconds * CLOCK_SECOND < wish->max_age_us)
			wish->max_age_us = (int64_t)seconds * CLOCK_SECOND;
	}
}

struct poll_wish
poll_read_wish(const struct http1_head *request)
{
	bool cache_control = http1_find(request, STR("Cache-Control")) != NULL;
	struct poll_wish wish = { .max_age_us = INT64_MAX };

	for (size_t i = 0; i < request->field_count; i++) {
		const struct http1_field *field = &request->fields[i];

		if (is_one_of(field->name, condition_names, COUNT(condition_names)))
			wish.conditional = true;
		if (str_eq_nocase(field->name, cache_control ? STR("Cache-Control") : STR("Pragma")))
			read_cache_control(field->value, &wish);
	}
	return wish;
}

bool
poll_is_one(enum operation op)
{
	return op == OPERATION_GET || op == OPERATION_LIST;
}

bool
poll_selects(const struct http1_field *field)
{
	if (str_eq_nocase(field->name, STR("Accept")) && str_eq(field->value, STR("*/*")))
		return false;
	return !is_one_of(field->name, harmless_names, COUNT(harmless_names));
}

bool
poll_is_personal(const struct http1_field *field)
{
	return is_one_of(field->name, personal_names, COUNT(personal_names));
}

/* Append one part of a key, in lower case where FOLD, with an end that no part has in it. */
static void
add_part(struct buf *out, struct str part, bool fold)
{
	char *p = buf_room(out, part.n + 1);

	if (fold)
		str_lower_copy(part, p);
	else if (part.n)
		memcpy(p, part.p, part.n);
	p[part.n] = '\n';
	out->n += part.n + 1;
}

void
poll_add_key(struct buf *out, const struct config_identity *identity, const struct route *route, struct str selecting)
{
	struct str target = route->upstream_target;

	add_part(out, identity->name, false);
	buf_add_int(out, identity->credential.kind);
	add_part(out, identity->credential.tenant, true);
	add_part(out, identity->credential.client_id, true);
	add_part(out, identity->credential.scope, false);
	add_part(out, route->workspace, true);
	add_part(out, route->collection, true);
	add_part(out, route->item, true);
	add_part(out, route->instance, true);
	add_part(out, str_sub(target, str_find_char(target, '?'), target.n), false);
	add_part(out, selecting, false);
}

void
poll_add_resource(struct buf *out, struct str workspace, struct str item, struct str instance)
{
	add_part(out, workspace, true);
	add_part(out, item, true);
	add_part(out, instance, true);
}

/* Whether the key just read is NAME. */
static bool
key_is(const struct json_scan *s, struct str name)
{
	char room[POLL_KEY_BYTES];

	if (s->text.n > sizeof(room))
		return false;
	return str_eq((struct str){ room, json_unescape(s->text, room) }, name);
}

/* Take the status just read; one that stands twice, or has no end, is not known. */
static void
take_status(const struct json_scan *s, struct poll_state *state)
{
	char room[POLL_KEY_BYTES];
	struct str status;

	if (state->status != 0 || s->text.n > sizeof(room)) {
		*state = (struct poll_state){ .status = 1 };
		return;
	}
	status = (struct str){ room, json_unescape(s->text, room) };
	state->known = true;
	state->terminal = is_one_of(status, terminal_names, COUNT(terminal_names));
	state->status = str_hash(STR_HASH_BEGIN, status) | 1;
}

/* Whether the value just begun, of failureReason, says that something was not found; it is read to its end. */
static bool
read_reason(struct json_scan *s, enum json_token token, bool *found)
{
	bool code = false;

	if (token != JSON_OBJECT)
		return token != JSON_ARRAY || json_scan_skip(s);
	while ((token = json_scan_next(s)) == JSON_KEY) {
		code = key_is(s, STR("errorCode"));
		token = json_scan_next(s);
		if (code && token == JSON_STRING && s->text.n >= 8
		    && str_eq_nocase(str_sub(s->text, s->text.n - 8, s->text.n), STR("NotFound")))
			*found = true;
		if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(s))
			return false;
	}
	return token == JSON_OBJECT_END;
}

/*
 * When an instance began: "2026-08-01T12:34:56.1234567", UTC with up to 7 digits of a fraction (fabric.md 2); 0: not
 * known.
 */
static struct wall_time
read_start(const struct json_scan *s)
{
	struct wall_time start = { 0 };
	char text[32];
	size_t n = s->text.n < 19 ? 0 : 19;

	memcpy(text, s->text.p, n);
	text[n] = 'Z';
	if (n == 0 || !clock_parse_date_time((struct str){ text, n + 1 }, &start))
		start.us = 0;
	return start;
}

/* What is read of an instance, until it is known to be one. */
struct reading { struct poll_state state; struct wall_time start; bool not_found; };

/* Take the member KEY whose value's first token is TOKEN; false on a fault. */
static bool
read_member(struct json_scan *s, struct reading *reading, bool is_status, bool is_start, bool is_reason,
    enum json_token token)
{
	if (is_status && token == JSON_STRING)
		take_status(s, &reading->state);
	if (is_start && token == JSON_STRING)
		reading->start = read_start(s);
	if (is_reason)
		return read_reason(s, token, &reading->not_found);
	return (token != JSON_OBJECT && token != JSON_ARRAY) || json_scan_skip(s);
}

struct poll_state
poll_read_state(struct str body, struct wall_time now)
{
	struct reading reading = { { 0 }, { 0 }, false };
	struct json_scan s;
	enum json_token token;

	json_scan_init(&s, body);
	if (json_scan_next(&s) != JSON_OBJECT)
		return reading.state;
	while ((token = json_scan_next(&s)) == JSON_KEY) {
		bool status = key_is(&s, STR("status")), start = key_is(&s, STR("startTimeUtc")),
		     reason = key_is(&s, STR("failureReason"));

		if (!read_member(&s, &reading, status, start, reason, json_scan_next(&s)))
			break;
	}
	if (!reading.state.known || token != JSON_OBJECT_END || json_scan_next(&s) != JSON_END)
		return (struct poll_state){ 0 };
	reading.state.brief = reading.not_found && (reading.start.us == 0 || now.us - reading.start.us < POLL_BRIEF_US);
	if (reading.state.brief)
		reading.state.terminal = false;
	return reading.state;
}

int64_t
poll_pause_us(const struct config_polls *polls, unsigned count)
{
	int64_t us = (int64_t)POLL_PAUSE_US << (count < 10 ? count - 1 : 9);

	return us < polls->min_refresh_us ? us : polls->min_refresh_us;
}

int64_t
poll_stands_us(const struct config_polls *polls, bool terminal, struct str retry_after)
{
	uint64_t seconds;

	if (terminal)
		return polls->keep_us;
	if (!str_to_u64(retry_after, &seconds) || seconds == 0
	    || seconds > (uint64_t)(polls->refresh_us / CLOCK_SECOND))
		return polls->refresh_us;
	return (int64_t)seconds * CLOCK_SECOND;
}

/* The field of that name, or NULL. */
static struct http1_field *
date_find(struct http1_field *fields, size_t count, struct str name)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq_nocase(fields[i].name, name))
			return &fields[i];
	return NULL;
}

/* Set NAME to seconds, in its place or at the end. */
static void
date_set(struct arena *arena, struct http1_field *fields, size_t *count, struct str name, int64_t seconds)
{
	struct http1_field *field = date_find(fields, *count, name);

	if (field == NULL) {
		field = &fields[(*count)++];
		field->name = name;
	}
	field->value = arena_printf(arena, "%lld", (long long)seconds);
}

/* What FIELD says in seconds; -1 where there is none, or it is no number that anybody means. */
static int64_t
date_seconds(const struct http1_field *field)
{
	uint64_t seconds;

	return field && str_to_u64(field->value, &seconds) && seconds < INT32_MAX ? (int64_t)seconds : -1;
}

size_t
poll_date(struct arena *arena, struct http1_field *fields, size_t count, int64_t age_us, int64_t due_us, bool terminal)
{
	int64_t age_s = age_us > 0 ? age_us / CLOCK_SECOND : 0;
	int64_t own_age_s = date_seconds(date_find(fields, count, STR("Age")));
	const struct http1_field *retry_after = date_find(fields, count, STR("Retry-After"));
	int64_t left_s = date_seconds(retry_after) - age_s;

	date_set(arena, fields, &count, STR("Age"), age_s + (own_age_s > 0 ? own_age_s : 0));
	if (retry_after == NULL && terminal)
		return count;		/* there is nothing to come back for */
	if (retry_after == NULL)
		left_s = due_us > 0 ? (due_us + CLOCK_SECOND - 1) / CLOCK_SECOND : 1;
	else if (date_seconds(retry_after) < 0)
		return count;
	date_set(arena, fields, &count, STR("Retry-After"), left_s > 1 ? left_s : 1);
	return count;
}
