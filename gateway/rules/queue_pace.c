/* When a queue asks the store, when it looks again, and how long those who come will wait. */
#include "base/check.h"
#include "rules/queue.h"

/* Looking again costs a turn of the loop: not more often than this for a place among the next. */
#define QUEUE_WAKE_MIN_US (5 * CLOCK_MS)
/* After a call that failed while the store is said to be there. */
#define QUEUE_PAUSE_US (10 * CLOCK_MS)
/* Where they are plenty, so far for each that the last call was for: few wait hardly at all, and for many one is made. */
#define QUEUE_GATHER_EACH_US 100
#define QUEUE_GATHER_MAX_US (2 * CLOCK_MS)
/* The store may ask to be called again so often in a row; a store that is never content is not called in a circle. */
#define QUEUE_AGAIN_MAX 3
/* Retry-After: the contract's bounds; a first place at most half a minute off leaves places to spread over. */
#define QUEUE_RETURN_MAX_US (60 * (int64_t)CLOCK_SECOND)
#define QUEUE_RETURN_FIRST_MAX_US (30 * (int64_t)CLOCK_SECOND)

void
queue_set_open(struct queue *q, bool open, struct mono_time now)
{
	struct queue_lane *lane;

	if (q->open == open)
		return;
	q->open = open;
	queue_set_ahead(q, 0);
	q->again = true;
	q->agains = 0;
	q->pause_until = now;
	q->call_at = now;
	q->apart_us = QUEUE_APART_US;
	TAILQ_FOREACH(lane, &q->lanes, link)
		lane->told = false;
}

/* A lane's weight over the fleet's that wait, its own among them. */
static double
queue_portion(const struct queue *q, const struct queue_lane *lane, int64_t weight)
{
	int64_t all = q->weight + (lane && lane->told ? 0 : weight);

	if (all < weight)
		all = weight;
	return (double)weight / (double)all / (double)(lane ? lane->members : 1);
}

double
queue_each_us(const struct queue *q, const struct queue_lane *lane, const struct queue_lane_key *key)
{
	double each_us = (double)q->token / (double)q->rate / queue_portion(q, lane, key->weight);

	for (size_t i = 0; i < key->limit_count; i++) {
		double limited_us = (double)key->limits[i].window_us / (double)key->limits[i].requests;

		if (limited_us > each_us)
			each_us = limited_us;
	}
	return each_us;
}

double
queue_estimate_us(const struct queue *q, const struct queue_lane *lane, const struct queue_lane_key *key,
    enum queue_class class, struct mono_time now)
{
	size_t ahead = 0, own = 0, stock = q->stock > 0 ? (size_t)q->stock : 0;
	int64_t due_us = mono_since(q->due, now);

	for (int stage = 0; lane && stage < QUEUE_STAGE_COUNT; stage++) {
		for (int c = 0; c <= (int)class; c++)
			ahead += lane->counts[stage][c];
		own += lane->counts[stage][class];
	}
	if (class == QUEUE_POLL && ahead > 10 * own + 9)
		ahead = 10 * own + 9;	/* the floor: one grant in ten is a poll's */
	if (q->count < stock)
		return 0;
	if (q->closed == BUCKET_OPEN || due_us < 0)
		due_us = 0;		/* the turn is in the rate; a pause is not */
	return (double)due_us + (double)ahead * queue_each_us(q, lane, key);
}

int64_t
queue_expected(const struct queue *q, struct mono_time now)
{
	int64_t ahead_us = QUEUE_AHEAD_US - mono_since(q->due, now), expected = q->stock > 0 ? q->stock : 0;
	const struct queue_lane *lane;
	double portion = 0;

	if (ahead_us > QUEUE_AHEAD_US)
		ahead_us = QUEUE_AHEAD_US;
	TAILQ_FOREACH(lane, &q->lanes, link)
		if (lane->count > 0)
			portion += queue_portion(q, lane, lane->weight);
	if (portion > 1)
		portion = 1;
	if (ahead_us >= 0)
		expected += 1 + (int64_t)((double)ahead_us * (double)q->rate * portion / (double)q->token);
	return expected < QUEUE_TOLD_MAX ? expected : QUEUE_TOLD_MAX;
}

/* Tokens wanted in a lane beyond those in hand. */
static int64_t
lane_wanted(const struct queue_lane *lane)
{
	int64_t wanted = (int64_t)queue_lane_count(lane, QUEUE_READY) - queue_hand_count(&lane->hand);

	return wanted > 0 ? wanted : 0;
}

/* Is there a reason to call for a lane? Tokens in hand are of no use to who has not been looked for. */
static bool
lane_calls(const struct queue *q, const struct queue_lane *lane)
{
	return lane_wanted(lane) > 0 || (lane->hand.calls > 0 && queue_lane_looks(q, lane));
}

/* How many of those who are ready in a lane wait for a glance alone, of *AHEAD tokens in hand that are not yet others'. They are his then. */
static int64_t
lane_covered(const struct queue_lane *lane, int64_t *ahead)
{
	int64_t covered = lane_wanted(lane);

	if (lane->limit_count > 0)
		return 0;
	if (covered > *ahead)
		covered = *ahead;
	*ahead -= covered;
	return covered;
}

/* Does anybody want a token? *NEWS: of a lane that the store has not heard of. */
static bool
queue_is_wanting(const struct queue *q, bool *news)
{
	const struct queue_lane *lane;
	int64_t ahead = queue_hand_count(&q->ahead.hand);
	bool wanting = false;

	*news = false;
	TAILQ_FOREACH(lane, &q->staged[QUEUE_READY], stage_link[QUEUE_READY])
		if (lane_calls(q, lane) && (ahead == 0 || lane_covered(lane, &ahead) < lane_wanted(lane))) {
			wanting = true;
			*news = *news || !lane->told;
		}
	return wanting;
}

/* The place of a limit among the ask's, where it is put if it is not there; BUCKET_LIMITS_MAX where there is no room. */
static size_t
ask_limit(struct bucket_ask *ask, const struct bucket_limit *limit)
{
	size_t i = 0;

	while (i < ask->limit_count && !str_eq(str_from(ask->limits[i].name), str_from(limit->name)))
		i++;
	if (i == ask->limit_count && i < BUCKET_LIMITS_MAX)
		ask->limits[ask->limit_count++] = *limit;
	return i;
}

/* Put a lane into the ask, less what *AHEAD tokens cover; false where its limits have no room. */
static bool
ask_lane(struct queue *q, struct bucket_ask *ask, struct queue_lane *lane, int64_t *ahead)
{
	struct bucket_lane *told = &ask->lanes[ask->lane_count];
	int64_t covered = lane_covered(lane, ahead);

	*told = (struct bucket_lane){ .weight = lane->weight, .ready = lane_wanted(lane) - covered,
		.waiting = (int64_t)lane->count - queue_hand_count(&lane->hand) - covered };
	if (told->waiting < told->ready)
		told->waiting = told->ready;
	for (size_t i = 0; i < sizeof(told->flow); i++)
		told->flow[i] = lane->flow[i];
	for (size_t i = 0; i < lane->limit_count; i++) {
		size_t at = ask_limit(ask, &lane->limits[i]);

		if (at == BUCKET_LIMITS_MAX)
			return false;
		told->limits[told->limit_count++] = (uint8_t)at;
	}
	q->asked += told->ready;
	q->called[ask->lane_count++] = lane;
	return true;
}

/* Tell who waits: those first who could be sent; of more than fit, those who were told longest ago. */
static void
queue_tell_lanes(struct queue *q, struct bucket_ask *ask)
{
	struct queue_lane *lane;
	int64_t ahead = queue_hand_count(&q->ahead.hand);

	for (int ready = 1; ready >= 0; ready--)
		TAILQ_FOREACH(lane, &q->lanes, link)
			if (lane->count > 0 && lane_calls(q, lane) == ready && ask->lane_count < BUCKET_LANES_MAX
			    && !ask_lane(q, ask, lane, &ahead))
				break;
	q->called_count = ask->lane_count;
	for (size_t i = 0; i < q->called_count; i++) {
		TAILQ_REMOVE(&q->lanes, q->called[i], link);
		TAILQ_INSERT_TAIL(&q->lanes, q->called[i], link);
		q->called[i]->told = true;
	}
}

/* Is there a reason to call now? */
static bool
queue_is_due(const struct queue *q, struct mono_time now)
{
	bool news, wanting = queue_is_wanting(q, &news);

	if (q->again)
		return true;
	if (wanting && (mono_since(now, q->call_at) >= 0 || (news && mono_since(now, q->called_at) >= q->apart_us)))
		return true;
	if (queue_ahead_is_low(q) && mono_since(now, queue_ahead_at(q)) >= 0)
		return true;
	return q->keep_us > 0 && mono_since(now, q->called_at) >= q->keep_us;
}

bool
queue_call(struct queue *q, struct mono_time now, struct bucket_ask *ask)
{
	if (!q->open || q->calling || mono_since(now, q->pause_until) < 0 || !queue_is_due(q, now))
		return false;
	bucket_ask_clear(ask);
	q->called_at = now;
	q->asked = 0;
	queue_lanes_sweep(q, false);
	queue_tell_lanes(q, ask);
	queue_ahead_ask(q, now, ask);
	q->calling = true;
	q->call_number = ++q->number;
	q->again = false;
	return true;
}

/* How far from the last call the next one is to be. */
static int64_t
queue_apart_us(const struct queue *q, const struct bucket_answer *answer)
{
	int64_t gather_us = QUEUE_GATHER_EACH_US * q->asked;

	/* Of what was asked for, not of what is wanted by now: under load somebody has always come meanwhile. */
	if (answer->closed != BUCKET_OPEN || answer->granted < q->asked)
		return QUEUE_APART_US;
	return gather_us < QUEUE_GATHER_MAX_US ? gather_us : QUEUE_GATHER_MAX_US;
}

/* Take over what the store says of when and how fast. */
static void
queue_hear(struct queue *q, const struct bucket_answer *answer, struct mono_time now)
{
	int64_t on_the_way_us = mono_since(now, q->called_at) / 2;
	bool strange = answer->closed == BUCKET_STRANGE && ++q->agains <= QUEUE_AGAIN_MAX;

	/*
	 * The store looked at some time within the round trip. A call that is sent WAIT after the first one was sent
	 * arrives when the token is due, if the way takes as long again; half of the way more (2 ms at most: lateness
	 * costs, an early call only repeats itself) covers the difference.
	 */
	if (on_the_way_us > 2 * CLOCK_MS)
		on_the_way_us = 2 * CLOCK_MS;
	q->stock = answer->left;
	q->rate = answer->rate;
	q->token = answer->token;
	q->weight = answer->weight;
	q->closed = answer->closed;
	q->due = mono_add(q->called_at, answer->wait_us + (answer->wait_us > 0 ? on_the_way_us : 0));
	q->apart_us = queue_apart_us(q, answer);
	q->call_at = mono_add(q->called_at, q->apart_us);
	if (mono_since(q->due, q->call_at) > 0)
		q->call_at = q->due;
	q->again = q->again || strange;		/* there may be another quota meanwhile */
	if (answer->closed != BUCKET_STRANGE)
		q->agains = 0;
	else if (!strange)
		q->call_at = mono_add(now, QUEUE_AHEAD_US / 10);
}

void
queue_answered(struct queue *q, const struct bucket_answer *answer, struct mono_time now)
{
	check(q->calling);
	q->calling = false;
	q->heard_number = q->call_number;
	for (size_t i = 0; i < q->called_count; i++) {
		struct queue_lane *lane = q->called[i];

		queue_hand_put(&lane->hand, q->called_at, queue_ahead_hear(q, i, answer->lanes[i].granted));
		lane->place = answer->lanes[i].place;
		lane->members = answer->lanes[i].members > 0 ? answer->lanes[i].members : 1;
	}
	if (q->ahead.asked > 0 && q->ahead.asked_lane == q->called_count)
		queue_ahead_hear(q, q->called_count, answer->lanes[q->called_count].granted);
	queue_hear(q, answer, now);
}

/* Those who went with the call that has failed are to be looked for again. */
static void
lane_unlook(const struct queue *q, struct queue_lane *lane)
{
	struct queue_entry *e;

	for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
		TAILQ_FOREACH(e, &lane->lists[QUEUE_READY][class], link)
			if (e->looked == q->call_number)
				e->looked = 0;
}

void
queue_failed(struct queue *q, struct mono_time now)
{
	q->calling = false;
	queue_set_ahead(q, 0);
	for (size_t i = 0; i < q->called_count; i++) {
		q->called[i]->told = false;
		lane_unlook(q, q->called[i]);
	}
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
	struct mono_time first = { INT64_MAX };
	bool news, wanting = queue_is_wanting(q, &news), some = false;

	if (q->again)
		earlier(&first, &some, q->pause_until);
	if (wanting)
		earlier(&first, &some, q->call_at);
	if (news)
		earlier(&first, &some, mono_add(q->called_at, q->apart_us));
	if (queue_ahead_is_low(q))
		earlier(&first, &some, queue_ahead_at(q));
	if (q->keep_us > 0)
		earlier(&first, &some, mono_add(q->called_at, q->keep_us));
	if (some)
		earlier(at, any, first.us < q->pause_until.us ? q->pause_until : first);
}

/* When another may be told to make ready, if nothing happens before. */
static void
queue_wake_to_promote(const struct queue *q, struct mono_time now, struct mono_time *at, bool *any)
{
	int64_t until_us = mono_since(q->due, now) - QUEUE_AHEAD_US;
	const struct queue_lane *lane;

	if (until_us <= 0)
		until_us = q->token / q->rate;
	earlier(at, any, mono_add(now, until_us > QUEUE_WAKE_MIN_US ? until_us : QUEUE_WAKE_MIN_US));
	TAILQ_FOREACH(lane, &q->staged[QUEUE_NEXT], stage_link[QUEUE_NEXT])
		for (int class = 0; class < QUEUE_CLASS_COUNT; class++) {
			const struct queue_entry *e = TAILQ_FIRST(&lane->lists[QUEUE_NEXT][class]);

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
queue_retry_after(struct queue *q, const struct queue_lane_key *key, enum queue_class class, int64_t patience_us,
    struct mono_time now)
{
	struct queue_lane *lane = queue_lane_of(q, key, true);
	double room_us = queue_estimate_us(q, lane, key, class, now) - (double)patience_us;
	double step_us = queue_each_us(q, lane, key);
	int64_t first_us = CLOCK_SECOND, after_us;

	if (room_us > (double)first_us)
		first_us = room_us < (double)QUEUE_RETURN_FIRST_MAX_US ? (int64_t)room_us : QUEUE_RETURN_FIRST_MAX_US;
	if (step_us > CLOCK_SECOND)
		step_us = CLOCK_SECOND;	/* slower than that a minute would not hold them */
	after_us = mono_since(lane->return_slot, now);
	if (after_us < first_us || after_us > QUEUE_RETURN_MAX_US)
		after_us = first_us;
	lane->return_slot = mono_add(now, after_us + (int64_t)step_us);
	return (after_us + CLOCK_SECOND - 1) / CLOCK_SECOND;
}
