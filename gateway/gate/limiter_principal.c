/*
 * Principals: each has a bucket of its own with the quota of its identity (identities[].per_token).
 *
 * They are made when they are asked for first, and given up when nobody has asked for so long that every token is back: this
 * instance then leaves the bucket, so that neither it nor the store spends anything on who is gone.
 */
#include "gate/limiter_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Beyond what a token can be out: longer than any call to the store lasts, twice. */
#define PRINCIPAL_IDLE_US (30 * (int64_t)CLOCK_SECOND)

/* Where the search for NAME begins. */
static struct limiter_identity **
principal_chain(struct limiter *limiter, struct str name)
{
	return &limiter->principals[str_hash_end(str_hash(STR_HASH_BEGIN, name)) % LIMITER_PRINCIPAL_TABLE_SIZE];
}

/* Make the bucket NAME with the quota of OF. */
static struct limiter_identity *
principal_new(struct limiter *limiter, struct limiter_identity *of, struct str name)
{
	struct limiter_identity *identity = calloc(1, sizeof(*identity)), **chain = principal_chain(limiter, name);
	const struct queue *q = &of->queue;

	check(identity != NULL);
	queue_init(&identity->queue, &q->quota, q->capacity, q->keep_us, loop_now(limiter->loops[0]));
	limiter_identity_init(identity, limiter, name);
	identity->of = of;
	identity->left = of->left;
	identity->next = limiter->identities;
	limiter->identities = identity;
	identity->principal_next = *chain;
	*chain = identity;
	if (atomic_fetch_add(&limiter->principal_count, 1) == 0)
		loop_timer_at(&limiter->sweep, mono_add(loop_now(limiter->loops[0]), limiter->principal_idle_us));
	return identity;
}

struct limiter_identity *
limiter_principal(struct limiter *limiter, struct limiter_identity *of, const char *principal)
{
	struct limiter_identity *identity;
	struct buf name = BUF_EMPTY;

	if (*principal == '\0')
		return of;
	buf_printf(&name, "%.*s/%s", STR_ARG(buf_str(&of->name)), principal);
	identity = *principal_chain(limiter, buf_str(&name));
	while (identity && !str_eq(buf_str(&identity->name), buf_str(&name)))
		identity = identity->principal_next;
	if (identity == NULL && atomic_load(&limiter->principal_count) < LIMITER_PRINCIPALS_MAX)
		identity = principal_new(limiter, of, buf_str(&name));
	if (identity)
		identity->used = loop_now(limiter->loops[0]);
	buf_fini(&name);
	return identity;
}

void
limiter_principal_set_quota(struct limiter *limiter, const struct limiter_identity *of)
{
	struct limiter_identity *identity;

	for (identity = limiter->identities; identity; identity = identity->next)
		if (identity->of == of)
			queue_set_quota(&identity->queue, &of->queue.quota, of->queue.capacity, of->queue.keep_us);
}

struct limiter_identity *
limiter_counted(struct limiter_identity *identity)
{
	return identity->of ? identity->of : identity;
}

/* Has nobody asked for so long that nothing is out, and is nothing under way? */
static bool
principal_is_idle(const struct limiter_identity *identity, struct mono_time now)
{
	const struct quota *quota = &identity->queue.quota;

	return identity->of && identity->queue.count == 0 && TAILQ_EMPTY(&identity->out) && !identity->queue.calling && identity->queue.glance_number == 0
	    && limiter_paused_us(identity, now) == 0
	    && mono_since(now, identity->used) > quota->window_us + quota->jitter_us + identity->limiter->principal_idle_us;
}

/* Nobody waits for it: the store learns that its share is free, or holds it back until this member is forgotten. */
static void
on_good_bye(void *arg, const struct store_answer *answer)
{
	(void)arg;
	(void)answer;
}

/* Take it out of the table and free it; that it goes is said by a call which outlives it. */
static void
principal_give_up(struct limiter *limiter, struct limiter_identity *identity)
{
	struct limiter_identity **p = principal_chain(limiter, buf_str(&identity->name));
	struct bucket_ask *ask = calloc(1, sizeof(*ask));

	check(ask != NULL);
	member_ask(&identity->member, &identity->of->queue.quota, loop_now(limiter->loops[0]), ask);
	ask->leave = true;
	if (!identity->left && identity->member.heard)
		store_take(limiter->store, buf_str(&identity->name), ask, NULL, 0, on_good_bye, NULL);
	free(ask);
	for (; *p != identity; p = &(*p)->principal_next)
		;
	*p = identity->principal_next;
	atomic_fetch_sub(&limiter->principal_count, 1);
	limiter_identity_fini(identity);
	free(identity);
}

/* Give up those that are idle. */
static void
on_sweep(void *arg)
{
	struct limiter *limiter = arg;
	struct mono_time now = loop_now(limiter->loops[0]);
	struct limiter_identity **p = &limiter->identities, *identity;

	while ((identity = *p) != NULL) {
		if (!principal_is_idle(identity, now)) {
			p = &identity->next;
			continue;
		}
		*p = identity->next;
		principal_give_up(limiter, identity);
	}
	if (atomic_load(&limiter->principal_count) > 0)
		loop_timer_at(&limiter->sweep, mono_add(now, limiter->principal_idle_us));
}

void
limiter_principal_init(struct limiter *limiter, int64_t idle_us)
{
	limiter->principal_idle_us = idle_us ? idle_us : PRINCIPAL_IDLE_US;
	loop_timer_init(&limiter->sweep, limiter->loops[0], on_sweep, limiter);
}
