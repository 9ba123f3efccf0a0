/* What an upstream's error body says. */
#include "rules/jobbody.h"

#include "base/json_scan.h"
#include "base/utf8.h"

/* A larger error body is not Fabric's. */
#define JOBBODY_ERROR_BYTES 65536

/* As much of an errorCode as records and answers carry; an escape makes six bytes of one. */
#define JOBBODY_CODE_BYTES 128
#define JOBBODY_ESCAPED_BYTES (JOBBODY_CODE_BYTES * 6)

/* Tell whether the key just read is NAME. */
static bool
key_is(const struct json_scan *s, struct str name)
{
	char room[JOBBODY_ESCAPED_BYTES];

	if (!s->escaped)
		return str_eq(s->text, name);
	if (s->text.n > sizeof(room))
		return false;
	return str_eq((struct str){ room, json_unescape(s->text, room) }, name);
}

/* Copy the string just read, cut to what an errorCode may have; p NULL where it is empty. */
static struct str
copy_code(struct arena *arena, const struct json_scan *s)
{
	char *room;

	if (s->text.n == 0)
		return (struct str){ NULL, 0 };
	room = arena_alloc(arena, s->text.n + 1);
	return utf8_cut((struct str){ room, json_unescape(s->text, room) }, JOBBODY_CODE_BYTES);
}

/* Read the members of the opened object into ERROR; the first errorCode counts, every isRetriable must be true. */
static enum json_token
read_members(struct arena *arena, struct json_scan *s, struct jobbody_error *error)
{
	bool denied = false;
	enum json_token token;

	while ((token = json_scan_next(s)) == JSON_KEY) {
		bool code = key_is(s, STR("errorCode")), retriable = key_is(s, STR("isRetriable"));

		token = json_scan_next(s);
		if (code && token == JSON_STRING && error->error_code.p == NULL)
			error->error_code = copy_code(arena, s);
		if (retriable)
			denied = denied || token != JSON_TRUE;
		error->is_retriable = (error->is_retriable || retriable) && !denied;
		if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(s))
			return JSON_FAULT;
	}
	return token;
}

struct jobbody_error
jobbody_read_error(struct arena *arena, struct str body)
{
	struct jobbody_error error = { { NULL, 0 }, false };
	struct json_scan s;

	if (body.n == 0 || body.n > JOBBODY_ERROR_BYTES)
		return error;
	json_scan_init(&s, body);
	if (json_scan_next(&s) == JSON_OBJECT && read_members(arena, &s, &error) == JSON_OBJECT_END &&
	    json_scan_next(&s) == JSON_END)
		return error;
	return (struct jobbody_error){ { NULL, 0 }, false };
}
