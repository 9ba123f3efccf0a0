/* An instance as a member of an identity's bucket. */
#include "rules/member.h"

#include <string.h>

void
member_init(struct member *m, const struct member_self *self)
{
	*m = (struct member){ .self = *self, .fresh = true };
}

void
member_fini(struct member *m)
{
	bucket_free(&m->alone);
}

void
member_connected(struct member *m)
{
	m->fresh = true;
}

/* The longest time that a token of the fleet's may be out. */
static int64_t
member_token_us(const struct member *m, const struct quota *quota)
{
	return m->token > quota->token ? m->token : quota->token;
}

/* Forget tokens that have come back. */
static void
member_expire(struct member *m, const struct quota *quota, struct mono_time now)
{
	size_t n = 0;

	while (n < m->entry_count && mono_since(now, m->entries[n].at) >= member_token_us(m, quota))
		n++;
	m->entry_count -= n;
	memmove(m->entries, m->entries + n, m->entry_count * sizeof(m->entries[0]));
}

/* Remember tokens; those of a slot are one entry, at its end. */
static void
member_note(struct member *m, const struct quota *quota, const struct bucket_answer *answer, int64_t epoch, struct mono_time now)
{
	struct member_entry *last;
	struct mono_time at = { (now.us / quota->slot_us + 1) * quota->slot_us };

	if (answer->granted == 0)
		return;
	member_expire(m, quota, now);
	last = m->entry_count > 0 ? &m->entries[m->entry_count - 1] : NULL;
	if (last && (m->entry_count == BUCKET_OWN_MAX || (last->at.us >= at.us && last->epoch == epoch))) {
		/* Too many: taken for younger, and for tokens that the store does not know. */
		last->at.us = last->at.us > at.us ? last->at.us : at.us;
		last->epoch = last->epoch == epoch ? epoch : 0;
		last->out += answer->granted;
		last->bursts += answer->bursts;
		return;
	}
	m->entries[m->entry_count++] = (struct member_entry){ at, answer->granted, answer->bursts, epoch };
}

/* Tell all tokens that the bucket of this epoch does not know of. */
static void
member_tell_own(const struct member *m, struct mono_time now, struct bucket_ask *ask)
{
	for (size_t i = 0; i < m->entry_count; i++) {
		const struct member_entry *e = &m->entries[i];
		int64_t ago_us = mono_since(now, e->at);

		if (e->epoch != m->epoch)
			ask->own[ask->own_count++] = (struct bucket_own){ ago_us, e->out, e->bursts };
	}
}

/* Tell which others there are: who was not silent may have been heard until now. */
static void
member_tell_peers(const struct member *m, struct mono_time now, struct bucket_ask *ask)
{
	for (size_t i = 0; i < m->peer_count; i++) {
		struct bucket_peer *peer = &ask->peers[ask->peer_count];

		*peer = m->peers[i];
		if (strcmp(peer->id, m->self.id) == 0)
			continue;
		peer->heard_ago_us = peer->heard_ago_us < 0 ? 0 : peer->heard_ago_us + mono_since(now, m->listed_at);
		ask->peer_count++;
	}
}

void
member_ask(struct member *m, const struct quota *quota, struct mono_time now, struct bucket_ask *ask)
{
	int64_t born_ago_us = mono_since(now, m->self.born);

	member_expire(m, quota, now);
	memcpy(ask->id, m->self.id, sizeof(ask->id));
	ask->start = m->self.start;
	ask->born_ago_us = born_ago_us;
	ask->sent_ago_us = m->self.sent_ago_us < 0 ? -1 : m->self.sent_ago_us + born_ago_us;
	if (ask->sent_ago_us >= member_token_us(m, quota))
		ask->sent_ago_us = -1;
	ask->epoch = m->epoch;
	ask->number = m->number;
	ask->version = m->version;
	ask->share = m->share;
	ask->fresh = m->fresh;
	ask->quota = quota;
	ask->tells = !m->told && m->self.id[0];
	if (ask->tells) {
		member_tell_own(m, now, ask);
		member_tell_peers(m, now, ask);
	}
}

/* Remember the others. */
static void
member_list(struct member *m, const struct bucket_answer *answer, struct mono_time now)
{
	memcpy(m->peers, answer->peers, answer->peer_count * sizeof(m->peers[0]));
	m->peer_count = answer->peer_count;
	m->version = answer->version;
	m->listed_at = now;
}

void
member_hear(struct member *m, const struct bucket_ask *ask, const struct bucket_answer *answer, struct mono_time asked_at,
    struct mono_time now)
{
	bool known = answer->epoch == m->epoch;

	/* A new epoch: its list has only those who have come so far; the old one is told first. */
	if (!known)
		m->version = 0;
	if (answer->listed && (known || m->peer_count == 0))
		member_list(m, answer, now);
	m->told = known && (m->told || ask->tells);
	m->fresh = m->fresh && !known;
	m->epoch = answer->epoch;
	m->number = answer->number;
	m->share = answer->share;
	m->token = answer->token;
	m->heard = true;
	m->heard_at = now;
	m->asked_at = asked_at;
	bucket_free(&m->alone);
	member_note(m, ask->quota, answer, answer->epoch, now);
}

size_t
member_count(const struct member *m)
{
	return m->told ? m->peer_count : 0;
}

int64_t
member_spends_in_us(const struct member *m, const struct quota *quota, struct mono_time now)
{
	int64_t begins_us = BUCKET_SILENT_US + member_token_us(m, quota);
	int64_t ends_us = BUCKET_SILENT_US + quota->window_us + quota->jitter_us + BUCKET_FORGET_US;

	if (!m->heard || m->share < 2 || mono_since(now, m->asked_at) >= ends_us)
		return INT64_MAX;
	return mono_since(now, m->heard_at) >= begins_us ? 0 : begins_us - mono_since(now, m->heard_at);
}

bool
member_may_spend(const struct member *m, const struct quota *quota, struct mono_time now)
{
	return member_spends_in_us(m, quota, now) == 0;
}

void
member_spend(struct member *m, const struct quota *quota, struct bucket_ask *ask, struct mono_time now,
    struct bucket_answer *answer)
{
	struct quota share = quota_share(quota, m->share < quota->requests ? m->share : quota->requests);

	if (m->alone == NULL)
		m->alone = bucket_new();
	memset(ask->id, 0, sizeof(ask->id));
	ask->start = m->self.start;
	ask->sent_ago_us = -1;
	ask->quota = &share;
	bucket_take(m->alone, ask, now.us, answer);
	ask->quota = quota;
	m->told = m->told && answer->granted == 0;
	member_note(m, quota, answer, 0, now);
}
