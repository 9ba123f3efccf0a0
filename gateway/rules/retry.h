/* How long an upstream that answered 429 wants to be left alone. */
#ifndef JOBGATE_RULES_RETRY_H
#define JOBGATE_RULES_RETRY_H

#include "base/clock.h"
#include "base/str.h"

/*
 * The microseconds that a Retry-After (RFC 9110 10.2.3: seconds or an HTTP date; p NULL: there is none) means at NOW, 1 s to
 * 300 s. What is absent or neither counts as 5 s.
 */
int64_t retry_after_us(struct str value, struct wall_time now);

#endif
