/* One identity's turn: what has become possible is done, once per turn of the loop however much happened in it. */
#include "gate/limiter_private.h"

#include <stdlib.h>

#include "base/check.h"

void
limiter_forget(struct limiter_request *request)
{
	if (request->granted)
		TAILQ_REMOVE(&request->identity->out, request, out_link);
	else if (request->caller_waiting)
		--*request->caller_waiting;
	queue_remove(&request->identity->queue, &request->entry);
	limiter_table_remove(request->identity->limiter, request);
	free(request);
}

void
limiter_refuse(struct limiter_request *request, enum limiter_verdict verdict, int64_t patience_us)
{
	struct limiter_identity *identity = request->identity;
	struct limiter_event event = { .ticket = request->ticket, .verdict = verdict };
	struct mono_time now = loop_now(identity->limiter->loops[0]);

	event.retry_after_s = queue_retry_after(&identity->queue, request->entry.class, patience_us, now);
	if (verdict == LIMITER_NO_TOKEN && limiter_paused_us(identity, now) > 0)
		event.verdict = LIMITER_THROTTLED;
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
	TAILQ_INSERT_TAIL(&identity->out, request, out_link);
	atomic_fetch_add(&identity->grants, 1);
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

/* Remember the newest grant that an answer tells of. */
static void
step_hear(struct limiter_identity *identity, const struct bucket_take *take, struct mono_time now)
{
	bool newer = take->epoch != identity->heard_epoch || take->total != identity->heard_total;

	if (newer && take->total > 0) {
		identity->heard = true;
		identity->heard_at = now;
	}
	identity->heard_epoch = take->epoch;
	identity->heard_total = take->total;
}

/* What the store is told of that; nothing that has come back since. */
struct bucket_heard
limiter_heard(const struct limiter_identity *identity, struct mono_time now)
{
	struct bucket_heard heard = { identity->heard_epoch, identity->heard_total, -1 };

	if (identity->heard && mono_since(now, identity->heard_at) < identity->queue.quota.token)
		heard.ago_us = mono_since(now, identity->heard_at);
	return heard;
}

/* The store answered, or will not. */
static void
on_answer(void *arg, const struct store_answer *answer)
{
	struct limiter_identity *identity = arg;
	struct limiter *limiter = identity->limiter;
	struct mono_time now = loop_now(limiter->loops[0]);
	struct bucket_take take = answer->take;

	if (answer->ok) {
		atomic_fetch_add(&limiter->commands_ok, 1);
		step_hear(identity, &take, now);
		limiter_hear_pause(identity, &take, now);
		queue_answered(&identity->queue, &take, now);
	} else {
		atomic_fetch_add(&limiter->commands_failed, 1);
		queue_failed(&identity->queue, now);
	}
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
	int64_t count = queue_call(q, now);
	struct store_call call;

	if (count < 0)
		return;
	queue_called(q, count, now);
	call = (struct store_call){ .identity = buf_str(&identity->name), .quota = &q->quota, .count = count,
		.waiting = (int64_t)q->count, .heard = limiter_heard(identity, now),
		.pause_us = identity->pause_untold ? limiter_paused_us(identity, now) : 0 };
	if (!store_take(limiter->store, &call, on_answer, identity))
		queue_failed(q, now);
}

/* Sleep until time alone makes something possible. */
static void
step_sleep(struct limiter_identity *identity)
{
	struct mono_time at = { 0 };
	bool any = queue_wake(&identity->queue, loop_now(identity->limiter->loops[0]), &at);

	if (!TAILQ_EMPTY(&identity->out) && (!any || mono_since(step_out_until(identity), at) < 0)) {
		at = step_out_until(identity);
		any = true;
	}
	if (any)
		loop_timer_at(&identity->timer, at);
	else
		loop_timer_clear(&identity->timer);
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
	while ((e = queue_expire(q, now)) != NULL)
		limiter_refuse((struct limiter_request *)e,
		    store_is_up(identity->limiter->store) ? LIMITER_NO_TOKEN : LIMITER_STORE_DOWN,
		    mono_since(e->deadline, e->submitted));
	while ((e = queue_grant(q, now, &asked_at)) != NULL)
		step_grant((struct limiter_request *)e, asked_at);
	while ((e = queue_promote(q, now)) != NULL)
		limiter_tell(identity->limiter, &(struct limiter_event){
			.ticket = ((struct limiter_request *)e)->ticket, .verdict = LIMITER_NEXT });
	step_call(identity);
	atomic_store(&identity->queued, q->count);
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
	if (limiter->sent_ago_us >= 0) {
		identity->heard = true;
		identity->heard_at = mono_add(limiter->start, -limiter->sent_ago_us);
	}
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
	buf_fini(&identity->name);
}
