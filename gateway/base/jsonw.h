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

struct jsonw {
	struct buf *out;	/* borrowed */
	bool comma;		/* a member stands before the next one */
};

/* Each key may be NULL: a value in an array, or at the top. */
void jsonw_object(struct jsonw *w, const char *key);
void jsonw_end_object(struct jsonw *w);
void jsonw_array(struct jsonw *w, const char *key);
void jsonw_end_array(struct jsonw *w);
/* Returns how many bytes stand between the quotes, escapes counted. */
size_t jsonw_string(struct jsonw *w, const char *key, struct str value);
/* The same of at most MAX bytes of VALUE. */
size_t jsonw_string_max(struct jsonw *w, const char *key, struct str value, size_t max);
/* A string, or null where VALUE.p is NULL. */
void jsonw_string_or_null(struct jsonw *w, const char *key, struct str value);
void jsonw_int(struct jsonw *w, const char *key, int64_t value);
void jsonw_bool(struct jsonw *w, const char *key, bool value);
void jsonw_null(struct jsonw *w, const char *key);
/* VALUE is JSON already. */
void jsonw_raw(struct jsonw *w, const char *key, struct str value);

/* Only the escaped bytes of VALUE, without quotes. */
void jsonw_escape(struct buf *out, struct str value);

#endif
