/*
 * What a stated quota permits: the simple bucket's rate and depth (DESIGN: r = (Q - 1) / (W + J + L), B = 1 + r L, so B + r (W + J) <= Q).
 *
 * L is 20 ms: how late a due token may be asked for without being lost.
 */
#ifndef JOBGATE_RULES_QUOTA_H
#define JOBGATE_RULES_QUOTA_H

#include "rules/config.h"

#define QUOTA_LATENESS_US 20000

struct quota {
	int64_t requests;	/* Q less `outside` */
	int64_t window_us, jitter_us;
	/* The bucket in integers: a token is `token` units; `refill` units come back each microsecond; at most `depth` units. */
	int64_t token, refill, depth;
};

/* False with a sentence in *WHY where nothing can be granted safely (Q - outside < 2 ...). */
bool quota_derive(const struct config_quota *stated, struct quota *out, const char **why);

/* For people: tokens per second, burst at once, share of the quota that can be used in the long run (0..1), seconds for N jobs at once. */
double quota_rate_per_s(const struct quota *q);
double quota_burst(const struct quota *q);
double quota_utilisation(const struct quota *q);
double quota_seconds_for(const struct quota *q, int64_t jobs);

#endif
