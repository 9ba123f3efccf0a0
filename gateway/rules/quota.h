/*
 * What a stated quota permits.
 *
 * A token comes back W + J after the end of the slot in which it was taken, so no window exceeds Q by construction.
 * QUOTA_SLOTS slots span W + J; under a backlog the tokens go out evenly, Q in QUOTA_SLOTS + 1 slots. `burst` of them may go
 * at once after idleness; after B at once the others come at (Q - B) to that time.
 */
#ifndef JOBGATE_RULES_QUOTA_H
#define JOBGATE_RULES_QUOTA_H

#include "rules/config.h"

/* How late a due token may be asked for without being lost, at least (else a slot): it only shapes, the log keeps the quota. */
#define QUOTA_LATENESS_US 20000
/* The bounds of the contract keep every product of a bucket below 2^53, where Lua's doubles are exact. */
#define QUOTA_REQUESTS_MAX INT64_C(10000000)
/* A slot's tokens come back up to a slot late: with 256 that costs 0.4 % of the quota, and a bucket is a few KB. */
#define QUOTA_SLOTS 256

struct quota {
	int64_t requests;	/* Q less `outside` */
	int64_t window_us, jitter_us;
	int64_t slot_us;
	int64_t token;		/* units of a token: microseconds that one may be out; Q units come each microsecond */
	int64_t burst;
};

/* False with a sentence in *WHY where nothing can be granted safely (Q - outside < 2 ...). */
bool quota_derive(const struct config_quota *stated, struct quota *out, const char **why);

/* A share of a quota, spent by one instance alone: the same window, SHARE requests of it (at least 2). */
struct quota quota_share(const struct quota *whole, int64_t share);

/*
 * For people: tokens per second, share of the quota that can be used in the long run (0..1), seconds for N
 * jobs at once after idleness, and the longest time that who comes after a whole burst waits.
 */
double quota_rate_per_s(const struct quota *q);
double quota_utilisation(const struct quota *q);
double quota_seconds_for(const struct quota *q, int64_t jobs);
double quota_seconds_after_burst(const struct quota *q);

#endif
