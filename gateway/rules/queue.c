/* The queue of one identity: who waits, who makes ready, who gets the next token. */
#include "rules/queue.h"

#include <stdlib.h>

#include "base/check.h"

/* At most nine grants to others, then one to a poll: its floor of 10 %. */
#define QUEUE_OTHERS_PER_POLL 9

/* Steps of yielding to other instances: each longer than the difference between their ways to the store. */
#define QUEUE_YIELD_STEPS 3
#define QUEUE_YIELD_STEP_US (2 * CLOCK_MS)

void
queue_init(struct queue *q, const struct quota *quota, size_t capacity, int64_t keep_us, struct mono_time now)
{
	*q = (struct queue){ .share = 1, .due = now, .call_at = now, .measured_since = now, .return_slot = now };
	for (int stage = 0; stage < QUEUE_STAGE_COUNT; stage++)
		for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
			TAILQ_INIT(&q->lists[stage][class]);
	q->called_at = q->pause_until = now;
	queue_set_quota(q, quota, capacity, keep_us);
}

void
queue_fini(struct queue *q)
{
	free(q->heap);
	q->heap = NULL;
}

void
queue_set_quota(struct queue *q, const struct quota *quota, size_t capacity, int64_t keep_us)
{
	if (q->quota.token != quota->token || q->quota.refill != quota->refill || q->quota.burst != quota->burst) {
		q->looked = false;	/* when the next token is due was the old quota's word */
		q->refill = quota->refill;
		q->stock = 0;
	}
	q->quota = *quota;
	q->capacity = capacity;
	q->keep_us = keep_us;
}

/*
 * Put E at the end of a stage's list; in READY at its place by arrival, since they become ready in any order; so too who goes first.
 */
static void
queue_link(struct queue *q, struct queue_entry *e, enum queue_stage stage)
{
	struct queue_list *list = &q->lists[stage][e->class];
	struct queue_entry *before = TAILQ_LAST(list, queue_list);

	while ((stage == QUEUE_READY || e->first) && before && before->order > e->order)
		before = TAILQ_PREV(before, queue_list, link);
	if (before)
		TAILQ_INSERT_AFTER(list, before, e, link);
	else
		TAILQ_INSERT_HEAD(list, e, link);
	q->counts[stage][e->class]++;
	e->stage = stage;
}

/* Take E out of its stage's list. */
static void
queue_unlink(struct queue *q, struct queue_entry *e)
{
	check(e->stage < QUEUE_STAGE_COUNT && q->counts[e->stage][e->class] > 0);
	TAILQ_REMOVE(&q->lists[e->stage][e->class], e, link);
	q->counts[e->stage][e->class]--;
	e->stage = QUEUE_OUT;
}

enum queue_verdict
queue_submit(struct queue *q, struct queue_entry *e, struct mono_time now)
{
	e->stage = QUEUE_OUT;
	e->submitted = now;
	if (q->count >= q->capacity && !e->first)
		return QUEUE_FULL;
	if (q->count == 0)
		queue_measure_anew(q, true, now);
	if (e->first ? mono_since(q->due, e->deadline) > 0 : queue_estimate_us(q, e->class, now) > (double)mono_since(e->deadline, now))
		return QUEUE_TOO_LATE;
	e->order = e->first ? 0 : ++q->order;
	queue_heap_add(q, e);
	q->count++;
	queue_link(q, e, QUEUE_WAITING);
	return QUEUE_TAKEN;
}

void
queue_ready(struct queue *q, struct queue_entry *e)
{
	if (e->stage == QUEUE_READY || e->stage == QUEUE_OUT)
		return;
	queue_unlink(q, e);
	queue_link(q, e, QUEUE_READY);
}

void
queue_remove(struct queue *q, struct queue_entry *e)
{
	if (e->stage == QUEUE_OUT)
		return;
	queue_unlink(q, e);
	queue_heap_remove(q, e);
	q->count--;
}

struct queue_entry *
queue_expire(struct queue *q, struct mono_time now)
{
	struct queue_entry *e = q->count > 0 ? q->heap[0] : NULL;

	if (e == NULL || mono_since(e->deadline, now) > 0)
		return NULL;
	queue_remove(q, e);
	return e;
}

/* Set those aside who were told long ago and are not ready. */
static void
queue_set_slow_aside(struct queue *q, struct mono_time now)
{
	for (int class = 0; class < QUEUE_CLASS_COUNT; class++) {
		struct queue_list *list = &q->lists[QUEUE_NEXT][class];
		struct queue_entry *e;

		while ((e = TAILQ_FIRST(list)) != NULL && mono_since(now, e->next_since) >= QUEUE_SLOW_US) {
			queue_unlink(q, e);
			queue_link(q, e, QUEUE_SLOW);
		}
	}
}

/* Choose the class whose head is told next, where SLOTS tokens are expected; QUEUE_CLASS_COUNT for none. */
static enum queue_class
queue_promoted_class(const struct queue *q, int64_t slots)
{
	const size_t *waiting = q->counts[QUEUE_WAITING];
	int64_t polls = (int64_t)(q->counts[QUEUE_NEXT][QUEUE_POLL] + q->counts[QUEUE_READY][QUEUE_POLL]);
	int64_t busy = 0;

	for (int class = 0; class < QUEUE_CLASS_COUNT; class++) {
		/*
		 * A class counts only itself and its betters, so that a cancel does not wait for submits told before
		 * it.
		 */
		busy += (int64_t)(q->counts[QUEUE_NEXT][class] + q->counts[QUEUE_READY][class]);
		if (waiting[class] > 0 && busy < slots)
			return (enum queue_class)class;
	}
	if (waiting[QUEUE_POLL] > 0 && polls < (slots + QUEUE_OTHERS_PER_POLL) / (QUEUE_OTHERS_PER_POLL + 1))
		return QUEUE_POLL;
	return QUEUE_CLASS_COUNT;
}

struct queue_entry *
queue_promote(struct queue *q, struct mono_time now)
{
	struct queue_entry *e;
	enum queue_class class;

	queue_set_slow_aside(q, now);
	if (!q->open)
		return NULL;
	class = queue_promoted_class(q, queue_expected(q, now));
	if (class == QUEUE_CLASS_COUNT)
		return NULL;
	e = TAILQ_FIRST(&q->lists[QUEUE_WAITING][class]);
	check(e != NULL);
	queue_unlink(q, e);
	queue_link(q, e, QUEUE_NEXT);
	e->next_since = now;
	return e;
}

/* Count the polls that wait, in whatever stage. */
static size_t
queue_polls(const struct queue *q)
{
	size_t polls = 0;

	for (int stage = 0; stage < QUEUE_STAGE_COUNT; stage++)
		polls += q->counts[stage][QUEUE_POLL];
	return polls;
}

/* Choose who of the ready gets a token. */
static struct queue_entry *
queue_served(struct queue *q)
{
	if (q->others_since_poll >= QUEUE_OTHERS_PER_POLL && q->counts[QUEUE_READY][QUEUE_POLL] > 0)
		return TAILQ_FIRST(&q->lists[QUEUE_READY][QUEUE_POLL]);
	for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
		if (q->counts[QUEUE_READY][class] > 0)
			return TAILQ_FIRST(&q->lists[QUEUE_READY][class]);
	return NULL;
}

/* May a token that was asked for then still be used? A sixteenth of J/2 is left for its way to the request. */
static bool
queue_token_fresh(const struct queue *q, struct mono_time asked_at, struct mono_time now)
{
	return mono_since(now, asked_at) < q->quota.jitter_us / 2 - q->quota.jitter_us / 32;
}

/* Drop held tokens that became too old; the oldest stand first. */
static void
queue_drop_stale(struct queue *q, struct mono_time now)
{
	size_t kept = 0;

	for (size_t i = 0; i < q->held_count; i++)
		if (q->held[i].count > 0 && queue_token_fresh(q, q->held[i].asked_at, now))
			q->held[kept++] = q->held[i];
	q->held_count = kept;
}

/* Keep COUNT tokens for whoever becomes ready in time, the oldest in front; beyond the places they lapse. */
static void
queue_hold(struct queue *q, struct mono_time asked_at, int64_t count)
{
	size_t place = q->held_count;

	if (count == 0 || q->held_count == QUEUE_HELD_COUNT)
		return;
	for (; place > 0 && q->held[place - 1].asked_at.us > asked_at.us; place--)
		q->held[place] = q->held[place - 1];
	q->held[place] = (struct queue_held){ asked_at, count };
	q->held_count++;
}

struct queue_entry *
queue_grant(struct queue *q, struct mono_time now, struct mono_time *asked_at)
{
	struct queue_entry *e;

	queue_drop_stale(q, now);
	e = q->held_count > 0 ? queue_served(q) : NULL;
	if (e == NULL)
		return NULL;
	*asked_at = q->held[0].asked_at;
	q->held[0].count--;
	queue_remove(q, e);
	if (e->class == QUEUE_POLL || queue_polls(q) == 0)
		q->others_since_poll = 0;
	else
		q->others_since_poll++;
	return e;
}

void
queue_pause(struct queue *q, struct mono_time until)
{
	q->held_count = 0;
	q->stock = 0;
	if (mono_since(until, q->due) > 0)
		q->due = q->call_at = until;
}

void
queue_give_back(struct queue *q, struct mono_time asked_at)
{
	queue_hold(q, asked_at, 1);
}

/*
 * There is a backlog. Other instances may be waiting for the same token, so who has just got one asks a little late
 * for the next, and who has gone without several times asks on the dot: none is starved by being farther from the
 * store. Calls stand at least a quarter of L apart, so that at high rates one call gathers many tokens. All of it
 * lies well within L, which loses nothing.
 */
static void
queue_yield(struct queue *q, bool won)
{
	struct mono_time paced = mono_add(q->called_at, QUOTA_LATENESS_US / 4);

	q->losses = won ? 0 : q->losses + 1;
	if (q->losses < QUEUE_YIELD_STEPS)
		q->call_at = mono_add(q->due, (int64_t)(QUEUE_YIELD_STEPS - q->losses) * QUEUE_YIELD_STEP_US);
	if (mono_since(paced, q->call_at) > 0)
		q->call_at = paced;
}

void
queue_answered(struct queue *q, const struct bucket_take *take, struct mono_time now)
{
	int64_t granted = take->granted, wait_us = take->wait_us;
	int64_t round_trip_us = mono_since(now, q->called_at), on_the_way_us = round_trip_us / 2;

	check(q->calling && granted >= 0 && granted <= q->calling_count);
	q->calling = false;
	queue_hold(q, q->called_at, granted);
	q->measured_grants += granted;
	queue_measure(q, now);
	/*
	 * The store looked at some time within the round trip. A call that is sent WAIT after the first one was sent
	 * arrives when the token is due, if the way takes as long again; half of the way more (2 ms at most: lateness
	 * costs, an early call only repeats itself) covers the difference.
	 */
	if (on_the_way_us > 2 * CLOCK_MS)
		on_the_way_us = 2 * CLOCK_MS;
	q->stock = take->left;
	q->refill = take->refill;
	q->due = mono_add(q->called_at, wait_us + (wait_us > 0 ? on_the_way_us : 0));
	q->call_at = q->due;
	if (granted < q->calling_count)
		queue_yield(q, granted > 0);
}
