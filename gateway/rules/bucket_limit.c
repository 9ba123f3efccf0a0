/* Own limits: simple buckets of a caller or a rule, taken from together with the identity's. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/bucket_private.h"

struct bucket_limit_state *
bucket_limit_find(struct bucket *b, const char *name)
{
	for (size_t i = 0; i < b->limit_count; i++)
		if (strcmp(b->limits[i].limit.name, name) == 0)
			return &b->limits[i];
	return NULL;
}

/* Units that a full one has. */
static int64_t
limit_depth(const struct bucket_limit *limit)
{
	return limit->burst * limit->window_us;
}

/* Units that come within ELAPSED_US, at most a whole depth: products stay small. */
static int64_t
limit_refill(const struct bucket_limit *limit, int64_t elapsed_us)
{
	int64_t depth = limit_depth(limit);

	if (elapsed_us <= 0)
		return 0;
	return elapsed_us >= bucket_ceil(depth, limit->requests) ? depth : elapsed_us * limit->requests;
}

/* A limit never seen, or dropped because it was full: as if it had been filling since the epoch began. */
static struct bucket_limit_state *
limit_add(struct bucket_call *c, const struct bucket_limit *limit)
{
	struct bucket *b = c->b;
	struct bucket_limit_state *state;

	b->limits = reallocarray(b->limits, b->limit_count + 1, sizeof(*b->limits));
	check(b->limits != NULL);
	state = &b->limits[b->limit_count++];
	*state = (struct bucket_limit_state){ *limit, limit_refill(limit, c->now_us - b->began_us), c->now_us };
	return state;
}

/* Follow what the member states of a limit. */
static void
limit_follow(struct bucket_call *c, const struct bucket_limit *stated)
{
	struct bucket_limit_state *state = bucket_limit_find(c->b, stated->name);

	if (state == NULL) {
		limit_add(c, stated);
		return;
	}
	if (state->limit.window_us != stated->window_us)
		state->level = 0;
	state->limit = *stated;
}

void
bucket_limits_fill(struct bucket_call *c)
{
	for (size_t i = 0; i < c->ask->limit_count; i++)
		limit_follow(c, &c->ask->limits[i]);
	for (size_t i = 0; i < c->b->limit_count; i++) {
		struct bucket_limit_state *state = &c->b->limits[i];

		state->level += limit_refill(&state->limit, c->now_us - state->last_us);
		state->level = bucket_least(state->level, limit_depth(&state->limit));
		state->last_us = c->now_us;
	}
}

/* Does any member's lane take from it? */
static bool
limit_is_used(const struct bucket *b, const char *name)
{
	for (size_t i = 0; i < b->member_count; i++)
		for (size_t j = 0; j < b->members[i]->lane_count; j++)
			for (size_t k = 0; k < b->members[i]->lanes[j].limit_count; k++)
				if (strcmp(b->members[i]->lanes[j].limits[k], name) == 0)
					return true;
	return false;
}

void
bucket_limits_drop(struct bucket *b)
{
	size_t kept = 0;

	for (size_t i = 0; i < b->limit_count; i++)
		if (b->limits[i].level < limit_depth(&b->limits[i].limit) || limit_is_used(b, b->limits[i].limit.name))
			b->limits[kept++] = b->limits[i];
	b->limit_count = kept;
}
