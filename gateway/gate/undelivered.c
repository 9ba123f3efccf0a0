/* Undelivered answers of this instance. */
#include "gate/undelivered.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* About 1 KB each; a proxy that dies loses as many as the quota lets through in `undelivered`. */
#define UNDELIVERED_MAX 20000

/* So long the fleet is told that an answer is lost no more: longer than who has seen it in flight looks again. */
#define UNDELIVERED_OVER_US (10 * (int64_t)CLOCK_SECOND)

struct undelivered {
	struct undelivered_settings settings;
	pthread_mutex_t lock;		/* guards what follows */
	struct lost_table *table;
	struct undelivered_counts counts;
	atomic_bool any;		/* something is remembered or in flight; read without the lock */
};

struct undelivered_mail {
	struct mail mail;
	struct undelivered *undelivered;
	uint8_t name[CLAIM_DIGEST_BYTES];
	char tag[LOST_TAG_BYTES];
	struct lost_who who;
	struct lost_found found;
	int64_t keep_us;
	struct mono_time landed;
};

struct undelivered *
undelivered_new(const struct undelivered_settings *settings)
{
	struct undelivered *undelivered = calloc(1, sizeof(*undelivered));

	check(undelivered != NULL);
	undelivered->settings = *settings;
	pthread_mutex_init(&undelivered->lock, NULL);
	undelivered->table = lost_table_new(UNDELIVERED_MAX);
	return undelivered;
}

void
undelivered_free(struct undelivered **undelivered_p)
{
	struct undelivered *undelivered = *undelivered_p;

	if (undelivered == NULL)
		return;
	*undelivered_p = NULL;
	lost_table_free(&undelivered->table);
	pthread_mutex_destroy(&undelivered->lock);
	free(undelivered);
}

/* Publish; the lock is held. From a full table the oldest may have been forgotten: then this process does not claim to remember them all. */
static void
undelivered_publish(struct undelivered *undelivered, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    enum lost_state state, struct str answer, int64_t keep_us)
{
	undelivered->settings.publish(undelivered->settings.arg, tag, name, id, state, answer, keep_us,
	    lost_count(undelivered->table) < UNDELIVERED_MAX);
}

/* The table has changed; the lock is held. */
static void
undelivered_note(struct undelivered *undelivered)
{
	atomic_store(&undelivered->any, lost_count(undelivered->table) > 0);
}

bool
undelivered_is_empty(const struct undelivered *undelivered)
{
	return !atomic_load(&undelivered->any);
}

void
undelivered_fly(struct undelivered *undelivered, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    int64_t keep_us)
{
	pthread_mutex_lock(&undelivered->lock);
	lost_fly(undelivered->table, name, id);
	undelivered_note(undelivered);
	undelivered_publish(undelivered, tag, name, id, LOST_FLYING, STR(""), keep_us);
	pthread_mutex_unlock(&undelivered->lock);
}

void
undelivered_look(struct undelivered *undelivered, const uint8_t name[CLAIM_DIGEST_BYTES], const struct lost_who *who, struct mono_time now,
    struct lost_found *found)
{
	pthread_mutex_lock(&undelivered->lock);
	lost_look(undelivered->table, name, who, now.us, found);
	undelivered_note(undelivered);
	undelivered->counts.replayed += found->state == LOST_ANSWERED;
	undelivered->counts.joined += found->state == LOST_FLYING;
	undelivered->counts.unknown += found->state == LOST_UNKNOWN;
	pthread_mutex_unlock(&undelivered->lock);
}

void
undelivered_leave(struct undelivered *undelivered, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES])
{
	pthread_mutex_lock(&undelivered->lock);
	lost_leave(undelivered->table, name, id);
	pthread_mutex_unlock(&undelivered->lock);
}

void
undelivered_forget(struct undelivered *undelivered, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES])
{
	struct lost_who joiner;

	pthread_mutex_lock(&undelivered->lock);
	lost_land(undelivered->table, name, id, LOST_NONE, STR(""), 0, 0, &joiner);
	undelivered_note(undelivered);
	pthread_mutex_unlock(&undelivered->lock);
}

/* Tell who has joined; an answer that it is not there to take is undelivered still. */
static void
on_landed(struct mail *mail)
{
	struct undelivered_mail *m = (struct undelivered_mail *)mail;
	struct undelivered *undelivered = m->undelivered;

	if (!undelivered->settings.deliver(undelivered->settings.arg, &m->who, &m->found) && m->found.state == LOST_ANSWERED)
		undelivered_land(undelivered, str_from(m->tag), m->name, m->found.first, LOST_ANSWERED, buf_str(&m->found.answer), m->keep_us, m->landed);
	buf_fini(&m->found.answer);
	free(m);
}

/* Post to WHO how what it had joined has landed. */
static void
undelivered_post(struct undelivered *undelivered, struct str tag, const struct lost_who *who, const uint8_t name[CLAIM_DIGEST_BYTES],
    const char id[CLAIM_ID_BYTES], enum lost_state state, struct str answer, int64_t keep_us, struct mono_time now)
{
	struct undelivered_mail *m = calloc(1, sizeof(*m));

	check(m != NULL);
	m->mail.run = on_landed;
	m->undelivered = undelivered;
	memcpy(m->name, name, sizeof(m->name));
	memcpy(m->tag, tag.p, tag.n);
	m->who = *who;
	m->found.state = state;
	memcpy(m->found.first, id, sizeof(m->found.first));
	buf_add(&m->found.answer, answer);
	m->keep_us = keep_us;
	m->landed = now;
	loop_post(undelivered->settings.loops[who->worker], &m->mail);
}

void
undelivered_land(struct undelivered *undelivered, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    enum lost_state state, struct str answer, int64_t keep_us, struct mono_time now)
{
	struct lost_who joiner;
	bool joined;

	pthread_mutex_lock(&undelivered->lock);
	check(tag.n < LOST_TAG_BYTES);
	joined = lost_land(undelivered->table, name, id, state, answer, keep_us, now.us, &joiner);
	undelivered_note(undelivered);
	/* What one who has joined is told is lost no more. */
	undelivered_publish(undelivered, tag, name, id, joined && state == LOST_ANSWERED ? LOST_NONE : state, answer,
	    state == LOST_NONE || (joined && state == LOST_ANSWERED) ? UNDELIVERED_OVER_US : keep_us);
	undelivered->counts.remembered += state != LOST_NONE && !(joined && state == LOST_ANSWERED);
	pthread_mutex_unlock(&undelivered->lock);
	if (joined)
		undelivered_post(undelivered, tag, &joiner, name, id, state, answer, keep_us, now);
}

struct undelivered_counts
undelivered_counts(struct undelivered *undelivered)
{
	struct undelivered_counts counts;

	pthread_mutex_lock(&undelivered->lock);
	counts = undelivered->counts;
	counts.held = lost_count(undelivered->table);
	pthread_mutex_unlock(&undelivered->lock);
	return counts;
}
