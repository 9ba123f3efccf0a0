/* The limiter: its life, what its mails ask for, and its figures. */
#include "gate/limiter_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

_Static_assert((int)LIMITER_CANCEL == (int)QUEUE_CANCEL && (int)LIMITER_SUBMIT == (int)QUEUE_SUBMIT
    && (int)LIMITER_POLL == (int)QUEUE_POLL && (int)LIMITER_CLASS_COUNT == (int)QUEUE_CLASS_COUNT,
    "the limiter's classes are the queue's");

/* As many as a crowd has in flight. */
#define LIMITER_REQUEST_SPARES 256

struct limiter *
limiter_new(const struct limiter_settings *settings, struct resolver *resolver, struct config *config,
    struct str password)
{
	struct limiter *limiter = calloc(1, sizeof(*limiter));

	check(limiter != NULL && settings->loop_count > 0);
	limiter->loops = calloc(settings->loop_count, sizeof(struct loop *));
	check(limiter->loops != NULL);
	memcpy(limiter->loops, settings->loops, settings->loop_count * sizeof(struct loop *));
	limiter->loop_count = settings->loop_count;
	limiter_mail_init(limiter);
	spares_init(&limiter->requests, sizeof(struct limiter_request), LIMITER_REQUEST_SPARES);
	limiter->deliver = settings->deliver;
	limiter->arg = settings->arg;
	limiter->resolver = resolver;
	limiter->self = (struct member_self){ .start = settings->start, .born = loop_now(limiter->loops[0]),
		.sent_ago_us = settings->sent_ago_us };
	check(settings->member.n < sizeof(limiter->self.id));
	if (settings->member.n > 0)
		memcpy(limiter->self.id, settings->member.p, settings->member.n);
	atomic_store(&limiter->refs, 1);
	limiter_principal_init(limiter, settings->principal_idle_us);
	limiter_config_init(limiter);
	limiter_take_config(limiter, config, password);
	return limiter;
}

/* Forget every request. */
static void
limiter_forget_all(struct limiter *limiter)
{
	for (size_t i = 0; i < LIMITER_TABLE_SIZE; i++)
		while (limiter->table[i])
			limiter_forget(limiter->table[i]);
}

void
limiter_free(struct limiter **limiter_p)
{
	struct limiter *limiter = *limiter_p;

	if (limiter == NULL)
		return;
	*limiter_p = NULL;
	atomic_store(&limiter->closed, true);
	limiter_forget_all(limiter);
	spares_fini(&limiter->requests);
	limiter_config_fini(limiter);
	free(limiter->loops);
	limiter->loops = NULL;
	limiter_unref(limiter);		/* mails that nobody has read yet hold it */
}

/* Make the request that ASK describes. */
static struct limiter_request *
limiter_request_new(struct limiter *limiter, const struct limiter_ask *ask, const struct limiter_view *view,
    struct limiter_identity *identity)
{
	struct limiter_request *request = limiter_table_find(limiter, ask->ticket);

	if (request) {
		check(request->granted);	/* its token lapsed and it asks for another */
		limiter_forget(request);
	}
	request = spares_take(&limiter->requests);
	*request = (struct limiter_request){
		.entry = { .class = (enum queue_class)ask->class, .deadline = ask->deadline, .first = ask->first, .looks = ask->looks,
			.at_once = ask->at_once, .stage = QUEUE_OUT },
		.ticket = ask->ticket, .identity = identity, .view = view, .caller = ask->caller, .limits = ask->limits };
	memcpy(request->lost_name, ask->lost_name, sizeof(request->lost_name));
	limiter_table_add(limiter, request);
	return request;
}

/* Whether as many of a caller's wait as may. */
static bool
limiter_caller_is_full(const struct limiter_view *view, size_t caller)
{
	return caller < view->caller_count && view->caller_waiting[caller] >= view->caller_queue[caller];
}

/* Count the request among its caller's; false where those are as many as may wait. */
static bool
limiter_count_caller(const struct limiter_view *view, struct limiter_request *request, size_t caller)
{
	if (caller >= view->caller_count)
		return true;
	if (limiter_caller_is_full(view, caller))
		return false;
	request->caller_waiting = &view->caller_waiting[caller];
	++*request->caller_waiting;
	return true;
}

/*
 * Queue a request; where the identity's queue is full, in the place of the last one of him of whom most wait. What nobody
 * has called for takes nobody's.
 */
static enum queue_verdict
limiter_queue(struct limiter_request *request, struct mono_time now)
{
	struct queue *q = &request->identity->queue;
	struct bucket_limit storage[BUCKET_LANE_LIMITS_MAX];
	struct queue_lane_key key;
	enum queue_verdict verdict;
	struct queue_entry *displaced;

	if (!limiter_key(request->view, request->caller, request->limits, storage, &key))
		return QUEUE_TOO_LATE;
	verdict = queue_submit(q, &request->entry, &key, now);
	displaced = verdict == QUEUE_FULL && request->caller != LIMITER_NOBODY ? queue_displace(q, &key) : NULL;
	if (displaced == NULL)
		return verdict;
	limiter_refuse((struct limiter_request *)displaced, LIMITER_QUEUE_FULL,
	    mono_since(displaced->deadline, displaced->submitted));
	return queue_submit(q, &request->entry, &key, now);
}

/* What would become of one who asks now: there is no room for it, it comes too late, or it is to be queued. */
static enum queue_verdict
limiter_judge(const struct limiter_view *view, struct queue *q, const struct limiter_ask *ask, const struct queue_lane_key *key,
    struct mono_time now)
{
	struct queue_entry entry = { .class = (enum queue_class)ask->class, .deadline = ask->deadline };
	enum queue_verdict verdict;

	if (limiter_caller_is_full(view, ask->caller))
		return QUEUE_FULL;
	verdict = queue_judge(q, &entry, key, now);
	return verdict == QUEUE_FULL && ask->caller != LIMITER_NOBODY && queue_displaced(q, key) ? QUEUE_TAKEN : verdict;
}

bool
limiter_refuses(struct limiter *limiter, const struct limiter_ask *ask, struct limiter_event *event)
{
	const struct limiter_view *view = limiter_view_of(limiter, ask->config);
	struct mono_time now = loop_now(limiter->loops[0]);
	struct bucket_limit storage[BUCKET_LANE_LIMITS_MAX];
	struct queue_lane_key key;
	struct limiter_identity *identity;
	enum queue_verdict verdict;

	/* What is another thread's, goes before others or may need a bucket first is left to the mail. */
	if (ask->ticket.worker != 0 || ask->first || ask->principal[0] != '\0' || ask->identity >= view->identity_count
	    || !limiter_key(view, ask->caller, ask->limits, storage, &key))
		return false;
	identity = view->identities[ask->identity];
	verdict = limiter_judge(view, &identity->queue, ask, &key, now);
	if (verdict == QUEUE_TAKEN)
		return false;
	event->ticket = ask->ticket;
	event->verdict = verdict == QUEUE_FULL ? LIMITER_QUEUE_FULL : LIMITER_NO_TOKEN;
	limiter_word_refusal(identity, &key, (enum queue_class)ask->class, mono_since(ask->deadline, now), event);
	return true;
}

void
limiter_take_submit(struct limiter *limiter, const struct limiter_ask *ask)
{
	const struct limiter_view *view = limiter_view_of(limiter, ask->config);
	struct mono_time now = loop_now(limiter->loops[0]);
	int64_t patience_us = mono_since(ask->deadline, now);
	struct limiter_identity *identity;
	struct limiter_request *request;
	enum queue_verdict verdict;

	if (ask->identity >= view->identity_count) {	/* an index of a configuration that is gone */
		limiter_tell(limiter, &(struct limiter_event){
			.ticket = ask->ticket, .verdict = LIMITER_NO_TOKEN, .retry_after_s = 1 });
		return;
	}
	identity = limiter_principal(limiter, view->identities[ask->identity], ask->principal);
	request = limiter_request_new(limiter, ask, view, identity ? identity : view->identities[ask->identity]);
	if (identity == NULL) {		/* more principals than an instance keeps apart */
		limiter_refuse(request, LIMITER_QUEUE_FULL, patience_us);
		return;
	}
	if (!limiter_count_caller(view, request, ask->caller) && !ask->first) {
		limiter_refuse(request, LIMITER_QUEUE_FULL, patience_us);
		return;
	}
	verdict = limiter_queue(request, now);
	if (verdict == QUEUE_TAKEN)
		limiter_wake(request->identity);
	else
		limiter_refuse(request, verdict == QUEUE_FULL ? LIMITER_QUEUE_FULL : LIMITER_NO_TOKEN, patience_us);
}

void
limiter_take_ready(struct limiter *limiter, struct limiter_ticket ticket)
{
	struct limiter_request *request = limiter_table_find(limiter, ticket);

	if (request == NULL || request->granted)
		return;		/* it crossed the last word on its way */
	queue_ready(&request->identity->queue, &request->entry);
	limiter_wake(request->identity);
}

void
limiter_take_cancel(struct limiter *limiter, struct limiter_ticket ticket, bool unused_token)
{
	struct limiter_request *request = limiter_table_find(limiter, ticket);
	struct bucket_limit storage[BUCKET_LANE_LIMITS_MAX];
	struct limiter_identity *identity;
	struct queue_lane_key key;

	if (request == NULL)
		return;
	identity = request->identity;
	/* Without its holder's word a granted token may have been used: it lapses. */
	if (request->granted && unused_token
	    && limiter_key(request->view, request->caller, request->limits, storage, &key))
		queue_give_back(&identity->queue, &key, request->asked_at, loop_now(limiter->loops[0]));
	limiter_forget(request);
	limiter_wake(identity);
}

struct limiter_counts
limiter_counts(const struct limiter *limiter)
{
	return (struct limiter_counts){
		.store_up = atomic_load(&limiter->store_up),
		.share = atomic_load(&limiter->share),
		.store_evicts = atomic_load(&limiter->store_evicts),
		.store_tried = atomic_load(&limiter->store_tried),
		.commands_ok = atomic_load(&limiter->commands_ok),
		.commands_failed = atomic_load(&limiter->commands_failed),
		.principals = atomic_load(&limiter->principal_count),
	};
}

struct limiter_identity_counts
limiter_identity_counts(const struct limiter *limiter, size_t identity)
{
	const struct limiter_view *view = atomic_load(&limiter->view);
	const struct limiter_identity *found = identity < view->identity_count ? view->identities[identity] : NULL;

	if (found == NULL)
		return (struct limiter_identity_counts){ 0 };
	return (struct limiter_identity_counts){
		.grants = atomic_load(&found->grants),
		.queued = atomic_load(&found->queued),
		.limit = atomic_load(&found->limit),
		.paused = limiter_paused_us(found, clock_now_mono()) > 0,
		.alone = atomic_load(&found->alone),
		.settling = atomic_load(&found->settling),
	};
}
