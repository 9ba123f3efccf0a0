/* Lanes of a queue: found by whose they are, made at need, swept when nobody waits in them. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/queue.h"

/* The chain of a caller's lanes. */
static struct queue_lane **
lane_chain(struct queue *q, const char *flow)
{
	unsigned hash = 5381;

	while (*flow)
		hash = hash * 33 + (unsigned char)*flow++;
	return &q->chains[hash % QUEUE_LANE_CHAINS];
}

/* Is it the lane of that key? */
static bool
lane_is(const struct queue_lane *lane, const struct queue_lane_key *key)
{
	if (strcmp(lane->flow, key->flow) != 0 || lane->limit_count != key->limit_count)
		return false;
	for (size_t i = 0; i < key->limit_count; i++)
		if (strcmp(lane->limits[i].name, key->limits[i].name) != 0)
			return false;
	return true;
}

/* Take what the present configuration says of a lane. */
static void
lane_follow(struct queue_lane *lane, const struct queue_lane_key *key)
{
	lane->weight = key->weight;
	for (size_t i = 0; i < key->limit_count; i++)
		lane->limits[i] = key->limits[i];
}

/* A new lane. */
static struct queue_lane *
lane_new(struct queue *q, const struct queue_lane_key *key)
{
	struct queue_lane *lane = calloc(1, sizeof(*lane)), **chain = lane_chain(q, key->flow);

	check(lane != NULL && strlen(key->flow) < sizeof(lane->flow));
	strcpy(lane->flow, key->flow);
	lane->limits = calloc(key->limit_count + 1, sizeof(*lane->limits));
	check(lane->limits != NULL);
	lane->limit_count = key->limit_count;
	lane->members = 1;
	lane->place = BUCKET_PLACE_LATER;
	for (int stage = 0; stage < QUEUE_STAGE_COUNT; stage++)
		for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
			TAILQ_INIT(&lane->lists[stage][class]);
	lane->chain_next = *chain;
	*chain = lane;
	TAILQ_INSERT_TAIL(&q->lanes, lane, link);
	return lane;
}

struct queue_lane *
queue_lane_of(struct queue *q, const struct queue_lane_key *key, bool make)
{
	struct queue_lane *lane = *lane_chain(q, key->flow);

	while (lane && !lane_is(lane, key))
		lane = lane->chain_next;
	if (lane == NULL && make)
		lane = lane_new(q, key);
	if (lane && make)
		lane_follow(lane, key);
	return lane;
}

/* Is it needed, though nobody waits in it: for tokens, or for those who were told when to return? */
static bool
lane_is_used(const struct queue *q, const struct queue_lane *lane)
{
	return lane->count > 0 || lane->hand.calls > 0 || mono_since(lane->return_slot, q->called_at) > 0;
}

/* Is it in the call that is under way? */
static bool
lane_is_called(const struct queue *q, const struct queue_lane *lane)
{
	for (size_t i = 0; q->calling && i < q->called_count; i++)
		if (q->called[i] == lane)
			return true;
	return false;
}

/* Take a lane out of everything and free it. */
static void
lane_free(struct queue *q, struct queue_lane *lane)
{
	struct queue_lane **at = lane_chain(q, lane->flow);

	while (*at != lane)
		at = &(*at)->chain_next;
	*at = lane->chain_next;
	TAILQ_REMOVE(&q->lanes, lane, link);
	free(lane->limits);
	free(lane);
}

int64_t
queue_fresh_us(const struct queue *q)
{
	return q->quota.jitter_us / 2 - q->quota.jitter_us / 32;
}

void
queue_lane_expire(const struct queue *q, struct queue_lane *lane, struct mono_time now)
{
	queue_hand_expire(&lane->hand, mono_add(now, -queue_fresh_us(q)));
}

void
queue_lanes_sweep(struct queue *q, bool all)
{
	struct queue_lane *lane, *next;

	for (lane = TAILQ_FIRST(&q->lanes); lane; lane = next) {
		next = TAILQ_NEXT(lane, link);
		queue_lane_expire(q, lane, q->called_at);
		if (all || (!lane_is_used(q, lane) && !lane_is_called(q, lane)))
			lane_free(q, lane);
	}
}

size_t
queue_lane_count(const struct queue_lane *lane, enum queue_stage stage)
{
	size_t count = 0;

	for (int class = 0; class < QUEUE_CLASS_COUNT; class++)
		count += lane->counts[stage][class];
	return count;
}
