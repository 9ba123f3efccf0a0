/* Whose the tokens are: start-time fair queuing of callers over all members. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/bucket_private.h"

/* Steps of looking ahead beyond the tokens that are there: whose turn is later than that comes again sooner. */
#define FLOW_AHEAD_STEPS 64
/* So many of its turns a member is told the order of. */
#define FLOW_TURNS 8

/* A lane of a member as the serving sees it. */
struct flow_item {
	size_t flow;
	struct bucket_member *member;
	struct bucket_lane_state *lane;
	int64_t left;			/* that wait */
	int64_t ready;			/* of the member that calls */
	int64_t served;
	struct bucket_lane_answer *answer;	/* of the member that calls, else NULL */
};

struct flow_serving {
	struct bucket_call *c;
	struct flow_item items[BUCKET_MEMBERS_MAX * BUCKET_LANES_MAX];
	size_t item_count;
	int64_t *lags;			/* as they will be if everyone fetches what is theirs */
	int64_t *levels;		/* of the limits, likewise */
	int64_t step, turns;
	bool mine_only;			/* the others have not fetched theirs */
	bool mine_waits;		/* the member that calls has somebody who could use a token */
};

/* What a token costs a flow. */
static int64_t
flow_cost(const struct bucket_flow *flow)
{
	return BUCKET_COST / flow->weight;
}

/* The place of a flow; BUCKET_FLOWS_MAX where there is none. */
static size_t
flow_find(const struct bucket *b, const char *name)
{
	for (size_t i = 0; i < b->flow_count; i++)
		if (strcmp(b->flows[i].name, name) == 0)
			return i;
	return BUCKET_FLOWS_MAX;
}

/* Does anybody wait in it? */
static bool
flow_is_wanted(const struct bucket_call *c, const char *name)
{
	for (size_t i = 0; i < c->b->member_count; i++) {
		const struct bucket_member *m = c->b->members[i];

		for (size_t j = 0; j < m->lane_count && c->now_us - m->called_us <= BUCKET_DEMAND_US; j++)
			if (m->lanes[j].waiting > 0 && strcmp(m->lanes[j].flow, name) == 0)
				return true;
	}
	return false;
}

/*
 * The place of a new flow: its own, or that of one in which nobody waits, which owes a token at most. The search goes on from
 * GIVEN_UP; BUCKET_FLOWS_MAX where all are waited in.
 */
static size_t
flow_place(struct bucket_call *c, size_t *given_up)
{
	struct bucket *b = c->b;

	if (b->flow_count < BUCKET_FLOWS_MAX) {
		b->flows = reallocarray(b->flows, b->flow_count + 1, sizeof(*b->flows));
		check(b->flows != NULL);
		return b->flow_count++;
	}
	while (*given_up < BUCKET_FLOWS_MAX)
		if (!flow_is_wanted(c, b->flows[(*given_up)++].name))
			return *given_up - 1;
	return BUCKET_FLOWS_MAX;
}

/* Have a flow for a lane of the member that calls; false where there are too many. */
static bool
flow_follow(struct bucket_call *c, const struct bucket_lane *lane, size_t *given_up)
{
	struct bucket *b = c->b;
	size_t i = flow_find(b, lane->flow);

	if (i == BUCKET_FLOWS_MAX) {
		i = flow_place(c, given_up);
		if (i == BUCKET_FLOWS_MAX)
			return false;
		b->flows[i] = (struct bucket_flow){ .lag = 0 };
		memcpy(b->flows[i].name, lane->flow, sizeof(lane->flow));
	}
	b->flows[i].weight = lane->weight;
	return true;
}

/* Are both the same lane? */
static bool
lane_is(const struct bucket_lane_state *state, const struct bucket_lane *lane, const struct bucket_ask *ask)
{
	if (strcmp(state->flow, lane->flow) != 0 || state->limit_count != lane->limit_count)
		return false;
	for (size_t i = 0; i < lane->limit_count; i++)
		if (strcmp(state->limits[i], ask->limits[lane->limits[i]].name) != 0)
			return false;
	return true;
}

/* When a lane of the member was served last, as far as is known. */
static int64_t
lane_served(const struct bucket_member *m, const struct bucket_lane *lane, const struct bucket_ask *ask)
{
	for (size_t i = 0; i < m->lane_count; i++)
		if (lane_is(&m->lanes[i], lane, ask))
			return m->lanes[i].served;
	return 0;
}

void
bucket_flows_update(struct bucket_call *c)
{
	const struct bucket_ask *ask = c->ask;
	struct bucket_lane_state *lanes = calloc(ask->lane_count + 1, sizeof(*lanes));
	size_t given_up = 0;

	check(lanes != NULL);
	for (size_t i = 0; i < ask->lane_count; i++) {
		const struct bucket_lane *lane = &ask->lanes[i];

		memcpy(lanes[i].flow, lane->flow, sizeof(lane->flow));
		lanes[i].waiting = lane->waiting;
		lanes[i].served = lane_served(c->me, lane, ask);
		lanes[i].limit_count = lane->limit_count;
		for (size_t k = 0; k < lane->limit_count; k++)
			memcpy(lanes[i].limits[k], ask->limits[lane->limits[k]].name, BUCKET_NAME_BYTES);
	}
	free(c->me->lanes);
	c->me->lanes = lanes;
	c->me->lane_count = ask->lane_count;
	for (size_t i = 0; i < ask->lane_count; i++)
		if (!flow_follow(c, &ask->lanes[i], &given_up))
			lanes[i].waiting = 0;
}

/* All lanes in which somebody waits. */
static void
serving_collect(struct flow_serving *s)
{
	struct bucket_call *c = s->c;

	for (size_t i = 0; i < c->b->member_count; i++) {
		struct bucket_member *m = c->b->members[i];

		if (c->now_us - m->called_us > BUCKET_DEMAND_US)
			continue;
		for (size_t j = 0; j < m->lane_count; j++) {
			struct flow_item *item = &s->items[s->item_count];
			size_t flow = flow_find(c->b, m->lanes[j].flow);

			if (m->lanes[j].waiting == 0 || flow == BUCKET_FLOWS_MAX)
				continue;
			*item = (struct flow_item){ flow, m, &m->lanes[j], m->lanes[j].waiting, 0, m->lanes[j].served, NULL };
			if (m == c->me) {
				item->ready = c->ask->lanes[j].ready;
				item->answer = &c->answer->lanes[j];
				item->answer->place = BUCKET_PLACE_LATER;
				s->mine_waits = true;
			}
			s->item_count++;
		}
	}
}

/* Do its own limits let one more through? */
static bool
item_is_free(const struct flow_serving *s, const struct flow_item *item)
{
	for (size_t i = 0; i < item->lane->limit_count; i++) {
		struct bucket_limit_state *limit = bucket_limit_find(s->c->b, item->lane->limits[i]);

		if (s->levels[limit - s->c->b->limits] < limit->limit.window_us)
			return false;
	}
	return true;
}

/* Whose the next token is; NULL where nobody can use it. THERE: it could go at once, so of the caller's only who is ready. */
static struct flow_item *
serving_pick(struct flow_serving *s, bool there)
{
	struct flow_item *best = NULL;

	for (size_t i = 0; i < s->item_count; i++) {
		struct flow_item *item = &s->items[i];
		bool mine = item->answer != NULL;

		if (item->left == 0 || (there && mine && item->ready == 0) || (there && s->mine_only && !mine)
		    || !item_is_free(s, item))
			continue;
		if (best == NULL || s->lags[item->flow] < s->lags[best->flow]
		    || (s->lags[item->flow] == s->lags[best->flow]
		    && (item->flow < best->flow || (item->flow == best->flow && item->served < best->served))))
			best = item;
	}
	return best;
}

/* A token goes to FLOW: virtual time goes on to its start. Others fall back at most a token's worth. */
static void
flow_serve(const struct bucket *b, int64_t *lags, size_t flow)
{
	int64_t lag = lags[flow];

	for (size_t i = 0; lag > 0 && i < b->flow_count; i++)
		lags[i] = bucket_most(lags[i] - lag, -flow_cost(&b->flows[i]));
	lags[flow] = bucket_least(lag, 0) + flow_cost(&b->flows[flow]);
}

/* Let ITEM have one, as far as looking ahead goes. */
static void
serving_step(struct flow_serving *s, struct flow_item *item)
{
	item->left--;
	item->served = s->c->b->number + ++s->step;
	for (size_t i = 0; i < item->lane->limit_count; i++) {
		struct bucket_limit_state *limit = bucket_limit_find(s->c->b, item->lane->limits[i]);

		s->levels[limit - s->c->b->limits] -= limit->limit.window_us;
	}
	flow_serve(s->c->b, s->lags, item->flow);
}

/* Let ITEM of the caller have one for good. */
static void
serving_grant(struct flow_serving *s, struct flow_item *item)
{
	struct bucket *b = s->c->b;
	int64_t lags[BUCKET_FLOWS_MAX];

	for (size_t i = 0; i < item->lane->limit_count; i++) {
		struct bucket_limit_state *limit = bucket_limit_find(b, item->lane->limits[i]);

		limit->level -= limit->limit.window_us;
	}
	for (size_t i = 0; i < b->flow_count; i++)
		lags[i] = b->flows[i].lag;
	flow_serve(b, lags, item->flow);
	for (size_t i = 0; i < b->flow_count; i++)
		b->flows[i].lag = lags[i];
	item->ready--;
	item->lane->waiting--;
	item->lane->served = b->number;
	item->answer->granted++;
	s->c->answer->granted++;
}

/* Hand out the tokens that are there; returns how many nobody wants. */
static int64_t
serving_hand_out(struct flow_serving *s)
{
	struct bucket_call *c = s->c;
	int64_t there = c->there;
	struct flow_item *item;

	while (there > 0 && c->answer->granted < BUCKET_TOKENS_MAX && s->step < 2 * BUCKET_TOKENS_MAX
	    && (item = serving_pick(s, true)) != NULL) {
		serving_step(s, item);
		if (item->answer)
			serving_grant(s, item);
		there--;
	}
	return there;
}

/* Note that the caller's turn comes N tokens on; false where it has heard of enough turns. */
static bool
serving_note_turn(struct flow_serving *s, const struct flow_item *item, int64_t n)
{
	if (s->turns == 0)
		s->c->turn = bucket_most(n, 0);
	if (item->answer->place == BUCKET_PLACE_LATER)
		item->answer->place = s->turns;
	return ++s->turns < FLOW_TURNS;
}

/*
 * Look ahead for the caller's next turns, beyond the UNWANTED tokens that are still there; says whether anybody else can
 * use one of all these.
 */
static bool
serving_look_ahead(struct flow_serving *s, int64_t unwanted)
{
	bool wanted = false;

	s->c->turn = unwanted > 0 ? 0 : s->mine_waits ? FLOW_AHEAD_STEPS : 1;
	s->c->b->backlog = false;
	for (int64_t n = 1 - unwanted; n <= FLOW_AHEAD_STEPS; n++) {
		struct flow_item *item = serving_pick(s, false);

		if (item == NULL)
			break;
		s->c->b->backlog = s->c->b->backlog || n > 0;
		if (item->answer ? !serving_note_turn(s, item, n) : !s->mine_waits && n > 0)
			break;
		wanted = wanted || item->answer == NULL;
		serving_step(s, item);
	}
	return wanted;
}

/* Microseconds until ITEM's own limits let one through. */
static int64_t
item_limited_us(const struct flow_serving *s, const struct flow_item *item)
{
	int64_t longest_us = 0;

	for (size_t i = 0; i < item->lane->limit_count; i++) {
		const struct bucket_limit_state *limit = bucket_limit_find(s->c->b, item->lane->limits[i]);
		int64_t missing = limit->limit.window_us - limit->level;

		if (missing > 0)
			longest_us = bucket_most(longest_us, bucket_ceil(missing, limit->limit.requests));
	}
	return longest_us;
}

/* What the caller is told of its lanes, and of when its own limits let something through. */
static void
serving_tell(struct flow_serving *s)
{
	struct bucket_call *c = s->c;
	bool counted[BUCKET_FLOWS_MAX] = { false };

	c->limited_us = -1;
	for (size_t i = 0; i < s->item_count; i++) {
		struct flow_item *item = &s->items[i];
		bool first = !counted[item->flow];
		int64_t limited_us;

		counted[item->flow] = true;
		if (first)
			c->answer->weight += c->b->flows[item->flow].weight;
		if (item->answer == NULL)
			continue;
		for (size_t j = 0; j < s->item_count; j++)
			item->answer->members += s->items[j].flow == item->flow;
		limited_us = item_limited_us(s, item);
		c->unserved = c->unserved || (item->ready > 0 && limited_us == 0);
		if (item->lane->waiting > 0 && limited_us > 0 && (c->limited_us < 0 || limited_us < c->limited_us))
			c->limited_us = limited_us;
	}
}

/* Keep in mind since when tokens lie there that are another member's. */
static void
serving_mark_left(struct flow_serving *s, int64_t left)
{
	struct bucket *b = s->c->b;

	if (left <= 0)
		b->left_us = 0;
	else if (b->left_us == 0)
		b->left_us = s->c->now_us;
}

void
bucket_flows_serve(struct bucket_call *c)
{
	struct bucket *b = c->b;
	struct flow_serving *s = calloc(1, sizeof(*s));
	int64_t unwanted, left;
	bool wanted;

	check(s != NULL);
	s->c = c;
	s->lags = calloc(b->flow_count + 1, sizeof(*s->lags));
	s->levels = calloc(b->limit_count + 1, sizeof(*s->levels));
	check(s->lags != NULL && s->levels != NULL);
	for (size_t i = 0; i < b->flow_count; i++)
		s->lags[i] = b->flows[i].lag;
	for (size_t i = 0; i < b->limit_count; i++)
		s->levels[i] = b->limits[i].level;
	s->mine_only = b->left_us > 0 && c->now_us - b->left_us > BUCKET_GRACE_US;
	serving_collect(s);
	unwanted = serving_hand_out(s);
	wanted = serving_look_ahead(s, unwanted);
	left = c->there - c->answer->granted - (s->mine_only && wanted ? 0 : unwanted);
	c->answer->left = s->mine_only && wanted ? 0 : unwanted;
	serving_mark_left(s, left);
	serving_tell(s);
	/* Tokens that nobody wants are not the caller's turn where only its own limits keep it waiting. */
	if (s->turns == 0 && c->limited_us >= 0)
		c->turn = FLOW_AHEAD_STEPS;
	free(s->lags);
	free(s->levels);
	free(s);
}

void
bucket_flows_drop(struct bucket_call *c)
{
	struct bucket *b = c->b;
	bool wanted = false;
	size_t kept = 0;

	for (size_t i = 0; i < b->flow_count && !wanted; i++)
		wanted = flow_is_wanted(c, b->flows[i].name);
	for (size_t i = 0; i < b->flow_count && wanted; i++)
		if (b->flows[i].lag > 0 || flow_is_wanted(c, b->flows[i].name))
			b->flows[kept++] = b->flows[i];
	b->flow_count = kept;
}
