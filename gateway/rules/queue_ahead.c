/* Tokens taken ahead of need: who comes finds one in hand and waits for no round trip, and a call is one for many. */
#include "rules/queue.h"

#include <string.h>

/* So much use is taken ahead, and half of it is there when more is asked for: far more than a round trip, far less than tokens live. */
#define AHEAD_US (10 * CLOCK_MS)
/* What was used is measured over so long at least; calls stand so far apart. */
#define AHEAD_MEASURE_US (2 * CLOCK_MS)
#define AHEAD_APART_US (1 * CLOCK_MS)
/* Fewer save nothing. */
#define AHEAD_LEAST 4
/* One call's. */
#define AHEAD_MOST (BUCKET_TOKENS_MAX / 2)
/* Plenty: the store has so many times as many that nobody wants, for each who may take some. */
#define AHEAD_PLENTY 8
/* Of the quota one part in so many may lapse, of all who may take some. */
#define AHEAD_SPARE_PART 200

/* Take note that COUNT tokens lapse. */
static void
ahead_lapse(struct queue *q, int64_t count)
{
	q->ahead.spare -= count * AHEAD_SPARE_PART * q->quota.window_us;
	if (q->ahead.spare < 0)
		q->ahead.spare = 0;
}

/* The answer to question NUMBER was that there is nothing for anybody alone. */
static void
ahead_hear_nothing(struct queue *q, uint64_t number)
{
	if (q->nothing_number < number)
		q->nothing_number = number;
}

void
queue_set_ahead(struct queue *q, size_t members)
{
	q->ahead.members = members;
	if (members > 0) {
		ahead_hear_nothing(q, q->call_number);
		return;
	}
	ahead_lapse(q, queue_hand_count(&q->ahead.hand));
	q->ahead.hand.calls = 0;
	q->ahead.low = 0;
}

bool
queue_glance(struct queue *q)
{
	if (!q->open || q->glance_number > 0 || q->ahead.members < 2 || q->ready_number < q->nothing_number
	    || q->ahead.hand.calls == 0 || TAILQ_EMPTY(&q->staged[QUEUE_READY]))
		return false;
	q->glance_number = ++q->number;
	return true;
}

void
queue_glanced(struct queue *q, bool nothing)
{
	if (nothing)
		ahead_hear_nothing(q, q->glance_number);
	else
		queue_set_ahead(q, 0);
	q->glance_number = 0;
}

/* Drop what is half as old as a token may be: who gets one has the other half for what he still has to do. */
static void
ahead_expire(struct queue *q, struct mono_time now)
{
	ahead_lapse(q, queue_hand_expire(&q->ahead.hand, mono_add(now, -q->quota.jitter_us / 4)));
}

/* How many may lapse: a bucket that is filled in a window. */
static int64_t
ahead_spare(struct queue *q, struct mono_time now)
{
	struct queue_ahead *ahead = &q->ahead;
	int64_t full = q->quota.requests * q->quota.window_us, elapsed_us = mono_since(now, ahead->spare_at);

	ahead->spare = elapsed_us >= q->quota.window_us ? full : ahead->spare + elapsed_us * q->quota.requests;
	if (ahead->spare > full)
		ahead->spare = full;
	ahead->spare_at = now;
	return ahead->spare / (AHEAD_SPARE_PART * q->quota.window_us);
}

/* How many there should be in hand: what is used in AHEAD_US at the present rate; 0 where they are not plenty. */
static int64_t
ahead_goal(struct queue *q, struct mono_time now)
{
	int64_t elapsed_us = mono_since(now, q->ahead.since), spare = ahead_spare(q, now), goal;
	int64_t members = (int64_t)q->ahead.members;

	if (members == 0 || q->closed != BUCKET_OPEN)
		return 0;
	goal = q->ahead.used * AHEAD_US / (elapsed_us > AHEAD_MEASURE_US ? elapsed_us : AHEAD_MEASURE_US);
	if (goal > AHEAD_MOST)
		goal = AHEAD_MOST;
	if (goal > spare / members)
		goal = spare / members;
	return goal < AHEAD_LEAST || goal > q->stock / AHEAD_PLENTY / members ? 0 : goal;
}

/* The lane of the ask in which they are asked for: one without limits that is there, or one more; BUCKET_LANES_MAX where there is no room. */
static size_t
ahead_lane(const struct queue *q, struct bucket_ask *ask)
{
	struct bucket_lane *lane = &ask->lanes[ask->lane_count];
	size_t i = 0;

	while (i < ask->lane_count && ask->lanes[i].limit_count > 0)
		i++;
	if (i < ask->lane_count || i == BUCKET_LANES_MAX)
		return i;
	*lane = (struct bucket_lane){ .weight = q->ahead.weight };
	memcpy(lane->flow, q->ahead.flow, sizeof(lane->flow));
	ask->lane_count++;
	return i;
}

void
queue_ahead_ask(struct queue *q, struct mono_time now, struct bucket_ask *ask)
{
	struct queue_ahead *ahead = &q->ahead;
	int64_t goal = ahead_goal(q, now), more;

	ahead_expire(q, now);
	more = goal - queue_hand_count(&ahead->hand);
	ahead->used = 0;
	ahead->since = now;
	ahead->low = goal / 2;
	ahead->asked = 0;
	if (more <= 0)
		return;
	ahead->asked_lane = ahead_lane(q, ask);
	if (ahead->asked_lane == BUCKET_LANES_MAX)
		return;
	ahead->asked = more;
	ahead->lane_ready = ask->lanes[ahead->asked_lane].ready;
	ask->lanes[ahead->asked_lane].ready += more;
	ask->lanes[ahead->asked_lane].waiting += more;
}

int64_t
queue_ahead_hear(struct queue *q, size_t lane, int64_t granted)
{
	struct queue_ahead *ahead = &q->ahead;
	int64_t own = granted < ahead->lane_ready ? granted : ahead->lane_ready;

	if (ahead->asked == 0 || lane != ahead->asked_lane)
		return granted;
	if (ahead->members > 0)
		queue_hand_put(&ahead->hand, q->called_at, granted - own);
	else
		ahead_lapse(q, granted - own);
	return own;
}

/* Who of the ready without limits may have a token next; NULL where nobody may. */
static struct queue_entry *
ahead_served(const struct queue *q)
{
	struct queue_lane *lane;
	struct queue_entry *e;

	TAILQ_FOREACH(lane, &q->staged[QUEUE_READY], stage_link[QUEUE_READY])
		if (lane->limit_count == 0 && (e = queue_lane_served(q, lane)) != NULL)
			return e;
	return NULL;
}

struct queue_entry *
queue_ahead_grant(struct queue *q, struct mono_time now, struct mono_time *asked_at)
{
	struct queue_entry *e;

	ahead_expire(q, now);
	if (q->ahead.hand.calls == 0 || (e = ahead_served(q)) == NULL)
		return NULL;
	queue_hand_take(&q->ahead.hand, asked_at);
	queue_granted(q, e);
	return e;
}

bool
queue_ahead_has_for(const struct queue *q, const struct queue_entry *e)
{
	size_t ready = 0;

	if (q->ahead.members == 0 || (e->looks && q->ahead.members > 1) || e->lane->limit_count > 0)
		return false;
	for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
		ready += q->counts[QUEUE_READY][class];
	return queue_hand_count(&q->ahead.hand) > (int64_t)ready;
}

void
queue_ahead_use(struct queue *q, const struct queue_lane *lane)
{
	if (lane->limit_count > 0)
		return;
	q->ahead.used++;
	memcpy(q->ahead.flow, lane->flow, sizeof(lane->flow));
	q->ahead.weight = lane->weight;
}

bool
queue_ahead_is_low(const struct queue *q)
{
	return queue_hand_count(&q->ahead.hand) < q->ahead.low;
}

struct mono_time
queue_ahead_at(const struct queue *q)
{
	return mono_add(q->called_at, AHEAD_APART_US);
}
