/* Location and continuationUri. */
#include "rules/location.h"

#include "base/buf.h"
#include "base/json_scan.h"
#include "base/jsonw.h"
#include "rules/uuid.h"

#define HTTPS STR("https://")

/* Without its default port an authority is the same (RFC 3986 6.2.3). */
static struct str
without_default_port(struct str authority)
{
	struct str port = str_sub(authority, str_find_char(authority, ':'), authority.n);

	if (authority.n && authority.p[0] == '[')	/* colons inside the brackets are the address's */
		port = str_sub(authority, str_find_char(authority, ']') + 1, authority.n);
	if (str_eq(port, STR(":443")) || str_eq(port, STR(":")))
		authority.n -= port.n;
	return authority;
}

/*
 * Take the upstream's origin off the front of VALUE; false where it has another. The authority is all between "//" and
 * the next '/' or '?', so userinfo, a longer host name, a backslash or a fragment make it another one.
 */
static bool
strip_origin(struct str value, struct str origin, struct str *rest)
{
	size_t end;
	struct str authority;

	if (!str_starts_nocase(value, HTTPS) || !str_starts_nocase(origin, HTTPS))
		return false;
	for (end = HTTPS.n; end < value.n && value.p[end] != '/' && value.p[end] != '?'; end++)
		;
	authority = str_sub(value, HTTPS.n, end);
	if (!str_eq_nocase(without_default_port(authority), without_default_port(str_sub(origin, HTTPS.n, origin.n))))
		return false;
	*rest = str_sub(value, end, value.n);
	return true;
}

struct str
location_rewrite(struct arena *arena, struct str value, const struct location_rule *rule)
{
	struct str rest;

	if (strip_origin(value, rule->upstream_origin, &rest))
		return arena_join(arena, (struct str[]){ rule->public_origin, rule->public_path, rest }, 3);
	if (rule->public_path.n && str_starts(value, STR("/v1/")))
		return arena_join(arena, (struct str[]){ rule->public_path, value }, 2);
	return value;
}

/* Take the part behind the last '/' off the end of PATH. */
static struct str
take_last_segment(struct str *path)
{
	const char *slash = path->n ? memrchr(path->p, '/', path->n) : NULL;
	size_t at = slash ? (size_t)(slash + 1 - path->p) : 0;
	struct str segment;

	segment = str_sub(*path, at, path->n);
	path->n = at ? at - 1 : 0;
	return segment;
}

/* A lower-case copy of the UUID S. */
static struct str
copy_uuid(struct arena *arena, struct str s)
{
	char *room = arena_alloc(arena, UUID_BYTES + 1);

	uuid_lower(s, room);
	return (struct str){ room, UUID_BYTES };
}

struct str
location_instance_id(struct arena *arena, struct str location, struct str job_id)
{
	struct str path = str_sub(location, 0, str_find_char(location, '#')), last, before;

	path = str_sub(path, 0, str_find_char(path, '?'));
	last = take_last_segment(&path);
	before = take_last_segment(&path);
	if (uuid_is(last) && (str_eq_nocase(before, STR("instances")) || str_eq_nocase(before, STR("schedules"))))
		return copy_uuid(arena, last);
	return job_id.p && uuid_is(job_id) ? copy_uuid(arena, job_id) : (struct str){ NULL, 0 };
}

/* Tell whether the key just read is NAME, escapes undone. */
static bool
key_is(const struct json_scan *s, struct str name)
{
	char room[128];		/* every character of the name as an escape of six bytes, and more */

	if (!s->escaped)
		return str_eq(s->text, name);
	if (s->text.n > sizeof(room))
		return false;
	return str_eq((struct str){ room, json_unescape(s->text, room) }, name);
}

/* Append what stands behind *DONE and the string value just read, rewritten, to OUT; nothing where the value stays. */
static void
rewrite_string(struct arena *arena, const struct json_scan *s, const struct location_rule *rule, struct buf *out,
    size_t *done)
{
	size_t start = (size_t)(s->text.p - s->input.p);
	struct str plain = s->text, new;
	char *room;

	if (s->escaped) {
		room = arena_alloc(arena, s->text.n);
		plain = (struct str){ room, json_unescape(s->text, room) };
	}
	new = location_rewrite(arena, plain, rule);
	if (new.p == plain.p)
		return;
	buf_add(out, str_sub(s->input, *done, start));
	jsonw_escape(out, new);
	*done = start + s->text.n;
}

/* Read the members of the object that has been opened, rewriting into OUT up to *DONE; false on a fault. */
static bool
rewrite_members(struct arena *arena, struct json_scan *s, const struct location_rule *rule, struct buf *out,
    size_t *done)
{
	enum json_token token;

	while ((token = json_scan_next(s)) == JSON_KEY) {
		bool hit = key_is(s, STR("continuationUri"));

		token = json_scan_next(s);
		if (hit && token == JSON_STRING)
			rewrite_string(arena, s, rule, out, done);
		if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(s))
			return false;
	}
	return token == JSON_OBJECT_END;
}

struct str
location_rewrite_list(struct arena *arena, struct str body, const struct location_rule *rule)
{
	struct json_scan s;
	struct buf out = BUF_EMPTY;
	size_t done = 0;
	struct str result = body;

	json_scan_init(&s, body);
	if (json_scan_next(&s) == JSON_OBJECT && rewrite_members(arena, &s, rule, &out, &done) &&
	    json_scan_next(&s) == JSON_END && done > 0) {
		buf_add(&out, str_sub(body, done, body.n));
		result = arena_copy(arena, buf_str(&out));
	}
	buf_fini(&out);
	return result;
}
