/* The bucket of an identity: one call, from what the member tells to what it is told. */
#include "rules/bucket.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "rules/bucket_private.h"

/* An upstream's 429 takes a twentieth of the rate; a hundredth comes back in each W + J: so outside use is found, and left. */
#define BUCKET_EASED_FULL 1000
#define BUCKET_EASED_LEAST 100
#define BUCKET_EASED_CUT 20
/* No answer tells to come later than this: the slowest token's time. */
#define BUCKET_WAIT_MAX_US INT64_C(7200000000)

void
bucket_ask_clear(struct bucket_ask *ask)
{
	memset(ask, 0, offsetof(struct bucket_ask, lanes));
}

void
bucket_ask_copy(struct bucket_ask *to, const struct bucket_ask *from)
{
	memcpy(to, from, offsetof(struct bucket_ask, lanes));
	memcpy(to->lanes, from->lanes, from->lane_count * sizeof(from->lanes[0]));
	memcpy(to->limits, from->limits, from->limit_count * sizeof(from->limits[0]));
	memcpy(to->own, from->own, from->own_count * sizeof(from->own[0]));
	memcpy(to->peers, from->peers, from->peer_count * sizeof(from->peers[0]));
}

struct bucket *
bucket_new(void)
{
	struct bucket *b = calloc(1, sizeof(*b));

	check(b != NULL);
	return b;
}

void
bucket_free(struct bucket **bucket)
{
	struct bucket *b = *bucket;

	if (b == NULL)
		return;
	while (b->member_count > 0)
		bucket_member_remove(b, b->member_count - 1);
	bucket_log_fini(&b->log);
	free(b->flows);
	free(b->limits);
	free(b);
	*bucket = NULL;
}

/* A bucket never seen: nothing at once, and nothing before the members have come. */
static void
bucket_begin(struct bucket_call *c)
{
	struct bucket *b = c->b;

	b->epoch = bucket_most(c->now_us, c->ask->epoch + 1);
	b->number = 0;
	b->version = 1;
	b->last_us = b->began_us = b->eased_us = c->now_us;
	b->doubt_us = c->now_us;
	b->settle_us = c->alone ? 0 : c->now_us + BUCKET_SILENT_US;
	b->eased = BUCKET_EASED_FULL;
}

/* The clock has stepped back: all times go along. */
static void
bucket_shift(struct bucket *b, int64_t by_us)
{
	b->last_us += by_us;
	b->began_us += by_us;
	b->doubt_us += by_us;
	b->settle_us += by_us;
	b->paused_us += by_us;
	b->eased_us += by_us;
	if (b->left_us > 0)
		b->left_us = bucket_most(b->left_us + by_us, 1);
	bucket_log_shift(&b->log, by_us);
	for (size_t i = 0; i < b->member_count; i++) {
		struct bucket_member *m = b->members[i];

		m->called_us += by_us;
		m->seen_us += by_us;
		m->heard_us += by_us;
		m->told_us += by_us;
		m->open_us += by_us;
		bucket_log_shift(&m->own, by_us);
	}
	for (size_t i = 0; i < b->limit_count; i++)
		b->limits[i].last_us += by_us;
}

/* The member has heard more than is known here: state was lost. What is in the log was granted all the same. */
static void
bucket_begin_anew(struct bucket_call *c)
{
	struct bucket *b = c->b;

	if (c->ask->epoch < b->epoch || (c->ask->epoch == b->epoch && c->ask->number <= b->number))
		return;
	b->epoch = bucket_most(c->now_us, c->ask->epoch + 1);
	b->began_us = b->doubt_us = c->now_us;
	b->settle_us = c->now_us + BUCKET_SILENT_US;
	b->pace = b->credit = 0;
	b->version++;
}

/* Bring the bucket to the present: times, epoch, the member that calls. */
static void
bucket_arrive(struct bucket_call *c)
{
	struct bucket *b = c->b;

	if (b->epoch == 0)
		bucket_begin(c);
	if (c->now_us < b->last_us)
		bucket_shift(b, c->now_us - b->last_us);
	bucket_begin_anew(c);
	b->number++;
	c->right = c->alone || c->ask->epoch == b->epoch;
	bucket_member_arrive(c);
}

/* The upstream's pause, and what its 429s teach of the rate. */
static void
bucket_ease(struct bucket_call *c)
{
	struct bucket *b = c->b;
	int64_t tenth_us = c->out_us / 10, steps = (c->now_us - b->eased_us) / tenth_us;
	int64_t pause_us = bucket_least(c->ask->pause_us, BUCKET_PAUSE_MAX_US);

	if (steps > 0) {
		b->eased = bucket_least(b->eased + steps, BUCKET_EASED_FULL);
		b->eased_us += steps * tenth_us;
	}
	if (pause_us > 0 && b->paused_us <= c->now_us)
		b->eased = bucket_most(b->eased - b->eased / BUCKET_EASED_CUT, BUCKET_EASED_LEAST);
	if (pause_us > 0 && b->paused_us < c->now_us + pause_us)
		b->paused_us = b->eased_us = c->now_us + pause_us;
	c->limit = bucket_most(c->requests * b->eased / BUCKET_EASED_FULL, 1);
	c->answer->paused_us = bucket_most(b->paused_us - c->now_us, 0);
	if (c->answer->paused_us > 0)
		c->answer->closed = BUCKET_PAUSED;
}

/* Let tokens come back, and count those that are out. */
static void
bucket_return(struct bucket_call *c)
{
	struct bucket *b = c->b;
	int64_t until_us = c->now_us - c->out_us;

	bucket_log_expire(&b->log, until_us);
	for (size_t i = 0; i < b->log.count; i++) {
		c->out += b->log.entries[i].out;
		c->bursts += b->log.entries[i].bursts;
	}
	for (size_t i = 0; i < b->member_count; i++) {
		struct bucket_log *own = &b->members[i]->own;

		bucket_log_expire(own, until_us);
		for (size_t k = 0; k < own->count; k++) {
			c->out += own->entries[k].out;
			c->bursts += own->entries[k].bursts;
		}
	}
}

/* Most units of the pace: what a call may come late and lose nothing. */
static int64_t
bucket_depth(const struct bucket_call *c)
{
	return c->token + c->limit * bucket_most(QUOTA_LATENESS_US, c->slot_us);
}

/* Let pace and credit grow since the last call. */
static void
bucket_grow(struct bucket_call *c)
{
	struct bucket *b = c->b;
	int64_t depth = bucket_depth(c), elapsed_us = c->now_us - b->last_us, room;

	if (b->token != c->token) {	/* another quota: a little is lost */
		b->token = c->token;
		b->pace = b->credit = 0;
	} else if (b->rate > 0) {
		b->pace = elapsed_us >= bucket_ceil(depth, b->rate) ? depth : b->pace + elapsed_us * b->rate;
	}
	b->pace = bucket_least(b->pace, depth);
	/* Only a fleet that calls can be seen to be idle. */
	if (!b->backlog)
		b->credit += bucket_least(elapsed_us, BUCKET_DEMAND_US) * c->limit;
	room = (c->burst - c->bursts - b->pace / c->token) * c->token;
	b->credit = bucket_least(b->credit, bucket_most(room, 0));
	b->last_us = c->now_us;
}

/* How many tokens may go now, to whomever. */
static void
bucket_count(struct bucket_call *c)
{
	struct bucket *b = c->b;
	enum bucket_closed closed = c->answer->closed;

	if (closed == BUCKET_SETTLING || closed == BUCKET_UNKNOWN || closed == BUCKET_PAUSED)
		b->pace = b->credit = 0;	/* re-entry is even */
	c->there = bucket_least(c->limit - c->out - c->reserved, b->pace / c->token + b->credit / c->token);
	c->there = closed == BUCKET_OPEN ? bucket_most(c->there, 0) : 0;
	if (!c->right || c->me->silent) {	/* before all else: the others may be waiting for it */
		c->answer->closed = BUCKET_STRANGE;
		c->there = 0;
	}
}

/* Note what was granted: of the pace first. */
static void
bucket_spend(struct bucket_call *c)
{
	struct bucket *b = c->b;
	int64_t count = c->answer->granted, paced = bucket_least(count, b->pace / c->token);

	if (count == 0)
		return;
	c->answer->bursts = count - paced;
	b->pace -= paced * c->token;
	b->credit -= c->answer->bursts * c->token;
	c->out += count;
	c->bursts += c->answer->bursts;
	c->there -= count;
	bucket_log_add(&b->log, (c->now_us / c->slot_us + 1) * c->slot_us, count, c->answer->bursts);
}

/* Microseconds until COUNT tokens have come back. */
static int64_t
bucket_returned_us(const struct bucket_call *c, int64_t count)
{
	const struct bucket_log *log = &c->b->log;

	for (size_t i = 0; i < log->count; i++) {
		count -= log->entries[i].out;
		if (count <= 0)
			return log->entries[i].end_us + c->out_us - c->now_us;
	}
	return c->out_us;
}

/* Microseconds until the TURNth token beyond those that are there. */
static int64_t
bucket_turn_us(const struct bucket_call *c)
{
	const struct bucket *b = c->b;
	int64_t units = c->turn * c->token - b->pace % c->token;
	int64_t wait_us = b->rate > 0 ? bucket_ceil(units, b->rate) : c->out_us;
	int64_t missing = c->out + c->reserved + c->there + c->turn - c->limit;

	if (c->turn == 0)
		return 0;
	/* A burst that comes back makes the pace faster: look then. */
	if (c->bursts > 0)
		wait_us = bucket_least(wait_us, bucket_returned_us(c, 1));
	return missing > 0 ? bucket_most(wait_us, bucket_returned_us(c, missing)) : wait_us;
}

/* When nothing is closed any more, as far as the clock alone decides. */
static int64_t
bucket_closed_us(const struct bucket_call *c)
{
	int64_t until_us = bucket_most(c->b->settle_us, c->b->paused_us);

	for (size_t i = 0; i < c->b->member_count; i++)
		until_us = bucket_most(until_us, c->b->members[i]->open_us);
	return bucket_most(until_us - c->now_us, BUCKET_LOOK_US);
}

/* When the member is to come again. */
static int64_t
bucket_wait_us(const struct bucket_call *c)
{
	enum bucket_closed closed = c->answer->closed;
	int64_t wait_us;

	if (closed == BUCKET_STRANGE)
		return 0;
	if (closed != BUCKET_OPEN)
		return closed == BUCKET_UNHEARD ? BUCKET_LOOK_US : bucket_closed_us(c);
	wait_us = bucket_turn_us(c);
	if (c->there > 0 && c->unserved)	/* another's: if that does not fetch it, this one may */
		wait_us = bucket_least(wait_us, BUCKET_GRACE_US + 1000);
	return c->limited_us >= 0 ? bucket_least(wait_us, c->limited_us) : wait_us;
}

/* The rate, in units a microsecond, at which FREE tokens go out evenly until one comes back IN_US from now. */
static int64_t
bucket_rate_until(const struct bucket_call *c, int64_t free, int64_t in_us)
{
	return in_us > 0 ? bucket_least((free + 1) * c->token / in_us, c->limit) : c->limit;
}

/*
 * The fastest even pace at which the log never has to say no: after a burst the rest is spread until that comes back, and
 * when it begins to come back the others need not wait for its last.
 */
static int64_t
bucket_rate(const struct bucket_call *c)
{
	struct bucket_log all = { 0 };
	int64_t free = c->limit - c->out - c->reserved, rate = c->limit - c->reserved;

	bucket_log_merge(&all, &c->b->log);
	for (size_t i = 0; i < c->b->member_count; i++)
		if (c->b->members[i]->own.count > 0)
			bucket_log_merge(&all, &c->b->members[i]->own);
	for (size_t i = 0; i < all.count && rate > 0; i++) {
		int64_t in_us = all.entries[i].end_us + c->out_us - c->now_us;

		rate = bucket_least(rate, bucket_rate_until(c, bucket_most(free, 0), in_us));
		free += all.entries[i].out;
	}
	bucket_log_fini(&all);
	return bucket_most(rate, 0);
}

/* What the member is told of the bucket. */
static void
bucket_tell(struct bucket_call *c)
{
	struct bucket_answer *answer = c->answer;

	c->b->rate = bucket_rate(c);
	bucket_member_tell(c);
	answer->epoch = c->b->epoch;
	answer->number = c->b->number;
	answer->wait_us = bucket_least(bucket_wait_us(c), BUCKET_WAIT_MAX_US);
	answer->rate = bucket_most(c->b->rate, 1);
	answer->token = c->token;
	answer->limit = c->limit;
	answer->out = c->out;
	answer->reserved = c->reserved;
}

/* Nobody is granted anything by a call that only says good-bye, or that comes where no more members fit. */
static void
bucket_turn_away(struct bucket_call *c)
{
	struct bucket_answer *answer = c->answer;

	if (c->me && c->ask->leave)
		bucket_member_leave(c);
	else
		answer->closed = BUCKET_CROWDED;
	answer->epoch = c->b->epoch;
	answer->number = c->b->number;
	answer->version = c->b->version;
	answer->wait_us = CLOCK_SECOND;
	answer->rate = answer->limit = 1;
	answer->token = c->ask->quota->slot_us * (QUOTA_SLOTS + 1);
}

void
bucket_take(struct bucket *b, const struct bucket_ask *ask, int64_t now_us, struct bucket_answer *answer)
{
	struct bucket_call call = { .b = b, .ask = ask, .answer = answer, .now_us = now_us, .alone = ask->id[0] == 0 };
	struct bucket_call *c = &call;

	memset(answer, 0, sizeof(*answer));
	bucket_arrive(c);
	if (c->me == NULL || ask->leave) {
		bucket_turn_away(c);
		return;
	}
	bucket_members_review(c);
	bucket_ease(c);
	bucket_return(c);
	bucket_grow(c);
	bucket_count(c);
	bucket_limits_fill(c);
	bucket_flows_update(c);
	bucket_flows_serve(c);
	bucket_spend(c);
	bucket_tell(c);
	bucket_flows_drop(c);
	bucket_limits_drop(b);
}
