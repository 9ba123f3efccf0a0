/* How one identity stands, as JSON: its level, why nothing is granted, who waits, and the members of its fleet. */
#include <string.h>

#include "gate/limiter_private.h"
#include "rules/queue_view.h"

/* The words of bucket_closed. */
static const char *const closed_words[] = {
	[BUCKET_OPEN] = "open",
	[BUCKET_SETTLING] = "settling",
	[BUCKET_UNHEARD] = "unheard",
	[BUCKET_UNKNOWN] = "unknown",
	[BUCKET_PAUSED] = "paused",
	[BUCKET_STRANGE] = "strange",
	[BUCKET_CROWDED] = "crowded",
};

/* What is seen at one time. */
struct identity_look {
	const struct limiter_identity *identity;
	struct mono_time now;
	int64_t paused_us, share_us;	/* of the pause; until the share may be spent, INT64_MAX: never */
};

/* Microseconds since a peer was heard; 0 where it is not silent. */
static int64_t
peer_silent_us(const struct member *member, const struct bucket_peer *peer, struct mono_time now)
{
	return peer->heard_ago_us < 0 ? 0 : peer->heard_ago_us + mono_since(now, member->listed_at);
}

/* Why nothing is granted, in a word; "open" where something is. */
static const char *
look_state(const struct identity_look *look)
{
	const struct queue *q = &look->identity->queue;

	if (look->identity->left)
		return "left";
	if (!q->open)
		return "store_away";
	return look->paused_us > 0 ? "paused" : closed_words[q->closed];
}

/* When silent members that must be heard are waited for no longer. */
static int64_t
look_unheard_us(const struct identity_look *look)
{
	const struct member *m = &look->identity->member;
	const struct quota *quota = &look->identity->queue.quota;
	int64_t longest_us = 0;

	for (size_t i = 0; i < m->peer_count; i++) {
		int64_t silent_us = peer_silent_us(m, &m->peers[i], look->now);
		int64_t left_us = BUCKET_SILENT_US + quota->window_us + quota->jitter_us - silent_us;

		if (silent_us > 0 && strcmp(m->peers[i].id, m->self.id) != 0 && left_us > longest_us)
			longest_us = left_us;
	}
	return longest_us;
}

/* In how many microseconds something is granted again, at the latest; -1: not known. */
static int64_t
look_opens_us(const struct identity_look *look)
{
	const struct queue *q = &look->identity->queue;
	int64_t due_us = mono_since(q->due, look->now);

	if (look->identity->left)
		return -1;
	if (!q->open)
		return look->share_us < INT64_MAX ? look->share_us : -1;
	if (look->paused_us > 0)
		return look->paused_us;
	if (q->closed == BUCKET_UNHEARD)
		return look_unheard_us(look);
	return (q->closed == BUCKET_SETTLING || q->closed == BUCKET_UNKNOWN) && due_us > 0 ? due_us : -1;
}

/* Tokens that this instance took and that are still out. */
static int64_t
look_taken(const struct identity_look *look)
{
	const struct member *m = &look->identity->member;
	int64_t taken = 0;

	for (size_t i = 0; i < m->entry_count; i++)
		if (mono_since(look->now, m->entries[i].at) < look->identity->queue.quota.token)
			taken += m->entries[i].out;
	return taken;
}

/* A duration, or null where it is negative. */
static void
write_ms(struct jsonw *w, const char *key, int64_t us)
{
	if (us < 0)
		jsonw_null(w, key);
	else
		jsonw_int(w, key, us / CLOCK_MS);
}

/* The quota as it is stated. */
static void
write_quota(const struct quota *quota, struct jsonw *w)
{
	jsonw_object(w, "quota");
	jsonw_int(w, "requests", quota->requests);
	jsonw_int(w, "window_ms", quota->window_us / CLOCK_MS);
	jsonw_int(w, "jitter_ms", quota->jitter_us / CLOCK_MS);
	jsonw_int(w, "burst", quota->burst);
	jsonw_end_object(w);
}

/* Whether and when something is granted. */
static void
write_state(const struct identity_look *look, struct jsonw *w)
{
	const struct limiter_identity *identity = look->identity;
	int64_t due_us = mono_since(identity->queue.due, look->now);

	jsonw_string(w, "state", str_from(look_state(look)));
	write_ms(w, "opens_in_ms", look_opens_us(look));
	jsonw_bool(w, "alone", atomic_load(&identity->alone));
	jsonw_int(w, "share", identity->member.share);
	write_ms(w, "next_turn_ms", identity->queue.count == 0 || !identity->queue.open ? -1 : due_us > 0 ? due_us : 0);
	write_ms(w, "heard_ago_ms", identity->member.heard ? mono_since(look->now, identity->member.heard_at) : -1);
}

/* The level, as the store said it last, or the share's own bucket. */
static void
write_level(const struct identity_look *look, struct jsonw *w)
{
	const struct limiter_level *level = &look->identity->level;
	struct buf rate = BUF_EMPTY;

	buf_printf(&rate, "%.3f", level->token > 0 ? (double)level->rate / (double)level->token * CLOCK_SECOND : 0.0);
	jsonw_int(w, "limit", atomic_load(&look->identity->alone) ? look->identity->member.share
		: atomic_load(&look->identity->limit));
	jsonw_int(w, "out", level->out);
	jsonw_int(w, "taken_here", look_taken(look));
	jsonw_int(w, "ahead", queue_hand_count(&look->identity->queue.ahead.hand));
	jsonw_int(w, "left", level->left);
	jsonw_int(w, "reserved", level->reserved);
	jsonw_raw(w, "rate_per_s", buf_str(&rate));
	jsonw_int(w, "granted", (int64_t)atomic_load(&look->identity->grants));
	buf_fini(&rate);
}

/* An own limit of a lane: a caller's ("c:") or a rule's ("r:"). */
static void
write_limit(const struct bucket_limit *limit, bool holds, struct jsonw *w)
{
	jsonw_object(w, NULL);
	jsonw_string(w, "kind", limit->name[0] == 'c' ? STR("caller") : STR("rule"));
	jsonw_string(w, "name", str_from(limit->name + 2));
	jsonw_int(w, "requests", limit->requests);
	jsonw_int(w, "window_ms", limit->window_us / CLOCK_MS);
	jsonw_int(w, "burst", limit->burst);
	jsonw_bool(w, "holds", holds);
	jsonw_end_object(w);
}

/* Who waits in a lane. */
static void
write_lane(const struct queue_view_lane *seen, struct jsonw *w)
{
	const struct queue_lane *lane = seen->lane;

	jsonw_object(w, NULL);
	jsonw_string(w, "caller", *lane->flow ? str_from(lane->flow) : STR("(gateway)"));	/* errands of our own */
	jsonw_int(w, "weight", lane->weight);
	jsonw_int(w, "waiting", (int64_t)lane->count);
	jsonw_int(w, "making_ready", (int64_t)seen->making_ready);
	jsonw_int(w, "ready", (int64_t)seen->ready);
	write_ms(w, "oldest_ms", seen->oldest_us);
	jsonw_array(w, "limits");
	for (size_t i = 0; i < lane->limit_count; i++)
		write_limit(&lane->limits[i], seen->held >> i & 1, w);
	jsonw_end_array(w);
	jsonw_end_object(w);
}

/* Who waits. */
static void
write_queue(const struct identity_look *look, struct jsonw *w)
{
	const struct queue *q = &look->identity->queue;
	struct queue_view view;

	queue_view(q, look->now, &view);
	jsonw_object(w, "queue");
	jsonw_int(w, "waiting", (int64_t)q->count);
	jsonw_int(w, "capacity", (int64_t)q->capacity);
	jsonw_int(w, "making_ready", (int64_t)view.making_ready);
	jsonw_int(w, "ready", (int64_t)view.ready);
	write_ms(w, "oldest_ms", view.oldest_us);
	jsonw_array(w, "lanes");
	for (size_t i = 0; i < view.lane_count; i++)
		write_lane(&view.lanes[i], w);
	jsonw_end_array(w);
	jsonw_int(w, "more_lanes", (int64_t)view.more_lanes);
	jsonw_int(w, "more_waiting", (int64_t)view.more_waiting);
	jsonw_end_object(w);
}

/* How long the share of a member that stays silent is kept back for it: rules/bucket forgets it then. */
static int64_t
look_kept_us(const struct identity_look *look, int64_t silent_us)
{
	const struct quota *quota = &look->identity->queue.quota;
	int64_t left_us = 2 * (BUCKET_SILENT_US + quota->window_us + quota->jitter_us) + BUCKET_FORGET_US - silent_us;

	return left_us > 0 ? left_us : 0;
}

/*
 * A member. The list is as old as its last change, so of a member that is heard only its own share is known; of a silent one, what
 * is kept for it.
 */
static void
write_member(const struct identity_look *look, const struct bucket_peer *peer, struct jsonw *w)
{
	const struct member *m = &look->identity->member;
	bool self = strcmp(peer->id, m->self.id) == 0;
	int64_t silent_us = self ? 0 : peer_silent_us(m, peer, look->now);

	jsonw_object(w, NULL);
	jsonw_string(w, "id", str_from(peer->id));
	jsonw_bool(w, "self", self);
	if (self || silent_us > 0)
		jsonw_int(w, "share", self ? m->share : peer->share);
	else
		jsonw_null(w, "share");
	write_ms(w, "silent_ms", silent_us > 0 ? silent_us : -1);
	write_ms(w, "kept_ms", silent_us > 0 ? look_kept_us(look, silent_us) : -1);
	jsonw_end_object(w);
}

/* The members of the fleet, as the store listed them last. */
static void
write_members(const struct identity_look *look, struct jsonw *w)
{
	const struct member *m = &look->identity->member;

	jsonw_array(w, "members");
	for (size_t i = 0; i < m->peer_count; i++)
		write_member(look, &m->peers[i], w);
	jsonw_end_array(w);
}

void
limiter_write_identity(const struct limiter_identity *identity, struct jsonw *w)
{
	struct limiter *limiter = identity->limiter;
	struct identity_look look = { .identity = identity, .now = loop_now(limiter->loops[0]), .share_us = INT64_MAX };

	look.paused_us = limiter_paused_us(identity, look.now);
	if (!store_is_up(limiter->store) && atomic_load(&limiter->share))
		look.share_us = member_spends_in_us(&identity->member, &identity->queue.quota, look.now);
	jsonw_object(w, NULL);
	jsonw_string(w, "name", buf_str(&identity->name));
	write_quota(&identity->queue.quota, w);
	write_state(&look, w);
	write_level(&look, w);
	write_queue(&look, w);
	write_members(&look, w);
	jsonw_end_object(w);
}
