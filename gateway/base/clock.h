/*
 * Points in time and their text. Monotonic and wall time are different types, so that
 * neither can be compared with the other by accident. All units are microseconds.
 *
 * Only the clock_now_ functions ask the machine; rules/ may not call them (a lint test
 * looks) and are handed the time instead.
 */
#ifndef JOBGATE_BASE_CLOCK_H
#define JOBGATE_BASE_CLOCK_H

#include <stdint.h>

#include "base/buf.h"

struct mono_time { int64_t us; };	/* CLOCK_MONOTONIC: deadlines and durations */
struct wall_time { int64_t us; };	/* since 1970, UTC: records, logs, certificates */

#define CLOCK_MS 1000
#define CLOCK_SECOND 1000000

struct mono_time clock_now_mono(void);
struct wall_time clock_now_wall(void);

static inline struct mono_time
mono_add(struct mono_time t, int64_t us)
{
	return (struct mono_time){ t.us + us };
}

/* How long after FROM is TO, in microseconds; negative where it is before. */
static inline int64_t
mono_since(struct mono_time to, struct mono_time from)
{
	return to.us - from.us;
}

/* "2026-08-01T12:34:56.123456Z" and a NUL (RFC 3339). */
#define CLOCK_RFC3339_BYTES 28
void clock_format_rfc3339(struct wall_time t, char out[CLOCK_RFC3339_BYTES]);
/* Exactly that form; false where TEXT has another. */
bool clock_parse_rfc3339(struct str text, struct wall_time *out);

/*
 * Any date-time of RFC 3339 5.6 from 1970 on: "2026-08-01T14:34:56+02:00", with or without a fraction, of which microseconds are kept.
 * False where TEXT has another form or names a day or an hour that there is not.
 */
bool clock_parse_date_time(struct str text, struct wall_time *out);

/* "Sat, 01 Aug 2026 12:34:56 GMT" and a NUL (RFC 9110 5.6.7, IMF-fixdate). */
#define CLOCK_HTTP_BYTES 30
void clock_format_http(struct wall_time t, char out[CLOCK_HTTP_BYTES]);
/* Exactly that form: nobody has sent the obsolete ones for decades. */
bool clock_parse_http(struct str text, struct wall_time *out);

/* Days since 1970-01-01 to a civil date; the same arithmetic for all formats. */
struct civil_time { int year, month, day, hour, minute, second, microsecond, weekday; };
struct civil_time clock_civil(struct wall_time t);

#endif
