/* When a queue asks the store, when it looks again, and how long those who come will wait. */
#include "rules/queue.h"

#include "base/check.h"
#include "rules/bucket.h"

/* Looking again costs a turn of the loop: not more often than this for a place among the next. */
#define QUEUE_WAKE_MIN_US (5 * CLOCK_MS)
/* After a call that failed while the store is said to be there. */
#define QUEUE_PAUSE_US (10 * CLOCK_MS)
/* The share of the rate is learnt over ten tokens, within these bounds. */
#define QUEUE_MEASURE_TOKENS 10
#define QUEUE_MEASURE_MIN_US (2 * CLOCK_SECOND)
#define QUEUE_MEASURE_MAX_US (60 * (int64_t)CLOCK_SECOND)
/* More instances than this on one bucket, and the estimate is on the kind side. */
#define QUEUE_SHARE_MIN (1.0 / 64)
/* Retry-After: the contract's bounds; a first place at most half a minute off leaves places to spread over. */
#define QUEUE_RETURN_MAX_US (60 * (int64_t)CLOCK_SECOND)
#define QUEUE_RETURN_FIRST_MAX_US (30 * (int64_t)CLOCK_SECOND)

void
queue_set_open(struct queue *q, bool open, struct mono_time now)
{
	if (q->open == open)
		return;
	q->open = open;
	q->looked = false;
	q->pause_until = now;
	queue_measure_anew(q, false, now);	/* what was not granted meanwhile says nothing about the share */
}

/* Units in the bucket at NOW as far as is known; below one token where it is not due yet. */
static int64_t
queue_units(const struct queue *q, struct mono_time now)
{
	int64_t elapsed_us = mono_since(now, q->due), first = q->stock > 0 ? q->stock : 1, units;
	/* Returning tokens: more than this never go at once. A little too many are told to make ready, not sent. */
	int64_t most = q->quota.returning ? q->quota.burst * q->quota.token : 0;

	if (most < q->quota.depth)
		most = q->quota.depth;
	if (elapsed_us >= most / q->refill)
		return most;
	units = first * q->quota.token + elapsed_us * q->refill;
	return units < most ? units : most;
}

int64_t
queue_expected(const struct queue *q, struct mono_time now)
{
	int64_t units = queue_units(q, now) + QUEUE_AHEAD_US * q->refill;

	return units > 0 ? units / q->quota.token : 0;
}

double
queue_estimate_us(const struct queue *q, enum queue_class class, struct mono_time now)
{
	size_t ahead = 0, own = 0;
	double missing;

	for (int stage = 0; stage < QUEUE_STAGE_COUNT; stage++) {
		for (int c = 0; c <= (int)class; c++)
			ahead += q->counts[stage][c];
		own += q->counts[stage][class];
	}
	if (class == QUEUE_POLL && ahead > 10 * own + 9)
		ahead = 10 * own + 9;	/* the floor: one grant in ten is a poll's */
	missing = (double)(ahead + 1) * (double)q->quota.token - (double)queue_units(q, now);
	return missing <= 0 ? 0 : missing / ((double)q->refill * q->share);
}

void
queue_measure_anew(struct queue *q, bool forget, struct mono_time now)
{
	if (forget)
		q->share = 1;
	q->measured_since = now;
	q->measured_grants = 0;
}

void
queue_measure(struct queue *q, struct mono_time now)
{
	int64_t period_us = QUEUE_MEASURE_TOKENS * q->quota.token / q->refill;
	int64_t elapsed_us = mono_since(now, q->measured_since);
	double seen;

	if (period_us < QUEUE_MEASURE_MIN_US)
		period_us = QUEUE_MEASURE_MIN_US;
	if (period_us > QUEUE_MEASURE_MAX_US)
		period_us = QUEUE_MEASURE_MAX_US;
	if (q->count == 0 || elapsed_us < period_us)
		return;
	seen = (double)q->measured_grants * (double)q->quota.token / ((double)q->refill * (double)elapsed_us);
	q->share = (q->share + seen) / 2;
	if (q->share > 1)
		q->share = 1;
	if (q->share < QUEUE_SHARE_MIN)
		q->share = QUEUE_SHARE_MIN;
	queue_measure_anew(q, false, now);
}

/* Tokens wanted beyond those in hand. */
static int64_t
queue_wanted(const struct queue *q)
{
	int64_t wanted = 0;

	for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
		wanted += (int64_t)q->counts[QUEUE_READY][class];
	for (size_t i = 0; i < q->held_count; i++)
		wanted -= q->held[i].count;
	return wanted;
}

int64_t
queue_call(struct queue *q, struct mono_time now)
{
	int64_t wanted;

	if (!q->open || q->calling || mono_since(now, q->pause_until) < 0)
		return -1;
	wanted = queue_wanted(q);
	if (wanted > 0 && mono_since(now, q->call_at) >= 0)
		return wanted;
	if (!q->looked || (q->keep_us > 0 && mono_since(now, q->called_at) >= q->keep_us))
		return 0;
	return -1;
}

void
queue_called(struct queue *q, int64_t count, struct mono_time now)
{
	check(!q->calling);
	q->calling = q->looked = true;
	q->calling_count = count;
	q->called_at = now;
}

void
queue_failed(struct queue *q, struct mono_time now)
{
	q->calling = false;
	q->pause_until = mono_add(now, QUEUE_PAUSE_US);
}

/* Keep the earlier of two times. */
static void
earlier(struct mono_time *at, bool *any, struct mono_time other)
{
	if (!*any || other.us < at->us)
		*at = other;
	*any = true;
}

/* When the next call is to be sent, if nothing happens before. */
static void
queue_wake_to_call(const struct queue *q, struct mono_time *at, bool *any)
{
	struct mono_time call_at = q->call_at;
	struct mono_time look_at = q->looked ? mono_add(q->called_at, q->keep_us) : q->pause_until;

	if (call_at.us < q->pause_until.us)
		call_at = q->pause_until;
	if (look_at.us < q->pause_until.us)
		look_at = q->pause_until;
	if (queue_wanted(q) > 0)
		earlier(at, any, call_at);
	if (q->keep_us > 0 || !q->looked)
		earlier(at, any, look_at);
}

/* When another may be told to make ready, if nothing happens before. */
static void
queue_wake_to_promote(const struct queue *q, struct mono_time now, struct mono_time *at, bool *any)
{
	int64_t units = queue_units(q, now), ahead = units + QUEUE_AHEAD_US * q->refill;
	int64_t missing = ahead < 0 ? q->quota.token - ahead : q->quota.token - ahead % q->quota.token;
	int64_t wait_us = (missing + q->refill - 1) / q->refill;

	if (q->quota.returning || units < q->quota.depth)	/* a full bucket brings no more places */
		earlier(at, any, mono_add(now, wait_us > QUEUE_WAKE_MIN_US ? wait_us : QUEUE_WAKE_MIN_US));
	for (int class = 0; class < QUEUE_CLASS_COUNT; class++) {
		const struct queue_entry *e = TAILQ_FIRST(&q->lists[QUEUE_NEXT][class]);

		if (e)
			earlier(at, any, mono_add(e->next_since, QUEUE_SLOW_US));
	}
}

bool
queue_wake(const struct queue *q, struct mono_time now, struct mono_time *at)
{
	bool any = false;
	size_t waiting = 0;

	if (q->count > 0)
		earlier(at, &any, q->heap[0]->deadline);
	if (!q->open)
		return any;
	for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
		waiting += q->counts[QUEUE_WAITING][class];
	if (waiting > 0)
		queue_wake_to_promote(q, now, at, &any);
	if (!q->calling)
		queue_wake_to_call(q, at, &any);
	return any;
}

int64_t
queue_retry_after(struct queue *q, enum queue_class class, int64_t patience_us, struct mono_time now)
{
	double room_us = queue_estimate_us(q, class, now) - (double)patience_us;
	double step_us = (double)q->quota.token / ((double)q->refill * q->share);
	int64_t first_us = CLOCK_SECOND, after_us;

	if (room_us > (double)first_us)
		first_us = room_us < (double)QUEUE_RETURN_FIRST_MAX_US ? (int64_t)room_us : QUEUE_RETURN_FIRST_MAX_US;
	if (step_us > CLOCK_SECOND)
		step_us = CLOCK_SECOND;	/* slower than that a minute would not hold them */
	after_us = mono_since(q->return_slot, now);
	if (after_us < first_us || after_us > QUEUE_RETURN_MAX_US)
		after_us = first_us;
	q->return_slot = mono_add(now, after_us + (int64_t)step_us);
	return (after_us + CLOCK_SECOND - 1) / CLOCK_SECOND;
}
