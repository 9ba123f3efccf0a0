/* What a stated quota permits: the simple bucket's rate and depth, in integers. */
#include "rules/quota.h"

#include "base/clock.h"

/* The bounds of the contract; they keep every product of the bucket below 2^53, where Lua's doubles are exact. */
#define QUOTA_REQUESTS_MAX INT64_C(10000000)
#define QUOTA_WINDOW_MIN_US INT64_C(1000000)
#define QUOTA_WINDOW_MAX_US INT64_C(3600000000)
/* Half of the jitter is how long a token may be used: below 1 ms no token would reach its request in time. */
#define QUOTA_JITTER_MIN_US INT64_C(1000)

/* Say what is wrong with the stated numbers; NULL where nothing is. */
static const char *
quota_fault(const struct config_quota *stated)
{
	if (stated->requests < 2 || stated->requests > QUOTA_REQUESTS_MAX)
		return "requests must be 2 to 10,000,000";
	if (stated->window_us < QUOTA_WINDOW_MIN_US || stated->window_us > QUOTA_WINDOW_MAX_US)
		return "window must be 1s to 1h";
	if (stated->jitter_us < QUOTA_JITTER_MIN_US || stated->jitter_us > QUOTA_WINDOW_MAX_US)
		return "jitter must be 1ms to 1h";
	if (stated->outside < 0 || stated->outside > stated->requests - 2)
		return "requests less outside must be at least 2, or nothing can be granted safely";
	return NULL;
}

bool
quota_derive(const struct config_quota *stated, struct quota *out, const char **why)
{
	*why = quota_fault(stated);
	if (*why)
		return false;
	out->requests = stated->requests - stated->outside;
	out->window_us = stated->window_us;
	out->jitter_us = stated->jitter_us;
	/*
	 * r = (Q - 1) / (W + J + L) tokens a microsecond; with W + J + L units to the token that is Q - 1 units a
	 * microsecond, nothing is rounded, and B + r (W + J) is exactly Q.
	 */
	out->token = stated->window_us + stated->jitter_us + QUOTA_LATENESS_US;
	out->refill = out->requests - 1;
	out->depth = out->token + out->refill * QUOTA_LATENESS_US;
	return true;
}

double
quota_rate_per_s(const struct quota *q)
{
	return (double)q->refill * CLOCK_SECOND / (double)q->token;
}

double
quota_burst(const struct quota *q)
{
	return (double)q->depth / (double)q->token;
}

double
quota_utilisation(const struct quota *q)
{
	return quota_rate_per_s(q) * ((double)q->window_us / CLOCK_SECOND) / (double)q->requests;
}

double
quota_seconds_for(const struct quota *q, int64_t jobs)
{
	double missing = (double)jobs - (double)(q->depth / q->token);	/* the first ones go at once */
	double spare = (double)(q->depth % q->token) / (double)q->token;	/* and the next has begun to come */

	return missing <= 0 ? 0 : (missing - spare) / quota_rate_per_s(q);
}
