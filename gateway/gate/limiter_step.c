/* One identity's turn: what has become possible is done, once per turn of the loop however much happened in it. */
#include "gate/limiter_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"

void
limiter_forget(struct limiter_request *request)
{
	if (request->granted) {		/* long ago, mostly: nothing that is not needed is touched */
		TAILQ_REMOVE(&request->identity->out, request, out_link);
	} else {
		if (request->caller_waiting)
			--*request->caller_waiting;
		queue_remove(&request->identity->queue, &request->entry);
	}
	limiter_table_remove(request->identity->limiter, request);
	spares_give(&request->identity->limiter->requests, request);
}

void
limiter_word_refusal(struct limiter_identity *identity, const struct queue_lane_key *key, enum queue_class class, int64_t patience_us,
    struct limiter_event *event)
{
	struct mono_time now = loop_now(identity->limiter->loops[0]);

	event->retry_after_s = key ? queue_retry_after(&identity->queue, key, class, patience_us, now) : 1;
	if (event->verdict == LIMITER_NO_TOKEN && limiter_paused_us(identity, now) > 0)
		event->verdict = LIMITER_THROTTLED;
}

void
limiter_refuse(struct limiter_request *request, enum limiter_verdict verdict, int64_t patience_us)
{
	struct limiter_identity *identity = request->identity;
	struct limiter_event event = { .ticket = request->ticket, .verdict = verdict };
	struct bucket_limit storage[BUCKET_LANE_LIMITS_MAX];
	struct queue_lane_key key;
	bool known = limiter_key(request->view, request->caller, request->limits, storage, &key);

	limiter_word_refusal(identity, known ? &key : NULL, request->entry.class, patience_us, &event);
	limiter_tell(identity->limiter, &event);
	limiter_forget(request);
}

/* Give a token to a request that is ready, and remember it as long as that could come back. */
static void
step_grant(struct limiter_request *request, struct mono_time asked_at)
{
	struct limiter_identity *identity = request->identity;
	struct limiter_event event = { .ticket = request->ticket, .verdict = LIMITER_GRANTED, .asked_at = asked_at };

	if (request->caller_waiting)
		--*request->caller_waiting;
	request->granted = true;
	request->asked_at = asked_at;
	identity->used = loop_now(identity->limiter->loops[0]);	/* a principal is kept until this token is back, however long it waited */
	TAILQ_INSERT_TAIL(&identity->out, request, out_link);
	atomic_fetch_add(&limiter_counted(identity)->grants, 1);
	limiter_tell(identity->limiter, &event);
}

/* The time from which the oldest granted request may be forgotten. */
static struct mono_time
step_out_until(const struct limiter_identity *identity)
{
	return mono_add(TAILQ_FIRST(&identity->out)->asked_at, identity->queue.quota.jitter_us / 2);
}

/* Forget those whose tokens could not be used any more. */
static void
step_forget_out(struct limiter_identity *identity, struct mono_time now)
{
	while (!TAILQ_EMPTY(&identity->out) && mono_since(now, step_out_until(identity)) >= 0)
		limiter_forget(TAILQ_FIRST(&identity->out));
}

/* Remember what was said of the bucket. */
static void
step_note_level(struct limiter_identity *identity, const struct bucket_answer *answer)
{
	identity->level = (struct limiter_level){ answer->out, answer->left, answer->reserved, answer->rate, answer->token };
}

/* Note who of a lane is ready and looks for a lost answer. */
static void
step_look_lane(struct queue *q, struct limiter_looks *looks, const struct queue_lane *lane, uint8_t number)
{
	struct queue_entry *e;

	TAILQ_FOREACH(e, &lane->lists[QUEUE_READY][QUEUE_SUBMIT], link) {
		const struct limiter_request *request = (const struct limiter_request *)e;

		if (looks->count == STORE_LOOKS_MAX)
			return;		/* the others' turn comes with the next call */
		if (!e->looks)
			continue;
		queue_look(q, e);
		memcpy(looks->looks[looks->count].name, request->lost_name, sizeof(request->lost_name));
		looks->looks[looks->count].lane = number;
		looks->tickets[looks->count++] = request->ticket;
	}
}

/* Note who of the lanes that the call is about looks for lost answers. */
static void
step_look(struct limiter_identity *identity)
{
	struct queue *q = &identity->queue;

	if (identity->looks == NULL) {
		identity->looks = calloc(1, sizeof(*identity->looks));
		check(identity->looks != NULL);
	}
	identity->looks->count = 0;
	for (size_t i = 0; i < q->called_count; i++)
		step_look_lane(q, identity->looks, q->called[i], (uint8_t)i);
}

/* Tell those who wait what was found for them, before what was granted to the others is given out. */
static void
step_hear_lost(struct limiter_identity *identity, const struct store_answer *answer)
{
	struct limiter_looks *looks = identity->looks;
	struct limiter_event event = { .verdict = LIMITER_LOST };

	snprintf(event.lost_tag, sizeof(event.lost_tag), "%.*s", STR_ARG(buf_str(&identity->name)));
	for (size_t i = 0; i < answer->found_count && i < looks->count; i++) {
		struct limiter_request *request = limiter_table_find(identity->limiter, looks->tickets[i]);

		if (answer->found[i].n == 0)
			continue;
		event.ticket = looks->tickets[i];
		event.lost = answer->found[i];
		memcpy(event.lost_name, looks->looks[i].name, sizeof(event.lost_name));
		limiter_tell(identity->limiter, &event);	/* also to who has gone: it gives an answer back */
		if (request && !request->granted)
			limiter_forget(request);
	}
}

/* The store answered, or will not. */
static void
on_answer(void *arg, const struct store_answer *answer)
{
	struct limiter_identity *identity = arg;
	struct limiter *limiter = identity->limiter;
	struct mono_time now = loop_now(limiter->loops[0]);
	struct bucket_answer heard;

	if (answer->ok) {
		atomic_fetch_add(&limiter->commands_ok, 1);
		member_hear(&identity->member, answer->ask, answer->answer, identity->queue.called_at, now);
		heard = *answer->answer;
		limiter_hear_pause(identity, &heard, now);
		step_hear_lost(identity, answer);
		queue_set_ahead(&identity->queue, answer->known ? member_count(&identity->member) : 0);
		queue_answered(&identity->queue, &heard, now);
		if (answer->ask->pause_us > 0)
			identity->pause_untold = false;
		atomic_store(&identity->limit, heard.limit);
		step_note_level(identity, answer->answer);
	} else {
		atomic_fetch_add(&limiter->commands_failed, 1);
		queue_failed(&identity->queue, now);
	}
	limiter_wake(identity);
}

/* May this instance spend its share now, since the store is away? */
static bool
step_is_alone(const struct limiter_identity *identity, struct mono_time now)
{
	return !store_is_up(identity->limiter->store) && atomic_load(&identity->limiter->share)
	    && member_may_spend(&identity->member, &identity->queue.quota, now);
}

/* Whether there is anything to ask: the store, or the share. */
static void
step_open(struct limiter_identity *identity, struct mono_time now)
{
	bool alone = step_is_alone(identity, now);

	if (alone != atomic_load(&identity->alone)) {
		log_line(LOG_WARN, alone ? "spending the share" : "sharing again", log_s("identity", buf_str(&identity->name)),
		    log_i("requests", identity->member.share));
		atomic_store(&identity->alone, alone);
	}
	queue_set_open(&identity->queue, !identity->left && (alone || store_is_up(identity->limiter->store)), now);
}

/* Take from the share. */
static void
step_spend(struct limiter_identity *identity, struct mono_time now)
{
	struct bucket_answer answer;

	member_spend(&identity->member, &identity->queue.quota, &identity->ask, now, &answer);
	queue_answered(&identity->queue, &answer, now);
	step_note_level(identity, &answer);
	limiter_wake(identity);
}

/* Ask the store where there is something to ask. */
static void
step_call(struct limiter_identity *identity)
{
	struct queue *q = &identity->queue;
	struct limiter *limiter = identity->limiter;
	/* Read anew, right before the call: a token is dated by it, and must not be dated later than it was taken. */
	struct mono_time now = loop_now(limiter->loops[0]);

	if (!queue_call(q, now, &identity->ask))
		return;
	if (identity->pause_untold)
		identity->ask.pause_us = limiter_paused_us(identity, now);
	identity->pause_untold = identity->ask.pause_us > 0;	/* it may be over */
	step_look(identity);
	if (atomic_load(&identity->alone)) {
		step_spend(identity, now);
		return;
	}
	member_ask(&identity->member, &q->quota, now, &identity->ask);
	if (!store_take(limiter->store, buf_str(&identity->name), &identity->ask, identity->looks->looks, identity->looks->count, on_answer,
	    identity))
		queue_failed(q, now);
}

/* The mark of lost answers is there, or not. */
static void
on_glance(void *arg, bool known)
{
	struct limiter_identity *identity = arg;

	queue_glanced(&identity->queue, known);
	limiter_wake(identity);
}

/* Where those who are ready have a token in hand, ask only whether something has been lost meanwhile. */
static void
step_glance(struct limiter_identity *identity)
{
	struct limiter *limiter = identity->limiter;

	if (!queue_glance(&identity->queue))
		return;
	identity->glance = (struct store_glance){ &limiter->self, on_glance, identity };
	if (!store_glance(limiter->store, buf_str(&identity->name), &identity->glance))
		queue_glanced(&identity->queue, false);
}

/* Sleep until time alone makes something possible. */
static void
step_sleep(struct limiter_identity *identity)
{
	struct mono_time at = { 0 };
	struct mono_time now = loop_now(identity->limiter->loops[0]);
	bool any = queue_wake(&identity->queue, now, &at), away = !store_is_up(identity->limiter->store);
	int64_t alone_us = away && atomic_load(&identity->limiter->share) && !atomic_load(&identity->alone) ?
	    member_spends_in_us(&identity->member, &identity->queue.quota, now) : INT64_MAX;

	if (alone_us < INT64_MAX && (!any || alone_us < mono_since(at, now))) {
		at = mono_add(now, alone_us);
		any = true;
	}
	if (!TAILQ_EMPTY(&identity->out) && (!any || mono_since(step_out_until(identity), at) < 0)) {
		at = step_out_until(identity);
		any = true;
	}
	if (any)
		loop_timer_at(&identity->timer, at);
	else
		loop_timer_clear(&identity->timer);
}

/* Is it the store's fault that nothing is granted? */
static bool
step_is_ill(const struct limiter_identity *identity)
{
	const struct queue *q = &identity->queue;

	return !q->open || q->closed == BUCKET_SETTLING || q->closed == BUCKET_UNHEARD || q->closed == BUCKET_STRANGE;
}

/* Is nothing granted until members were heard, or what they took has come back? */
static bool
step_is_settling(const struct limiter_identity *identity)
{
	const struct queue *q = &identity->queue;

	if (!identity->member.heard)
		return q->open;
	return q->open && (q->closed == BUCKET_STRANGE || q->closed == BUCKET_SETTLING || q->closed == BUCKET_UNHEARD || q->closed == BUCKET_UNKNOWN);
}

/* Keep the count of those who wait; a principal's are its identity's. */
static void
step_count_waiting(struct limiter_identity *identity)
{
	atomic_fetch_add(&limiter_counted(identity)->queued, identity->queue.count - identity->queued_told);
	identity->queued_told = identity->queue.count;
}

/* The turn ends. */
static void
on_step(void *arg)
{
	struct limiter_identity *identity = arg;
	struct queue *q = &identity->queue;
	struct mono_time now = loop_now(identity->limiter->loops[0]), asked_at;
	struct queue_entry *e;

	step_forget_out(identity, now);
	step_open(identity, now);
	while ((e = queue_expire(q, now)) != NULL)
		limiter_refuse((struct limiter_request *)e, step_is_ill(identity) ? LIMITER_STORE_DOWN : LIMITER_NO_TOKEN,
		    mono_since(e->deadline, e->submitted));
	while ((e = queue_grant(q, now, &asked_at)) != NULL)
		step_grant((struct limiter_request *)e, asked_at);
	while ((e = queue_promote(q, now)) != NULL)
		limiter_tell(identity->limiter, &(struct limiter_event){
			.ticket = ((struct limiter_request *)e)->ticket, .verdict = LIMITER_NEXT });
	step_call(identity);
	step_glance(identity);
	step_count_waiting(identity);
	atomic_store(&identity->settling, step_is_settling(identity));
	step_sleep(identity);
}

/* Time has passed. */
static void
on_timer(void *arg)
{
	limiter_wake(arg);
}

void
limiter_wake(struct limiter_identity *identity)
{
	loop_at_turn_end(identity->limiter->loops[0], &identity->hook);
}

void
limiter_identity_init(struct limiter_identity *identity, struct limiter *limiter, struct str name)
{
	struct loop *loop = limiter->loops[0];

	identity->limiter = limiter;
	member_init(&identity->member, &limiter->self);
	buf_add(&identity->name, name);
	TAILQ_INIT(&identity->out);
	identity->hook = (struct loop_hook){ .fn = on_step, .arg = identity };
	loop_timer_init(&identity->timer, loop, on_timer, identity);
	loop_timer_at(&identity->timer, loop_now(loop));	/* its first step: in the loop's next turn */
}

void
limiter_identity_fini(struct limiter_identity *identity)
{
	loop_unhook(identity->limiter->loops[0], &identity->hook);
	loop_timer_fini(&identity->timer);
	queue_fini(&identity->queue);
	member_fini(&identity->member);
	free(identity->looks);
	buf_fini(&identity->name);
}
