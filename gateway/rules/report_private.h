/* For report*.c alone. */
#ifndef JOBGATE_RULES_REPORT_PRIVATE_H
#define JOBGATE_RULES_REPORT_PRIVATE_H

#include "base/buf.h"

struct json_t;

/* report_value.c: members of an object, whatever it has. A text's bytes that are not printable ASCII come out as '?'. */
const struct json_t *report_get(const struct json_t *object, const char *key);
const char *report_string(const struct json_t *object, const char *key);	/* "" where it is none; as it is, so not for OUT */
int64_t report_int(const struct json_t *object, const char *key, int64_t otherwise);
bool report_bool(const struct json_t *object, const char *key);
bool report_is(const struct json_t *object, const char *key, const char *text);
void report_add(struct buf *out, const char *text);
void report_add_member(struct buf *out, const struct json_t *object, const char *key);
/* "340 ms", "3.2 s", "42 s", "12 min", "3 h 12 min", "5 d 3 h" */
void report_add_ms(struct buf *out, int64_t ms);
/* "2026-08-01 12:34:56 UTC", of a time as base/clock writes it */
void report_add_time(struct buf *out, const struct json_t *object, const char *key);
/* "20 in 60 s": requests and window_ms of OBJECT. */
void report_add_rate(struct buf *out, const struct json_t *object);

/*
 * report_table.c: append ROWS (cells end in tabs, rows in line ends) with aligned columns, two spaces before each. SIDES has an 'l' or 'r' for each
 * column; the last one may be as long as it likes.
 */
void report_table(struct buf *out, struct str rows, const char *sides);

/* report_identity.c */
void report_identity(struct buf *out, const struct json_t *identity, const struct json_t *store);

#endif
