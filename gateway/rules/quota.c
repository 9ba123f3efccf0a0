/* What a stated quota permits: rate, depth and slots of its bucket, in integers. */
#include "rules/quota.h"

#include "base/clock.h"

#define QUOTA_WINDOW_MIN_US INT64_C(1000000)
#define QUOTA_WINDOW_MAX_US INT64_C(3600000000)
/* Half of the jitter is how long a token may be used: below 1 ms no token would reach its request in time. */
#define QUOTA_JITTER_MIN_US INT64_C(1000)
/* A burst's units, and as much again while they are added up, are integers that a double holds. */
#define QUOTA_BURST_UNITS_MAX (INT64_C(1) << 52)

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
	if (stated->burst < 0 || stated->burst > stated->requests - stated->outside)
		return "burst must be 1 to requests less outside";
	return NULL;
}

/* The simple bucket. */
static void
quota_derive_simple(struct quota *out)
{
	/*
	 * r = (Q - 1) / (W + J + L) tokens a microsecond; with W + J + L units to the token that is Q - 1 units a
	 * microsecond, nothing is rounded, and B + r (W + J) is exactly Q.
	 */
	out->token = out->window_us + out->jitter_us + QUOTA_LATENESS_US;
	out->refill = out->requests - 1;
	out->depth = out->token + out->refill * QUOTA_LATENESS_US;
	out->burst = 1;
}

/* The bucket of returning tokens; STATED_BURST 0: three quarters. */
static void
quota_derive_returning(struct quota *out, int64_t stated_burst)
{
	int64_t most;

	out->returning = true;
	out->slot_us = (out->window_us + out->jitter_us + QUOTA_SLOTS - 1) / QUOTA_SLOTS;
	/* As long as a token can be out: at this pace the log never has to say no. */
	out->token = (QUOTA_SLOTS + 1) * out->slot_us;
	out->refill = out->requests;
	out->depth = out->token + out->refill * QUOTA_LATENESS_US;
	out->burst = stated_burst ? stated_burst : out->requests * 3 / 4;
	if (out->burst < 1)
		out->burst = 1;
	most = QUOTA_BURST_UNITS_MAX / out->token;
	if (out->burst > most)
		out->burst = most;	/* over half a million at once */
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
	out->returning = false;
	out->slot_us = 0;
	if (stated->burst == 1)
		quota_derive_simple(out);
	else
		quota_derive_returning(out, stated->burst);
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
	double depth = (double)q->depth / (double)q->token;

	return (double)q->burst > depth ? (double)q->burst : depth;
}

double
quota_utilisation(const struct quota *q)
{
	return quota_rate_per_s(q) * ((double)q->window_us / CLOCK_SECOND) / (double)q->requests;
}

/* Seconds for N jobs under the simple bucket. */
static double
quota_seconds_simple(const struct quota *q, int64_t jobs)
{
	double missing = (double)jobs - (double)(q->depth / q->token);	/* the first ones go at once */
	double spare = (double)(q->depth % q->token) / (double)q->token;	/* and the next has begun to come */

	return missing <= 0 ? 0 : (missing - spare) / quota_rate_per_s(q);
}

/* The rate of those that are spread while a burst is out. */
static double
quota_rest_per_s(const struct quota *q)
{
	return (double)(q->requests - q->burst) * CLOCK_SECOND / (double)q->token;
}

double
quota_seconds_for(const struct quota *q, int64_t jobs)
{
	double period = (double)q->token / CLOCK_SECOND, missing = (double)(jobs - q->burst);

	if (!q->returning)
		return quota_seconds_simple(q, jobs);
	if (missing <= 0)
		return 0;
	if (missing <= (double)(q->requests - q->burst))
		return missing / quota_rest_per_s(q);
	/* From the burst's return on all of them come evenly. */
	return period + (double)(jobs - q->requests) / quota_rate_per_s(q);
}

double
quota_seconds_after_burst(const struct quota *q)
{
	if (!q->returning)
		return 1 / quota_rate_per_s(q);
	return q->requests > q->burst ? 1 / quota_rest_per_s(q) : (double)q->token / CLOCK_SECOND;
}
