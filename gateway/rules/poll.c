/* Polls: what is kept, for how long, and what it says of its time. */
#include "rules/poll.h"

#include <string.h>

#include "base/json_scan.h"

/* An upstream that says more has made a mistake; the known ones say 60. */
#define POLL_RETRY_AFTER_MAX_S 300
/* "continuationToken" is the longest key of a list; a longer one is not "status". */
#define POLL_KEY_BYTES 64

/* Who calls, which call it is, and what is of the message alone: none of it changes what an instance is. */
static const struct str harmless_names[] = { STR_INIT("Authorization"), STR_INIT("User-Agent"), STR_INIT("x-ms-useragent"),
	STR_INIT("Date"), STR_INIT("From"), STR_INIT("Referer"), STR_INIT("Cache-Control"), STR_INIT("Pragma"), STR_INIT("Via"),
	STR_INIT("Content-Type"), STR_INIT("traceparent"), STR_INIT("tracestate"), STR_INIT("baggage"), STR_INIT("Request-Id"),
	STR_INIT("Correlation-Context"), STR_INIT("Correlation-Id"), STR_INIT("ms-cv"), STR_INIT("ActivityId"),
	STR_INIT("x-ms-client-request-id"), STR_INIT("x-ms-client-session-id"), STR_INIT("x-ms-correlation-id"),
	STR_INIT("x-ms-correlation-request-id"), STR_INIT("x-ms-request-id") };

static const struct str condition_names[] = { STR_INIT("If-Match"), STR_INIT("If-None-Match"), STR_INIT("If-Modified-Since"),
	STR_INIT("If-Unmodified-Since"), STR_INIT("If-Range"), STR_INIT("Range") };

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

/* Append one part of a key, in lower case where FOLD, with an end that no part has in it. */
static void
add_part(struct buf *out, struct str part, bool fold)
{
	for (size_t i = 0; i < part.n; i++)
		buf_add_char(out, fold ? str_lower(part.p[i]) : part.p[i]);
	buf_add_char(out, '\n');
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

struct poll_state
poll_read_state(struct str body)
{
	struct poll_state state = { 0 };
	struct json_scan s;
	enum json_token token;

	json_scan_init(&s, body);
	if (json_scan_next(&s) != JSON_OBJECT)
		return state;
	while ((token = json_scan_next(&s)) == JSON_KEY) {
		bool status = key_is(&s, STR("status"));

		token = json_scan_next(&s);
		if (status && token == JSON_STRING)
			take_status(&s, &state);
		if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(&s))
			break;
	}
	if (state.known && token == JSON_OBJECT_END && json_scan_next(&s) == JSON_END)
		return state;
	return (struct poll_state){ 0 };
}

int64_t
poll_stands_us(const struct config_polls *polls, bool terminal, struct str retry_after)
{
	uint64_t seconds;

	if (polls->refresh_us == 0)
		return 0;
	if (terminal)
		return polls->keep_us;
	if (!str_to_u64(retry_after, &seconds) || seconds == 0)
		return polls->refresh_us;
	return (int64_t)(seconds < POLL_RETRY_AFTER_MAX_S ? seconds : POLL_RETRY_AFTER_MAX_S) * CLOCK_SECOND;
}

/* The field of that name, or a new one at the end. */
static struct http1_field *
date_field(struct http1_field *fields, size_t *count, struct str name)
{
	for (size_t i = 0; i < *count; i++)
		if (str_eq_nocase(fields[i].name, name))
			return &fields[i];
	fields[*count] = (struct http1_field){ name, { NULL, 0 } };
	return &fields[(*count)++];
}

/* The whole seconds of US, rounded up. */
static int64_t
seconds_up(int64_t us)
{
	return us <= 0 ? 0 : (us + CLOCK_SECOND - 1) / CLOCK_SECOND;
}

size_t
poll_date(struct arena *arena, struct http1_field *fields, size_t count, int64_t age_us, int64_t due_us, bool terminal)
{
	struct http1_field *field = date_field(fields, &count, STR("Age"));
	size_t without = count;
	uint64_t own = 0;

	if (age_us < 0)
		age_us = 0;
	if (!str_to_u64(field->value, &own) || own > INT32_MAX)
		own = 0;
	field->value = arena_printf(arena, "%llu", (unsigned long long)own + (unsigned long long)(age_us / CLOCK_SECOND));
	field = date_field(fields, &count, STR("Retry-After"));
	if (terminal && count > without)
		return without;		/* there is nothing to come back for */
	if (field->value.p == NULL || str_to_u64(field->value, &own))
		field->value = arena_printf(arena, "%d", due_us > CLOCK_SECOND ? (int)seconds_up(due_us) : 1);
	return count;
}
