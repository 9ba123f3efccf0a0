/*
 * JSON writer: appends members to a buffer, one valid line whatever bytes come in.
 *
 * Control bytes are escaped, bytes that are no UTF-8 become U+FFFD, long values are cut at a
 * character's end where a bound is given. Commas are the writer's business; the nesting is
 * the caller's.
 */
#ifndef JOBGATE_BASE_JSONW_H
#define JOBGATE_BASE_JSONW_H

#include "base/buf.h"
#include "base/utf8.h"

struct jsonw {
	struct buf *out;	/* borrowed */
	bool comma;		/* a member stands before the next one */
};

/* What writes; a key's p may be NULL. Through the functions below the length of a key that is a literal is known when they are compiled. */
void jsonw_put_open(struct jsonw *w, struct str key, char bracket);
size_t jsonw_put_string(struct jsonw *w, struct str key, struct str value);
void jsonw_put_int(struct jsonw *w, struct str key, int64_t value);
void jsonw_put_raw(struct jsonw *w, struct str key, struct str value);

/* Each key may be NULL: a value in an array, or at the top. */
static inline void
jsonw_object(struct jsonw *w, const char *key)
{
	jsonw_put_open(w, str_from(key), '{');
}

static inline void
jsonw_array(struct jsonw *w, const char *key)
{
	jsonw_put_open(w, str_from(key), '[');
}

void jsonw_end_object(struct jsonw *w);
void jsonw_end_array(struct jsonw *w);

/* Returns how many bytes stand between the quotes, escapes counted. */
static inline size_t
jsonw_string(struct jsonw *w, const char *key, struct str value)
{
	return jsonw_put_string(w, str_from(key), value);
}

/* The same of at most MAX bytes of VALUE. */
static inline size_t
jsonw_string_max(struct jsonw *w, const char *key, struct str value, size_t max)
{
	return jsonw_put_string(w, str_from(key), value.n > max ? utf8_cut(value, max) : value);
}

static inline void
jsonw_int(struct jsonw *w, const char *key, int64_t value)
{
	jsonw_put_int(w, str_from(key), value);
}

static inline void
jsonw_bool(struct jsonw *w, const char *key, bool value)
{
	jsonw_put_raw(w, str_from(key), value ? STR("true") : STR("false"));
}

static inline void
jsonw_null(struct jsonw *w, const char *key)
{
	jsonw_put_raw(w, str_from(key), STR("null"));
}

/* VALUE is JSON already. */
static inline void
jsonw_raw(struct jsonw *w, const char *key, struct str value)
{
	jsonw_put_raw(w, str_from(key), value);
}

/* A string, or null where VALUE.p is NULL. */
static inline void
jsonw_string_or_null(struct jsonw *w, const char *key, struct str value)
{
	if (value.p)
		jsonw_string(w, key, value);
	else
		jsonw_null(w, key);
}

/* Only the escaped bytes of VALUE, without quotes. */
void jsonw_escape(struct buf *out, struct str value);

#endif
