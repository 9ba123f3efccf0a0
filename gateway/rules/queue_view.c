/* Who waits in a queue, and what keeps them waiting. */
#include "rules/queue_view.h"

#include <string.h>

_Static_assert(BUCKET_LANE_LIMITS_MAX <= 64, "a lane's limits are bits of a word");

/* How long the first of a list has waited that came in order: those thrown back stand before it, and are younger. */
static int64_t
view_list_us(const struct queue_list *list, struct mono_time now)
{
	const struct queue_entry *e;
	int64_t oldest_us = 0;

	TAILQ_FOREACH(e, list, link) {
		if (mono_since(now, e->submitted) > oldest_us)
			oldest_us = mono_since(now, e->submitted);
		if (!e->first)
			break;
	}
	return oldest_us;
}

/* How long the one that came first to LANE has waited. */
static int64_t
view_oldest_us(const struct queue_lane *lane, struct mono_time now)
{
	int64_t oldest_us = 0, us;

	for (int stage = 0; stage < QUEUE_STAGE_COUNT; stage++)
		for (int class = 0; class < QUEUE_CLASS_COUNT; class++) {
			us = view_list_us(&lane->lists[stage][class], now);
			oldest_us = us > oldest_us ? us : oldest_us;
		}
	return oldest_us;
}

/* Put a lane among those in which most wait; one that falls out is only counted. */
static void
view_add(struct queue_view *view, const struct queue_view_lane *added)
{
	size_t place = view->lane_count;
	const struct queue_lane *out = added->lane;

	while (place > 0 && view->lanes[place - 1].lane->count < added->lane->count)
		place--;
	if (view->lane_count == QUEUE_VIEW_LANES) {
		if (place < QUEUE_VIEW_LANES)
			out = view->lanes[--view->lane_count].lane;
		view->more_lanes++;
		view->more_waiting += out->count;
	}
	if (place == QUEUE_VIEW_LANES)
		return;
	memmove(view->lanes + place + 1, view->lanes + place, (view->lane_count - place) * sizeof(view->lanes[0]));
	view->lanes[place] = *added;
	view->lane_count++;
}

/* The place of LANE's limit called NAME, or its limit_count. */
static size_t
view_limit(const struct queue_lane *lane, const char *name)
{
	size_t i = 0;

	while (i < lane->limit_count && strcmp(lane->limits[i].name, name) != 0)
		i++;
	return i;
}

/* Would the lanes that share LIMIT get more of the quota than it lets through? */
static bool
view_is_narrow(const struct queue *q, const struct queue_view *view, const struct bucket_limit *limit)
{
	double wanted = 0;	/* tokens a microsecond */

	for (size_t i = 0; i < view->lane_count; i++) {
		const struct queue_lane *lane = view->lanes[i].lane;
		struct queue_lane_key bare = { lane->flow, lane->weight, NULL, 0 };

		if (view_limit(lane, limit->name) < lane->limit_count)
			wanted += 1 / queue_each_us(q, lane, &bare);
	}
	return (double)limit->requests / (double)limit->window_us < wanted;
}

/* Which of its own limits keep a lane waiting. */
static uint64_t
view_held(const struct queue *q, const struct queue_view *view, const struct queue_lane *lane)
{
	uint64_t held = 0;

	if (!q->open || q->closed != BUCKET_OPEN || !lane->told || lane->place < BUCKET_PLACE_LATER)
		return 0;
	for (size_t i = 0; i < lane->limit_count; i++)
		if (view_is_narrow(q, view, &lane->limits[i]))
			held |= UINT64_C(1) << i;
	return held;
}

void
queue_view(const struct queue *q, struct mono_time now, struct queue_view *view)
{
	const struct queue_lane *lane;

	*view = (struct queue_view){ 0 };
	TAILQ_FOREACH(lane, &q->lanes, link) {
		struct queue_view_lane seen = { .lane = lane, .oldest_us = view_oldest_us(lane, now) };

		if (lane->count == 0)
			continue;
		seen.ready = queue_lane_count(lane, QUEUE_READY);
		seen.making_ready = queue_lane_count(lane, QUEUE_NEXT) + queue_lane_count(lane, QUEUE_SLOW);
		view->ready += seen.ready;
		view->making_ready += seen.making_ready;
		view->oldest_us = seen.oldest_us > view->oldest_us ? seen.oldest_us : view->oldest_us;
		view_add(view, &seen);
	}
	for (size_t i = 0; i < view->lane_count; i++)
		view->lanes[i].held = view_held(q, view, view->lanes[i].lane);
}
