/* The caller's wish how long to wait: Prefer: wait=N (RFC 7240 4.3). */
#ifndef JOBGATE_RULES_PREFER_H
#define JOBGATE_RULES_PREFER_H

#include "base/http1.h"

/* No request waits longer than a day: what is more is cut to it. */
#define PREFER_WAIT_MAX_S 86400

/* The seconds of the first `wait` of all Prefer fields; -1 where there is none, or it is no number of seconds. */
int64_t prefer_wait_s(const struct http1_head *request);

#endif
