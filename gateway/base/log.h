/*
 * The log: JSON Lines on standard error, {"time","level","event",...}.
 *
 * A line is made by the thread that has something to say and handed to one writer thread
 * through a bounded ring, which writes what has gathered in 10 ms, so that no event loop ever waits for a pipe that is full; lines
 * that find the ring full are dropped and counted, and the count is logged when there is
 * room. Before log_open and after log_close lines are written directly. Any thread.
 */
#ifndef JOBGATE_BASE_LOG_H
#define JOBGATE_BASE_LOG_H

#include <stdbool.h>

#include "base/str.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum log_type { LOG_TYPE_STR, LOG_TYPE_INT, LOG_TYPE_BOOL };

struct log_field {
	struct str key;		/* a literal; p NULL ends the list */
	enum log_type type;
	union {
		struct str s;	/* borrowed for the call; written escaped, at most 1 KiB of it */
		int64_t i;
	};
};

#define log_s(key, value) { STR_INIT(key), LOG_TYPE_STR, { .s = value } }
#define log_z(key, value) { STR_INIT(key), LOG_TYPE_STR, { .s = str_from(value) } }
#define log_i(key, value) { STR_INIT(key), LOG_TYPE_INT, { .i = value } }
#define log_b(key, value) { STR_INIT(key), LOG_TYPE_BOOL, { .i = value } }

/* log_line(LOG_INFO, "jobgate ready", log_z("address", a), log_i("workers", n)); */
#define log_line(level, event, ...) \
	log_write(level, event, (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(,) { { NULL, 0 }, LOG_TYPE_STR, { .i = 0 } } })

void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* Lines above LEVEL are not made at all. May be called again at a reload. */
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

/* "error", "warn", "info", "debug"; false for another word. */
bool log_level_from(struct str word, enum log_level *level);

/* Start the writer thread. */
void log_open(void);

/* Write what is in the ring and end the thread. */
void log_close(void);

/* Lines that were dropped since start because the ring was full. */
uint64_t log_dropped(void);

#endif
