/* Members: who they are, what they have heard, what is kept for those that are silent, and who must be heard first. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/bucket_private.h"

/* The member called ID, or NULL. */
static struct bucket_member *
member_find(const struct bucket *b, const char *id)
{
	for (size_t i = 0; i < b->member_count; i++)
		if (strcmp(b->members[i]->id, id) == 0)
			return b->members[i];
	return NULL;
}

/* A new one; NULL where there are too many. */
static struct bucket_member *
member_add(struct bucket *b, const char *id)
{
	struct bucket_member *m;

	if (b->member_count == BUCKET_MEMBERS_MAX)
		return NULL;
	m = calloc(1, sizeof(*m));
	check(m != NULL);
	memcpy(m->id, id, sizeof(m->id));
	m->told_number = -1;
	b->members[b->member_count++] = m;
	b->version++;
	return m;
}

void
bucket_member_remove(struct bucket *b, size_t i)
{
	struct bucket_member *m = b->members[i];

	bucket_log_merge(&b->log, &m->own);	/* what it took is still out */
	bucket_log_fini(&m->own);
	free(m->lanes);
	free(m);
	b->member_count--;
	memmove(b->members + i, b->members + i + 1, (b->member_count - i) * sizeof(b->members[0]));
	b->version++;
}

/* Its process has begun anew: whatever it had heard is gone, and what its predecessor took may be unknown. */
static void
member_restart(struct bucket_call *c, struct bucket_member *m)
{
	const struct bucket_ask *ask = c->ask;
	int64_t born_us = c->now_us - ask->born_ago_us;

	if (m->seen_us < c->b->began_us && ask->sent_ago_us >= 0)
		m->open_us = bucket_most(m->open_us, c->now_us - ask->sent_ago_us + ask->quota->slot_us * (QUOTA_SLOTS + 1));
	else if (m->seen_us >= c->b->began_us && born_us > m->heard_us + BUCKET_SILENT_US + m->out_us)
		bucket_log_add(&c->b->log, born_us, m->reserve, 0);	/* it may have spent its share to the last */
	m->start = ask->start;
	m->told_number = -1;
	m->reserve = ask->share;
	m->heard_us = c->now_us;
}

/* The first call of a member. */
static void
member_join(struct bucket_call *c)
{
	const struct bucket_ask *ask = c->ask;
	struct bucket_member *m = member_add(c->b, ask->id);
	int64_t token_us = ask->quota->slot_us * (QUOTA_SLOTS + 1);

	c->me = m;
	if (m == NULL)
		return;
	m->start = ask->start;
	m->heard_us = c->now_us;
	m->reserve = ask->share;
	/* What its predecessor took is in the log (it has said good-bye), unless the epoch is younger than that. */
	if (ask->sent_ago_us >= 0 && c->b->began_us > c->now_us - token_us)
		m->open_us = c->now_us - ask->sent_ago_us + token_us;
}

/* Remember what the member has heard, and which quota it states. */
static void
member_hear(struct bucket_call *c, struct bucket_member *m)
{
	const struct bucket_ask *ask = c->ask;

	if (c->right && ask->number == m->told_number) {
		m->heard_us = m->told_us;
		m->reserve = m->told_share;
	} else if (!c->right) {
		m->reserve = bucket_most(m->reserve, ask->share);
	}
	m->called_us = c->now_us;
	if (c->right)
		m->seen_us = c->now_us;
	m->requests = ask->quota->requests;
	m->out_us = ask->quota->window_us + ask->quota->jitter_us;
	m->slot_us = ask->quota->slot_us;
	m->burst = ask->quota->burst;
}

/* Take over what it tells: all its tokens from elsewhere, and the members it knows of. */
static void
member_listen(struct bucket_call *c, struct bucket_member *m)
{
	const struct bucket_ask *ask = c->ask;

	bucket_log_fini(&m->own);
	for (size_t i = 0; i < ask->own_count; i++)
		bucket_log_add(&m->own, c->now_us - ask->own[i].ago_us, ask->own[i].out, ask->own[i].bursts);
	for (size_t i = 0; i < ask->peer_count; i++) {
		const struct bucket_peer *peer = &ask->peers[i];
		struct bucket_member *other = member_find(c->b, peer->id) ? NULL : member_add(c->b, peer->id);

		if (other == NULL)
			continue;
		other->heard_us = c->now_us - peer->heard_ago_us;
		other->reserve = peer->share;
	}
}

void
bucket_member_arrive(struct bucket_call *c)
{
	const struct bucket_ask *ask = c->ask;

	c->me = member_find(c->b, ask->id);
	if (c->me == NULL)
		member_join(c);
	else if (c->me->start != ask->start)
		member_restart(c, c->me);
	if (c->me == NULL)
		return;
	if (ask->fresh && !c->alone)
		c->b->doubt_us = c->now_us;
	member_hear(c, c->me);
	if (c->right && ask->tells)
		member_listen(c, c->me);
}

void
bucket_member_leave(struct bucket_call *c)
{
	for (size_t i = 0; i < c->b->member_count; i++)
		if (c->b->members[i] == c->me) {
			bucket_member_remove(c->b, i);
			break;
		}
	c->me = NULL;
}

/* The smallest of the quotas that are stated; the largest of the times that tokens are out. */
static void
members_quota(struct bucket_call *c)
{
	const struct quota *q = c->ask->quota;

	c->requests = q->requests;
	c->burst = q->burst;
	c->out_us = q->window_us + q->jitter_us;
	c->slot_us = q->slot_us;
	for (size_t i = 0; i < c->b->member_count; i++) {
		const struct bucket_member *m = c->b->members[i];

		if (m->requests == 0)
			continue;
		c->requests = bucket_least(c->requests, m->requests);
		c->burst = bucket_least(c->burst, m->burst);
		c->out_us = bucket_most(c->out_us, m->out_us);
		c->slot_us = bucket_most(c->slot_us, m->slot_us);
	}
	c->token = (QUOTA_SLOTS + 1) * c->slot_us;
}

/* Must M be heard before anything is granted? */
static bool
member_is_missed(const struct bucket_call *c, const struct bucket_member *m)
{
	const struct bucket *b = c->b;

	if (m->seen_us >= b->doubt_us)
		return false;
	/* Who was silent already when the doubt arose had taken nothing that is not in the log, or in its share. */
	if (m->seen_us >= b->began_us && m->heard_us + BUCKET_SILENT_US < b->doubt_us)
		return false;
	return c->now_us < m->heard_us + BUCKET_SILENT_US + c->out_us;
}

/* Forget those who have been silent for very long: by now their shares are not spent any more, and nothing of them is out. */
static void
members_forget(struct bucket_call *c)
{
	for (size_t i = c->b->member_count; i-- > 0;)
		if (c->b->members[i] != c->me && c->now_us > c->b->members[i]->heard_us + 2 * BUCKET_SILENT_US + 2 * c->out_us + BUCKET_FORGET_US)
			bucket_member_remove(c->b, i);
}

void
bucket_members_review(struct bucket_call *c)
{
	enum bucket_closed closed = c->b->settle_us > c->now_us ? BUCKET_SETTLING : BUCKET_OPEN;

	members_quota(c);
	if (c->alone) {
		if (c->me->open_us > c->now_us)
			closed = BUCKET_UNKNOWN;
		c->answer->closed = closed;
		return;
	}
	members_forget(c);
	for (size_t i = 0; i < c->b->member_count; i++) {
		struct bucket_member *m = c->b->members[i];
		bool silent = c->now_us > m->heard_us + BUCKET_SILENT_US;

		if (silent != m->silent) {
			m->silent = silent;
			c->b->version++;
		}
		if (silent)
			c->reserved += m->reserve;
		if (m->open_us > c->now_us && closed == BUCKET_OPEN)
			closed = BUCKET_UNKNOWN;
		else if (member_is_missed(c, m) && closed == BUCKET_OPEN)
			closed = BUCKET_UNHEARD;
	}
	c->answer->closed = closed;
}

/* The share that a member has from now on: an even one, of what the others do not believe to have. */
static int64_t
member_share(const struct bucket_call *c)
{
	int64_t even = c->requests / (int64_t)c->b->member_count, rest = c->requests;

	for (size_t i = 0; i < c->b->member_count; i++)
		if (c->b->members[i] != c->me)
			rest -= c->b->members[i]->reserve;
	even = bucket_least(even, rest);
	return even < 2 ? 0 : even;	/* nothing can be granted safely from less */
}

void
bucket_member_tell(struct bucket_call *c)
{
	struct bucket_member *m = c->me;
	struct bucket_answer *answer = c->answer;

	answer->share = c->alone ? 0 : member_share(c);
	m->told_number = c->b->number;
	m->told_us = c->now_us;
	m->told_share = answer->share;
	m->reserve = bucket_most(m->reserve, answer->share);
	answer->version = c->b->version;
	answer->listed = !c->alone && (!c->right || c->ask->version != c->b->version);
	for (size_t i = 0; answer->listed && i < c->b->member_count; i++) {
		struct bucket_peer *peer = &answer->peers[answer->peer_count++];

		memcpy(peer->id, c->b->members[i]->id, sizeof(peer->id));
		peer->share = c->b->members[i]->reserve;
		peer->heard_ago_us = c->b->members[i]->silent ? c->now_us - c->b->members[i]->heard_us : -1;
	}
}
