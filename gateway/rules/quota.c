/* What a stated quota permits: slots, units and burst of its bucket, in integers. */
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

/* How many may go at once; STATED 0: three quarters. */
static int64_t
quota_burst(const struct quota *q, int64_t stated)
{
	int64_t burst = stated ? stated : q->requests * 3 / 4, most = QUOTA_BURST_UNITS_MAX / q->token;

	if (burst < 1)
		burst = 1;
	return burst < most ? burst : most;	/* over half a million at once */
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
	out->slot_us = (out->window_us + out->jitter_us + QUOTA_SLOTS - 1) / QUOTA_SLOTS;
	/* As long as a token can be out: at this pace the log never has to say no. */
	out->token = (QUOTA_SLOTS + 1) * out->slot_us;
	out->burst = quota_burst(out, stated->burst);
	return true;
}

struct quota
quota_share(const struct quota *whole, int64_t share)
{
	struct quota q = *whole;

	q.requests = share;
	q.burst = quota_burst(&q, q.burst < share * 3 / 4 ? q.burst : 0);
	return q;
}

double
quota_rate_per_s(const struct quota *q)
{
	return (double)q->requests * CLOCK_SECOND / (double)q->token;
}

double
quota_utilisation(const struct quota *q)
{
	return quota_rate_per_s(q) * ((double)q->window_us / CLOCK_SECOND) / (double)q->requests;
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
	return q->requests > q->burst ? 1 / quota_rest_per_s(q) : (double)q->token / CLOCK_SECOND;
}
