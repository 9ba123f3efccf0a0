/* The queue of one identity: who waits, who makes ready, who gets the next token. */
#include "rules/queue.h"

#include <stdlib.h>

#include "base/check.h"

/* At most nine grants to others, then one to a poll: its floor of 10 %. */
#define QUEUE_OTHERS_PER_POLL 9
/* So many lanes make their first one ready at once where tokens come often, whatever is expected: then it can be asked for. */
#define QUEUE_UNREADY_NEXT 32

void
queue_init(struct queue *q, const struct quota *quota, size_t capacity, int64_t keep_us, struct mono_time now)
{
	*q = (struct queue){ .due = now, .call_at = now, .called_at = now, .pause_until = now, .again = true };
	TAILQ_INIT(&q->lanes);
	for (int stage = 0; stage < QUEUE_STAGE_COUNT; stage++)
		TAILQ_INIT(&q->staged[stage]);
	queue_set_quota(q, quota, capacity, keep_us);
}

void
queue_fini(struct queue *q)
{
	queue_lanes_sweep(q, true);
	free(q->heap);
	q->heap = NULL;
}

void
queue_set_quota(struct queue *q, const struct quota *quota, size_t capacity, int64_t keep_us)
{
	if (q->quota.token != quota->token || q->quota.requests != quota->requests || q->quota.burst != quota->burst) {
		q->again = true;	/* when the next token is due was the old quota's word */
		q->rate = quota->requests;
		q->token = quota->token;
		q->stock = 0;
		queue_set_ahead(q, 0);
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
	struct queue_list *list = &e->lane->lists[stage][e->class];
	struct queue_entry *before = TAILQ_LAST(list, queue_list);

	if (queue_lane_count(e->lane, stage) == 0)
		TAILQ_INSERT_TAIL(&q->staged[stage], e->lane, stage_link[stage]);

	while ((stage == QUEUE_READY || e->first) && before && before->order > e->order)
		before = TAILQ_PREV(before, queue_list, link);
	if (before)
		TAILQ_INSERT_AFTER(list, before, e, link);
	else
		TAILQ_INSERT_HEAD(list, e, link);
	e->lane->counts[stage][e->class]++;
	q->counts[stage][e->class]++;
	e->stage = stage;
}

/* Take E out of its stage's list. */
static void
queue_unlink(struct queue *q, struct queue_entry *e)
{
	check(e->stage < QUEUE_STAGE_COUNT && e->lane->counts[e->stage][e->class] > 0);
	TAILQ_REMOVE(&e->lane->lists[e->stage][e->class], e, link);
	e->lane->counts[e->stage][e->class]--;
	q->counts[e->stage][e->class]--;
	if (queue_lane_count(e->lane, e->stage) == 0)
		TAILQ_REMOVE(&q->staged[e->stage], e->lane, stage_link[e->stage]);
	e->stage = QUEUE_OUT;
}

/* Will E, who comes to LANE now, be served too late? Not known while nothing can be asked, or members are waited for. */
static bool
queue_is_too_late(const struct queue *q, const struct queue_entry *e, const struct queue_lane *lane, const struct queue_lane_key *key,
    struct mono_time now)
{
	if (!q->open || q->closed == BUCKET_SETTLING || q->closed == BUCKET_UNHEARD || q->closed == BUCKET_STRANGE)
		return false;
	if (e->first)
		return mono_since(q->due, e->deadline) > 0;
	return queue_estimate_us(q, lane, key, e->class, now) > (double)mono_since(e->deadline, now);
}

enum queue_verdict
queue_judge(struct queue *q, const struct queue_entry *e, const struct queue_lane_key *key, struct mono_time now)
{
	if (queue_is_too_late(q, e, queue_lane_of(q, key, false), key, now))
		return QUEUE_TOO_LATE;	/* before FULL: it is not to displace another for nothing */
	return q->count >= q->capacity && !e->first ? QUEUE_FULL : QUEUE_TAKEN;
}

enum queue_verdict
queue_submit(struct queue *q, struct queue_entry *e, const struct queue_lane_key *key, struct mono_time now)
{
	enum queue_verdict verdict = queue_judge(q, e, key, now);

	e->stage = QUEUE_OUT;
	e->submitted = now;
	if (verdict != QUEUE_TAKEN)
		return verdict;
	e->lane = queue_lane_of(q, key, true);
	e->order = e->first ? 0 : ++q->order;
	queue_heap_add(q, e);
	q->count++;
	e->lane->count++;
	queue_link(q, e, QUEUE_WAITING);
	if (e->at_once && queue_ahead_has_for(q, e))
		queue_ready(q, e);
	return QUEUE_TAKEN;
}

struct queue_entry *
queue_displaced(struct queue *q, const struct queue_lane_key *key)
{
	const struct queue_lane *mine = queue_lane_of(q, key, false);
	struct queue_lane *lane, *most = NULL;
	struct queue_entry *e = NULL;

	TAILQ_FOREACH(lane, &q->lanes, link)
		if (most == NULL || lane->count > most->count)
			most = lane;
	if (most == NULL || most == mine || most->count <= (mine ? mine->count : 0) + 1)
		return NULL;
	for (int class = QUEUE_CLASS_COUNT; class-- > 0 && e == NULL;)
		e = TAILQ_LAST(&most->lists[QUEUE_WAITING][class], queue_list);
	return e;
}

struct queue_entry *
queue_displace(struct queue *q, const struct queue_lane_key *key)
{
	struct queue_entry *e = queue_displaced(q, key);

	if (e)
		queue_remove(q, e);
	return e;
}

void
queue_ready(struct queue *q, struct queue_entry *e)
{
	if (e->stage == QUEUE_READY || e->stage == QUEUE_OUT)
		return;
	queue_unlink(q, e);
	queue_link(q, e, QUEUE_READY);
	e->ready_number = q->number;
	if (e->looks)
		q->ready_number = q->number;
}

void
queue_remove(struct queue *q, struct queue_entry *e)
{
	if (e->stage == QUEUE_OUT)
		return;
	queue_unlink(q, e);
	queue_heap_remove(q, e);
	q->count--;
	e->lane->count--;
	if (e->lane->count == 0)
		e->lane->told = false;	/* who comes next is news */
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
	struct queue_lane *lane, *other;

	for (lane = TAILQ_FIRST(&q->staged[QUEUE_NEXT]); lane; lane = other) {
		other = TAILQ_NEXT(lane, stage_link[QUEUE_NEXT]);
		for (int class = 0; class < QUEUE_CLASS_COUNT; class++) {
			struct queue_list *list = &lane->lists[QUEUE_NEXT][class];
			struct queue_entry *e;

			while ((e = TAILQ_FIRST(list)) != NULL && mono_since(now, e->next_since) >= QUEUE_SLOW_US) {
				queue_unlink(q, e);
				queue_link(q, e, QUEUE_SLOW);
			}
		}
	}
}

/* How many of a lane have been told to make ready, or are. */
static int64_t
lane_told_count(const struct queue_lane *lane)
{
	return (int64_t)(queue_lane_count(lane, QUEUE_NEXT) + queue_lane_count(lane, QUEUE_READY));
}

/* Where among this instance's turns the next of a lane to be told stands; lanes take turns, about. */
static int64_t
lane_place(const struct queue_lane *lane)
{
	return lane->place + lane_told_count(lane) * BUCKET_PLACE_LATER;
}

/* Is it its own limits, as far as the store has said, that a lane waits for? */
static bool
lane_is_limited(const struct queue_lane *lane)
{
	return lane->told && lane->limit_count > 0 && lane->place == BUCKET_PLACE_LATER;
}

/* Do they let less than one a second through? Then nobody has to be ready before they do. */
static bool
lane_is_slow(const struct queue_lane *lane)
{
	bool slow = false;

	for (size_t i = 0; i < lane->limit_count; i++)
		slow = slow || lane->limits[i].window_us / lane->limits[i].requests > QUEUE_AHEAD_US;
	return slow;
}

/* May who waits in LANE be told to make ready? LIMITED: also where its own limits are waited for. */
static bool
lane_may_be_told(const struct queue_lane *lane, bool limited)
{
	return !lane_is_limited(lane) || (limited && !lane_is_slow(lane));
}

/* The lane whose next one of CLASS is told first; NULL where nobody of it waits. */
static struct queue_lane *
queue_first_lane(const struct queue *q, enum queue_class class, bool limited)
{
	struct queue_lane *lane, *first = NULL;

	TAILQ_FOREACH(lane, &q->staged[QUEUE_WAITING], stage_link[QUEUE_WAITING])
		if (lane->counts[QUEUE_WAITING][class] > 0 && lane_may_be_told(lane, limited)
		    && (first == NULL || lane_place(lane) < lane_place(first)))
			first = lane;
	return first;
}

/*
 * A lane without anybody who could be asked for, whose turn may come at any time: the store does not know of it, or its own limits
 * keep it waiting. NULL where there is none.
 */
static struct queue_lane *
queue_unready_lane(const struct queue *q)
{
	size_t seen = 0;
	struct queue_lane *lane;

	if (q->closed != BUCKET_OPEN || q->token / q->rate > QUEUE_AHEAD_US)
		return NULL;	/* nobody's turn comes within a second unannounced */
	TAILQ_FOREACH(lane, &q->lanes, link) {
		if (lane->count == 0 || (lane->told && (!lane_is_limited(lane) || lane_is_slow(lane))))
			continue;
		if (++seen > QUEUE_UNREADY_NEXT)
			break;
		if (lane_told_count(lane) == 0 && queue_lane_count(lane, QUEUE_WAITING) > 0)
			return lane;
	}
	return NULL;
}

/* The best class of which somebody waits in LANE. */
static enum queue_class
lane_best_class(const struct queue_lane *lane)
{
	enum queue_class class = QUEUE_CANCEL;

	while (class < QUEUE_POLL && lane->counts[QUEUE_WAITING][class] == 0)
		class++;
	return class;
}

/* Choose the class whose head is told next, where SLOTS tokens are expected; QUEUE_CLASS_COUNT for none. */
static enum queue_class
queue_promoted_class(const struct queue *q, int64_t slots, bool limited)
{
	int64_t waiting[QUEUE_CLASS_COUNT] = { 0 }, told[QUEUE_CLASS_COUNT] = { 0 }, busy = 0;
	const struct queue_lane *lane;

	TAILQ_FOREACH(lane, &q->lanes, link)
		for (int class = 0; class < QUEUE_CLASS_COUNT && lane_may_be_told(lane, limited); class++) {
			waiting[class] += (int64_t)lane->counts[QUEUE_WAITING][class];
			told[class] += (int64_t)(lane->counts[QUEUE_NEXT][class] + lane->counts[QUEUE_READY][class]);
		}
	for (int class = 0; class < QUEUE_CLASS_COUNT; class++) {
		/* A class counts only itself and its betters, so that a cancel does not wait for submits told before it. */
		busy += told[class];
		if (waiting[class] > 0 && busy < slots)
			return (enum queue_class)class;
	}
	if (waiting[QUEUE_POLL] > 0 && told[QUEUE_POLL] < (slots + QUEUE_OTHERS_PER_POLL) / (QUEUE_OTHERS_PER_POLL + 1))
		return QUEUE_POLL;
	return QUEUE_CLASS_COUNT;
}

/* Where there are tokens for all who are here, the first lane in which somebody waits for them alone; else NULL. */
static struct queue_lane *
queue_plenty_lane(const struct queue *q)
{
	struct queue_lane *lane = TAILQ_FIRST(&q->staged[QUEUE_WAITING]);

	if (q->closed != BUCKET_OPEN || (int64_t)q->count > q->stock)
		return NULL;
	while (lane && lane_is_limited(lane))
		lane = TAILQ_NEXT(lane, stage_link[QUEUE_WAITING]);
	return lane;
}

/*
 * The lane of whom the next is to be told, and his class; NULL for nobody. Those whom their own limits keep waiting, however many
 * are ready, do not take the places of those who could use the tokens.
 */
static struct queue_lane *
queue_promoted_lane(const struct queue *q, struct mono_time now, enum queue_class *class)
{
	struct queue_lane *lane = queue_plenty_lane(q);
	int64_t slots;

	if (lane == NULL)
		lane = queue_unready_lane(q);
	if (lane) {
		*class = lane_best_class(lane);
		return lane;
	}
	slots = queue_expected(q, now);
	for (int limited = 0; limited < 2; limited++) {
		*class = queue_promoted_class(q, slots, limited);
		if (*class != QUEUE_CLASS_COUNT)
			return queue_first_lane(q, *class, limited);
	}
	return NULL;
}

/* Are as many slow as may make ready at a time? What they wait for is not to be had for others. */
static bool
queue_is_slow(const struct queue *q)
{
	size_t aside = 0;

	for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
		aside += q->counts[QUEUE_SLOW][class];
	return aside >= QUEUE_TOLD_MAX;
}

struct queue_entry *
queue_promote(struct queue *q, struct mono_time now)
{
	struct queue_lane *lane;
	struct queue_entry *e;
	enum queue_class class;

	queue_set_slow_aside(q, now);
	if (!q->open || TAILQ_EMPTY(&q->staged[QUEUE_WAITING]) || queue_is_slow(q))
		return NULL;
	lane = queue_promoted_lane(q, now, &class);
	if (lane == NULL)
		return NULL;
	e = TAILQ_FIRST(&lane->lists[QUEUE_WAITING][class]);
	check(e != NULL);
	queue_unlink(q, e);
	queue_link(q, e, QUEUE_NEXT);
	e->next_since = now;
	return e;
}

/* Count the polls that wait in a lane, in whatever stage. */
static size_t
lane_polls(const struct queue_lane *lane)
{
	size_t polls = 0;

	for (int stage = 0; stage < QUEUE_STAGE_COUNT; stage++)
		polls += lane->counts[stage][QUEUE_POLL];
	return polls;
}

void
queue_look(struct queue *q, struct queue_entry *e)
{
	if (e->looked == 0)
		e->looked = q->call_number;
}

/* May E have a token now, since there is nothing for it alone, or its own call would have said so? */
static bool
entry_may_have(const struct queue *q, const struct queue_entry *e)
{
	return !e->looks || q->ahead.members == 1 || (q->ahead.members > 1 && e->ready_number < q->nothing_number)
	    || (e->looked > 0 && e->looked <= q->heard_number);
}

bool
queue_lane_looks(const struct queue *q, const struct queue_lane *lane)
{
	const struct queue_entry *e;

	for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
		TAILQ_FOREACH(e, &lane->lists[QUEUE_READY][class], link)
			if (e->looked == 0 && !entry_may_have(q, e))
				return true;
	return false;
}

/* The first of a class that is ready and may have a token. */
static struct queue_entry *
lane_first(const struct queue *q, const struct queue_lane *lane, enum queue_class class)
{
	struct queue_entry *e;

	TAILQ_FOREACH(e, &lane->lists[QUEUE_READY][class], link)
		if (entry_may_have(q, e))
			break;
	return e;
}

struct queue_entry *
queue_lane_served(const struct queue *q, struct queue_lane *lane)
{
	struct queue_entry *e = NULL;

	if (lane->others_since_poll >= QUEUE_OTHERS_PER_POLL)
		e = lane_first(q, lane, QUEUE_POLL);
	for (int class = 0; class < QUEUE_CLASS_COUNT && e == NULL; class++)
		e = lane_first(q, lane, (enum queue_class)class);
	return e;
}

void
queue_granted(struct queue *q, struct queue_entry *e)
{
	struct queue_lane *lane = e->lane;

	queue_remove(q, e);
	if (e->class == QUEUE_POLL || lane_polls(lane) == 0)
		lane->others_since_poll = 0;
	else
		lane->others_since_poll++;
	queue_ahead_use(q, lane);
}

/* Give the oldest token that a lane has in hand to one of its entries; NULL where there is no pair. */
static struct queue_entry *
lane_grant(struct queue *q, struct queue_lane *lane, struct mono_time now, struct mono_time *asked_at)
{
	struct queue_entry *e = queue_lane_served(q, lane);

	queue_lane_expire(q, lane, now);
	if (e == NULL || !queue_hand_take(&lane->hand, asked_at))
		return NULL;
	queue_granted(q, e);
	return e;
}

/* Tokens without own limits that nobody in their lane can use any more go to another such lane with somebody ready. */
static struct queue_lane *
queue_pass_on(struct queue *q, struct mono_time now)
{
	struct queue_lane *from, *to = TAILQ_FIRST(&q->staged[QUEUE_READY]);

	while (to && to->limit_count > 0)
		to = TAILQ_NEXT(to, stage_link[QUEUE_READY]);
	if (to == NULL)
		return NULL;
	TAILQ_FOREACH(from, &q->lanes, link) {
		if (from->hand.calls == 0 || from->count > 0 || from->limit_count > 0)
			continue;
		queue_lane_expire(q, from, now);
		for (size_t i = 0; i < from->hand.calls; i++)
			queue_hand_put(&to->hand, from->hand.of_call[i].asked_at, from->hand.of_call[i].count);
		from->hand.calls = 0;
	}
	return to;
}

struct queue_entry *
queue_grant(struct queue *q, struct mono_time now, struct mono_time *asked_at)
{
	struct queue_lane *lane;
	struct queue_entry *e;

	TAILQ_FOREACH(lane, &q->staged[QUEUE_READY], stage_link[QUEUE_READY])
		if (lane->hand.calls > 0 && (e = lane_grant(q, lane, now, asked_at)) != NULL)
			return e;
	if ((e = queue_ahead_grant(q, now, asked_at)) != NULL)
		return e;
	lane = queue_pass_on(q, now);
	return lane ? lane_grant(q, lane, now, asked_at) : NULL;
}

void
queue_pause(struct queue *q, struct mono_time until)
{
	struct queue_lane *lane;

	TAILQ_FOREACH(lane, &q->lanes, link)
		lane->hand.calls = 0;
	queue_set_ahead(q, 0);
	q->stock = 0;
	if (mono_since(until, q->due) > 0) {
		q->due = q->call_at = until;
		q->apart_us = QUEUE_APART_US;
		q->closed = BUCKET_PAUSED;	/* what the store will say, too */
	}
}

void
queue_give_back(struct queue *q, const struct queue_lane_key *key, struct mono_time asked_at, struct mono_time now)
{
	if (mono_since(now, asked_at) < queue_fresh_us(q))
		queue_hand_put(&queue_lane_of(q, key, true)->hand, asked_at, 1);
}
