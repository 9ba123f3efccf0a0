/* The arithmetic of returning tokens, step by step as in the script. */
#include "rules/returning.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* A bucket that begins: everything is there, nothing of it at once. */
static void
returning_begin(struct returning *b, const struct quota *quota, const struct returning_ask *ask, int64_t now_us)
{
	memset(b, 0, sizeof(*b));
	b->seen = true;
	b->epoch = b->last_us = b->start_us = b->waited_us = b->held_us = now_us;
	b->closed_us = now_us + ask->grace_us;
	b->slot_us = quota->slot_us;
	b->token_units = quota->token;
}

/* The clock has stepped back: all times go along. */
static void
returning_step_back(struct returning *b, int64_t now_us)
{
	int64_t by_us = now_us - b->last_us;

	b->start_us += by_us;
	b->closed_us = most(0, b->closed_us + by_us);
	b->waited_us = most(0, b->waited_us + by_us);
	b->held_us = most(0, b->held_us + by_us);
	b->last_us = now_us;
}

/* Grants that the caller has heard of are not in here: they were made at the latest AGO before now, and any number. */
static void
returning_check_heard(struct returning *b, const struct quota *quota, const struct bucket_heard *heard, bool begun,
    int64_t now_us)
{
	bool lost = begun;

	if (heard->ago_us < 0)
		return;
	if (heard->epoch > 0 && (heard->epoch != b->epoch || heard->total > b->total))
		lost = true;
	if (lost)
		b->closed_us = most(b->closed_us, now_us - heard->ago_us + quota->token);
}

/* Let the slots pass that are over; their tokens come back behind the last. */
static void
returning_advance(struct returning *b, int64_t now_us)
{
	int64_t passed = (now_us - b->start_us) / b->slot_us;
	size_t n = passed > QUOTA_SLOTS ? RETURNING_ENTRIES : (size_t)most(passed, 0);

	if (passed <= 0)
		return;
	for (size_t i = RETURNING_ENTRIES - n; i < RETURNING_ENTRIES; i++) {
		b->out -= b->slots[i].out;
		b->bursts -= b->slots[i].bursts;
	}
	memmove(b->slots + n, b->slots, (RETURNING_ENTRIES - n) * sizeof(b->slots[0]));
	memset(b->slots, 0, n * sizeof(b->slots[0]));
	b->start_us += passed * b->slot_us;
}

/* Take up slots of another length: each token in the one that ends after its old one did, or after now. */
static void
returning_rebin(struct returning *b, int64_t slot_us, int64_t now_us)
{
	struct returning_slot slots[RETURNING_ENTRIES] = { { 0 } };

	b->out = b->bursts = 0;
	for (size_t i = 0; i < RETURNING_ENTRIES; i++) {
		int64_t age_us = now_us - least(b->start_us + b->slot_us - (int64_t)i * b->slot_us, now_us);
		int64_t to = age_us / slot_us;

		if (to > QUOTA_SLOTS)
			break;
		slots[to].out += b->slots[i].out;
		slots[to].bursts += b->slots[i].bursts;
		b->out += b->slots[i].out;
		b->bursts += b->slots[i].bursts;
	}
	memcpy(b->slots, slots, sizeof(slots));
	b->start_us = now_us;
	b->slot_us = slot_us;
}

/* Units of another quota as a share of a token, rounded down and at most MOST. The script's operations in its order. */
static int64_t
returning_convert_units(int64_t units, int64_t from, int64_t to, int64_t limit)
{
	double share = (double)units / (double)from * (double)to;

	return share >= (double)limit + 1 ? limit : most(0, (int64_t)share - 1);
}

/* Follow the caller's quota where it differs from that of the last call. */
static void
returning_follow_quota(struct returning *b, const struct quota *quota, int64_t now_us)
{
	if (b->slot_us != quota->slot_us && (b->slot_us < quota->slot_us || b->out == 0 || now_us >= b->held_us))
		returning_rebin(b, quota->slot_us, now_us);
	if (quota->slot_us >= b->slot_us)
		b->held_us = now_us + quota->token;
	if (b->token_units == quota->token)
		return;
	b->pace = returning_convert_units(b->pace, b->token_units, quota->token, quota->depth);
	b->credit = returning_convert_units(b->credit, b->token_units, quota->token, quota->burst * quota->token);
	b->token_units = quota->token;
}

/* Let pace and credit grow since the last call, in which BURSTS were out. */
static void
returning_grow(struct returning *b, const struct quota *quota, int64_t bursts, int64_t now_us)
{
	int64_t rate = quota->requests - bursts, elapsed_us = now_us - b->last_us;
	int64_t idle_us = now_us - most(b->last_us, b->waited_us), room;

	if (rate > 0) {
		/* A long time is not multiplied: products stay below 2^53. */
		b->pace = elapsed_us >= (quota->depth + rate - 1) / rate ? quota->depth : b->pace + elapsed_us * rate;
		b->pace = least(b->pace, quota->depth);
	}
	if (idle_us > 0)
		b->credit += least(idle_us, quota->burst * quota->token / quota->requests + 1) * quota->requests;
	room = (quota->burst - b->bursts - b->pace / quota->token) * quota->token;
	b->credit = least(b->credit, most(room, 0));
	b->last_us = now_us;
}

/* Tokens that may go now. */
static int64_t
returning_there(const struct returning *b, const struct quota *quota)
{
	int64_t shaped = b->pace / quota->token + b->credit / quota->token;

	return most(0, least(quota->requests - b->out, shaped));
}

/* Take COUNT tokens that are there: of the pace first. */
static void
returning_spend(struct returning *b, const struct quota *quota, int64_t count)
{
	int64_t paced = least(count, b->pace / quota->token), bursts = count - paced;

	b->pace -= paced * quota->token;
	b->credit -= bursts * quota->token;
	b->out += count;
	b->bursts += bursts;
	b->slots[0].out += count;
	b->slots[0].bursts += bursts;
	b->total += count;
}

/* Microseconds until the oldest token comes back; there is one out. */
static int64_t
returning_oldest_us(const struct returning *b, int64_t now_us)
{
	int64_t i = QUOTA_SLOTS;

	while (i > 0 && b->slots[i].out == 0 && b->slots[i].bursts == 0)
		i--;
	return b->start_us + (QUOTA_SLOTS + 1 - i) * b->slot_us - now_us;
}

/* Microseconds until one more token may go, where SHUT_US says for how long none may in any case. */
static int64_t
returning_wait_us(const struct returning *b, const struct quota *quota, int64_t shut_us, int64_t now_us)
{
	int64_t rate = quota->requests - b->bursts, wait_us;

	if (shut_us > 0)
		return shut_us;
	if (b->out >= quota->requests)
		return returning_oldest_us(b, now_us);
	if (returning_there(b, quota) > 0)
		return 0;
	wait_us = rate > 0 ? (quota->token - b->pace + rate - 1) / rate : quota->token;
	/* A burst that comes back makes the pace faster: look then. */
	return b->bursts > 0 ? least(wait_us, returning_oldest_us(b, now_us)) : wait_us;
}

struct bucket_take
returning_take(struct returning *b, const struct quota *quota, const struct returning_ask *ask, int64_t now_us)
{
	struct bucket_take take = { .paused_us = ask->paused_us };
	bool begun = !b->seen;
	int64_t bursts, shut_us;

	if (begun)
		returning_begin(b, quota, ask, now_us);
	if (now_us < b->last_us)
		returning_step_back(b, now_us);
	returning_check_heard(b, quota, &ask->heard, begun, now_us);
	bursts = b->bursts;
	returning_advance(b, now_us);
	returning_follow_quota(b, quota, now_us);
	returning_grow(b, quota, bursts, now_us);
	shut_us = most(most(b->closed_us - now_us, ask->paused_us), 0);
	if (shut_us > 0) {	/* re-entry is even: no credit grows before */
		b->pace = b->credit = 0;
		b->waited_us = most(b->waited_us, now_us + shut_us);
	}
	take.granted = least(ask->count, returning_there(b, quota));
	returning_spend(b, quota, take.granted);
	if (ask->waiting > take.granted)
		b->waited_us = most(b->waited_us, now_us + RETURNING_WAITED_US);
	take.left = returning_there(b, quota);
	take.wait_us = returning_wait_us(b, quota, shut_us, now_us);
	take.refill = most(1, quota->requests - b->bursts);
	take.epoch = b->epoch;
	take.total = b->total;
	return take;
}

int64_t
returning_keep_us(const struct returning *b, const struct quota *quota, int64_t now_us)
{
	/* Two seconds more: a running instance looks at it more often than that. */
	return most(quota->token, RETURNING_ENTRIES * b->slot_us) + most(b->closed_us - now_us, 0) + 2000000;
}

void
returning_format(const struct returning *b, char out[RETURNING_TEXT_BYTES])
{
	int n = snprintf(out, RETURNING_TEXT_BYTES, "%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64
	    ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":", b->epoch, b->total,
	    b->last_us, b->start_us, b->slot_us, b->out, b->bursts, b->pace, b->credit, b->token_units, b->closed_us,
	    b->waited_us, b->held_us);

	for (size_t i = 0; i < RETURNING_ENTRIES; i++, n += 12)
		snprintf(out + n, RETURNING_TEXT_BYTES - (size_t)n, "%06x%06x", (unsigned)b->slots[i].out,
		    (unsigned)b->slots[i].bursts);
}
