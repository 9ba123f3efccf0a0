/*
 * Steps of admission: wait for the token, borrow a connection, make the intent durable, take the token. Sent is what has all three. The
 * token is asked for last, but for what the disk is known to do meanwhile.
 */
#include "gate/steps.h"

#include <string.h>

#include "base/check.h"
#include "gate/worker.h"
#include "rules/limits.h"

/* Connections that the upstream closed under a request that was ready: so many are borrowed anew before it is called ill. */
#define ADMIT_BORROWS_MAX 3
/* After upstream.timeout the caller is answered and the job half reads on so long, so that the record learns the truth. */
#define ADMIT_LATE_US (300 * (int64_t)CLOCK_SECOND)

/* The least that Prefer can make of the wait: whole seconds are what it speaks of. */
#define ADMIT_WAIT_MIN_US (1 * (int64_t)CLOCK_SECOND)

/* A token lapses J/2 after it was asked for: a journal is quick that takes an intent in a small part of that, 4 ms. A slower one gains little. */
#define ADMIT_QUICK_PART 64

static void on_borrowed(void *arg);
static void on_response(void *arg, const struct upstream_response *response);
static void on_failed(void *arg, const struct upstream_failure *failure);

static const struct upstream_hooks hooks = { on_borrowed, on_response, on_failed };

/* A verified connection is ours. */
static void
on_borrowed(void *arg)
{
	struct request *request = arg;

	check_magic(request, REQUEST_MAGIC);
	request->borrowed = true;
	if (condition_is_ill(request->worker->shared->upstream))
		condition_set(request->worker->shared->upstream, true, "", loop_now(request->worker->loop));
	request_make_ready(request);
}

/* The upstream has answered. */
static void
on_response(void *arg, const struct upstream_response *response)
{
	struct request *request = arg;

	check_magic(request, REQUEST_MAGIC);
	forward_answer_take(request, response);
	poll_keep(request, response);
	request_make_ready(request);
}

/* The call has failed, in whatever phase. */
static void
on_failed(void *arg, const struct upstream_failure *failure)
{
	struct request *request = arg;

	check_magic(request, REQUEST_MAGIC);
	request->call_failed = true;
	request->failure = *failure;
	request_make_ready(request);
}

/* The intent is durable, or cannot be. */
static void
on_intent(struct journal_entry *entry, bool ok)
{
	struct request *request = entry->arg;

	check_magic(request, REQUEST_MAGIC);
	request->intent_done = true;
	request->intent_ok = ok;
	request_make_ready(request);
}

/* Leave the limiter's queue, or give back the token that was not used. */
static void
admit_leave(struct request *request)
{
	if (request->asked && !request->limiter_final)
		limiter_cancel(request->worker->shared->limiter, request->caller->identity, request->ticket, request->granted,
		    request->token_asked_at);
	request->asked = request->granted = false;
	lost_leave_it(request);
	request->wait_ended = loop_now(request->worker->loop);
	if (request->call)
		upstream_cancel(&request->call);
	request->borrowed = false;
	if (request->turned_back) {	/* the last that was heard of it */
		request->upstream_status = request->turned_back;
		request->result = RESULT_REJECTED;
	}
}

/* Say to how many calls the identity's quota comes, all callers' together. What a flood is told is made without printf. */
static void
admit_add_quota(struct buf *words, const struct config_quota *quota)
{
	buf_add_int(words, quota->requests);
	buf_add(words, STR(" calls per "));
	buf_add_int(words, quota->window_us / CLOCK_SECOND);
	buf_add(words, STR(" s for all callers"));
}

/* Refuse because the identity has no token in time, or no room. */
static void
admit_refuse_waiting(struct request *request, const struct config_identity *identity, enum refusal refusal)
{
	struct buf *words = worker_text(request->worker);
	bool full = refusal == REFUSAL_QUEUE_FULL;

	buf_add(words, full ? STR("Too many requests of identity ") : STR("Identity "));
	buf_add(words, identity->name);
	buf_add(words, full ? STR(" are waiting") : STR(" has no call left in time ("));
	if (!full) {
		admit_add_quota(words, &identity->quota);
		buf_add_char(words, ')');
	}
	buf_add(words, STR("; retry in "));
	buf_add_int(words, request->retry_after_s);
	buf_add(words, STR(" s."));
	request_refuse_with(request, refusal, buf_str(words));
}

/* Refuse by the limiter's final word. */
static void
admit_refuse_final(struct request *request)
{
	const struct config_identity *identity = &request->config->identities[request->caller->identity];
	enum limiter_verdict verdict = request->final_verdict;

	if (verdict != LIMITER_QUEUE_FULL && authorize_timed_out(request))
		return;
	request->retry_after_s = request->final_retry_after_s;
	if (verdict == LIMITER_STORE_DOWN)
		request_refuse(request, REFUSAL_UNAVAILABLE, "The quota's store did not answer in time; nothing was sent.");
	else if (request->state == REQUEST_NEXT && !request->borrowed)
		request_refuse(request, REFUSAL_UPSTREAM_TIMEOUT, "No connection to the upstream in time; nothing was sent.");
	else if (request->state == REQUEST_NEXT && request->intent_put && !request->intent_done)
		request_refuse(request, REFUSAL_UNAVAILABLE, "The audit journal did not take the record in time; nothing was sent.");
	else if (verdict == LIMITER_THROTTLED || request->turned_back == 429)
		request_refuse(request, REFUSAL_THROTTLED,
		    "The upstream throttles identity %.*s for longer than this request may wait; retry in %d s.",
		    STR_ARG(identity->name), (int)request->retry_after_s);
	else
		admit_refuse_waiting(request, identity, verdict == LIMITER_QUEUE_FULL ? REFUSAL_QUEUE_FULL : REFUSAL_QUOTA);
}

/* What ends a request that waits; true where it was ended. */
static bool
admit_interrupted(struct request *request)
{
	if (request->client_gone)
		request_refuse(request, REFUSAL_CALLER_GONE, "The caller went while its request was waiting.");
	else if (request->draining) {
		request->retry_after_s = 1;
		request_refuse(request, REFUSAL_UNAVAILABLE, "This instance is shutting down; nothing was sent.");
	} else if (request->limiter_final)
		admit_refuse_final(request);
	if (request->refusal == REFUSAL_NONE && !request->poll.said)
		return false;
	admit_leave(request);
	if (!poll_recalled(request) && !poll_ask_for_last(request))
		request_goto(request, REQUEST_RECORDING);
	return true;
}

/* End a request that cannot be sent for a reason of ours or the upstream's. */
static void
admit_fail(struct request *request)
{
	admit_leave(request);
	request_goto(request, REQUEST_RECORDING);
}

void
admit_name_bucket(const struct request *request, struct limiter_ask *ask)
{
	ask->identity = request->caller->identity;
	if (!request->config->identities[ask->identity].per_token || request->principal.n == 0)
		return;
	check(request->principal.n < sizeof(ask->principal));
	memcpy(ask->principal, request->principal.p, request->principal.n);	/* the rest is zeros */
}

/*
 * Whether the intent that is on its way will be durable long before a token that is asked for now would lapse: then the store's way and
 * the disk's are gone at the same time. Behind a slow disk tokens are not to be asked for in vain.
 */
static bool
admit_intent_is_quick(const struct request *request)
{
	const struct config_quota *quota = &request->config->identities[request->caller->identity].quota;

	return journal_intent_us(audit_journal(request->worker->shared->audit)) <= quota->jitter_us / ADMIT_QUICK_PART;
}

/* What the limiter is to be asked, with a new ticket. */
static void
admit_fill_ask(struct request *request, struct limiter_ask *ask)
{
	static const enum limiter_class classes[OPERATION_COUNT] = {
		[OPERATION_RUN] = LIMITER_SUBMIT,
		[OPERATION_GET] = LIMITER_POLL,
		[OPERATION_LIST] = LIMITER_POLL,
		[OPERATION_CANCEL] = LIMITER_CANCEL,
		[OPERATION_SCHEDULE_GET] = LIMITER_POLL,
		[OPERATION_SCHEDULE_LIST] = LIMITER_POLL,
		[OPERATION_SCHEDULE_CREATE] = LIMITER_SUBMIT,
		[OPERATION_SCHEDULE_UPDATE] = LIMITER_SUBMIT,
		[OPERATION_SCHEDULE_DELETE] = LIMITER_SUBMIT,
	};

	request->ticket = worker_ticket(request->worker, request);
	*ask = (struct limiter_ask){
		.ticket = request->ticket,
		.config = request->config,
		.caller = request->on_errand ? LIMITER_NOBODY : request->caller->index,
		.limits = limits_match(request->config, request->caller->identity, &request->route),
		.class = classes[request->route.operation],
		.deadline = mono_add(request->wait_began, request->wait_max_us),
		.first = request->turned_back != 0,
	};
	admit_name_bucket(request, ask);
}

/* Get into the limiter's queue. */
static void
admit_submit(struct request *request, struct limiter_ask *ask)
{
	request->asked = true;
	request->said_next = request->said_ready = request->granted = false;
	ask->at_once = !request->awaits_access && (!operation_is_trigger(request->route.operation) || admit_intent_is_quick(request));
	ask->looks = request->lost_watched;
	if (ask->looks)
		memcpy(ask->lost_name, lost_name_of(request), sizeof(ask->lost_name));
	limiter_submit(request->worker->shared->limiter, ask);
}

/* Get into the queue again: the token has lapsed. */
static void
admit_ask_again(struct request *request)
{
	struct limiter_ask ask;

	admit_fill_ask(request, &ask);
	admit_submit(request, &ask);
}

/* Get into the queue; false where the limiter's final word is known at once. */
static bool
admit_ask(struct request *request)
{
	struct limiter_ask ask;
	struct limiter_event event;

	admit_fill_ask(request, &ask);
	request->limiter_final = limiter_refuses(request->worker->shared->limiter, &ask, &event);
	if (request->limiter_final) {
		request->final_verdict = event.verdict;
		request->final_retry_after_s = event.retry_after_s;
		return false;
	}
	admit_submit(request, &ask);
	return true;
}

/* Borrow a connection. */
static void
admit_borrow(struct request *request, bool fresh)
{
	struct upstream *upstream = pool_upstream(request->worker->pool, request->config, request->route.workspace);

	request->borrows++;
	request->borrowed = request->call_failed = false;
	if (upstream != NULL)
		request->call = upstream_borrow(upstream, fresh, &hooks, request);
}

/* How long it may wait: its caller's time, or less where it prefers that. */
static int64_t
admit_patience_us(const struct request *request)
{
	int64_t most_us = request->caller->wait_max_us, preferred_us = request->prefer_wait_s * CLOCK_SECOND;

	if (request->prefer_wait_s < 0 || preferred_us >= most_us)
		return most_us;
	/* No time at all would refuse even whom a token lies ready for: it takes a round trip and an fdatasync. */
	if (preferred_us < ADMIT_WAIT_MIN_US)
		preferred_us = ADMIT_WAIT_MIN_US;
	return preferred_us < most_us ? preferred_us : most_us;
}

void
admit_begin_wait(struct request *request)
{
	if (request->wait_max_us != 0)
		return;
	request->wait_began = loop_now(request->worker->loop);
	request->wait_max_us = admit_patience_us(request);
}

/* Look for what to call the upstream with; false where the request was ended because there will be none. */
static bool
admit_authorized(struct request *request)
{
	if (authorize_waiting(request))
		return true;
	admit_fail(request);
	return false;
}

/* Give token, place and connection back at the last moment, and go on from STATE. */
static void
admit_step_back(struct request *request, enum request_state state)
{
	if (request->asked)
		limiter_cancel(request->worker->shared->limiter, request->caller->identity, request->ticket, request->granted,
		    request->token_asked_at);
	upstream_cancel(&request->call);
	request->asked = request->granted = request->borrowed = false;
	request->wait_ended = loop_now(request->worker->loop);
	request_goto(request, state);
}

/*
 * Whether it may still be sent: a reload may have taken the token away since it was ready, and the caller of an identical run
 * may have gone, whose end another worker had not heard when this one came.
 */
static bool
admit_still_may(struct request *request)
{
	if (!authorize_now(request))
		admit_step_back(request, REQUEST_WAITING);
	else if (lost_since(request))
		admit_step_back(request, REQUEST_CLAIMING);
	return request->state == REQUEST_READY;
}

void
step_waiting(struct request *request)
{
	if (admit_interrupted(request))
		return;
	if (!operation_is_metered(request->route.operation)) {
		request->wait_began = loop_now(request->worker->loop);
		request_goto(request, REQUEST_NEXT);
		return;
	}
	admit_begin_wait(request);
	if (!admit_authorized(request))
		return;
	/* Also while there is no token of the credential: it stands in the queue like all others. */
	if (!request->asked && !admit_ask(request))
		admit_interrupted(request);
	else if (request->said_next)
		request_goto(request, REQUEST_NEXT);
}

/* Refuse because no connection could be made; nothing was sent. */
static void
admit_refuse_unreachable(struct request *request)
{
	condition_set(request->worker->shared->upstream, false, request->failure.detail, loop_now(request->worker->loop));
	request_refuse(request,
	    request->failure.reason == UPSTREAM_REASON_TIMEOUT ? REFUSAL_UPSTREAM_TIMEOUT : REFUSAL_UPSTREAM,
	    "The upstream could not be reached (%s: %s); nothing was sent.", upstream_phase_name(request->failure.phase),
	    upstream_reason_name(request->failure.reason));
	admit_fail(request);
}

/* Refuse because requests to so many workspaces' private links are under way that there is no place for another. */
static void
admit_refuse_crowded(struct request *request)
{
	request->retry_after_s = 1;
	request_refuse(request, REFUSAL_UNAVAILABLE, "Requests to too many workspaces are under way on this instance; nothing was sent.");
	admit_fail(request);
}

/* Have a connection borrowed or on its way, another one where the upstream closed ours unused; false where it was given up. */
static bool
admit_connect(struct request *request, bool fresh)
{
	if (request->call_failed && request->failure.phase == UPSTREAM_READY && request->borrows < ADMIT_BORROWS_MAX) {
		upstream_cancel(&request->call);
		fresh = true;
	}
	if (request->call == NULL)
		admit_borrow(request, fresh);
	if (request->call == NULL)
		admit_refuse_crowded(request);
	else if (request->call_failed)
		admit_refuse_unreachable(request);
	return request->call != NULL && !request->call_failed;
}

/* Hand the intent to the journal; false where the journal takes none. */
static bool
admit_put_intent(struct request *request)
{
	struct record_request record = request_record(request);
	struct buf *members = worker_text(request->worker);

	record_intent(members, &record);
	request->intent_put = request_put_record(request, JOURNAL_INTENT, buf_str(members), on_intent);
	return request->intent_put;
}

/* Refuse because the trigger cannot be recorded. */
static void
admit_refuse_unrecorded(struct request *request)
{
	request->retry_after_s = 1;
	request_refuse(request, REFUSAL_UNAVAILABLE, "The audit journal cannot be written; nothing was sent.");
	admit_fail(request);
}

/* Tell the limiter, once, that it would be sent at once. */
static void
admit_say_ready(struct request *request)
{
	if (!request->said_next || request->said_ready || request->granted || !request->borrowed)
		return;
	request->said_ready = true;
	limiter_ready(request->worker->shared->limiter, request->ticket);
}

/* Until when the first byte may be written: a grant is used while it is at most half the jitter old (P1). */
static struct mono_time
admit_begin_by(const struct request *request, struct mono_time now)
{
	const struct config_quota *quota = &request->config->identities[request->caller->identity].quota;

	return request->granted ? mono_add(request->token_asked_at, quota->jitter_us / 2) : mono_add(now, ADMIT_LATE_US);
}

/* A token that was granted before all else is ready lapses where it waits too long: another is asked for. */
static void
admit_watch_token(struct request *request)
{
	struct mono_time now, by;

	if (!request->granted)
		return;
	now = loop_now(request->worker->loop);
	by = admit_begin_by(request, now);
	if (mono_since(now, by) > 0)
		admit_ask_again(request);
	else if (!request->timer.pending)
		request_set_deadline(request, by);
}

void
step_next(struct request *request)
{
	bool trigger = operation_is_trigger(request->route.operation);

	if (admit_interrupted(request))
		return;
	admit_watch_token(request);
	if (!admit_authorized(request) || request->awaits_access)
		return;
	if (trigger && !request->intent_put && !admit_put_intent(request)) {
		admit_refuse_unrecorded(request);
		return;
	}
	if (!admit_connect(request, false))
		return;
	if (trigger && request->intent_done && !request->intent_ok)
		admit_refuse_unrecorded(request);
	else if (request->borrowed && (!trigger || request->intent_done))
		request_goto(request, REQUEST_READY);
	else if (admit_intent_is_quick(request))
		admit_say_ready(request);
}

/* Send: the token is fresh, the intent durable, the connection up. */
static void
admit_send(struct request *request, struct mono_time now)
{
	request->sent = now;
	if (request->attempts++ == 0)
		request->wait_ended = now;
	request->was_sent = true;
	request->turned_back = 0;
	forward_message(request);
	if (request->route.operation == OPERATION_RUN)
		runs_sent(request->worker->shared->runs, request->route.item, request_id(request), now);
	upstream_send(request->call, request->method, admit_begin_by(request, now), mono_add(now, ADMIT_LATE_US));
	poll_sent(request);
	request_goto(request, REQUEST_FORWARDING);
	request_set_deadline(request, mono_add(now, request->config->upstream.timeout_us));
}

void
step_ready(struct request *request)
{
	struct mono_time now;

	if (admit_interrupted(request))
		return;
	if (request->lost_heard) {
		admit_step_back(request, REQUEST_CLAIMING);
		return;
	}
	/* Another connection, since the first one failed; but not where only the turn came too late, which left that as it was. */
	if (!admit_connect(request, request->failure.reason != UPSTREAM_REASON_LATE))
		return;
	now = loop_now(request->worker->loop);
	if (request->granted && mono_since(now, admit_begin_by(request, now)) > 0) {
		admit_ask_again(request);	/* it lapses; another is waited for */
		return;
	}
	admit_say_ready(request);
	if ((request->granted || !operation_is_metered(request->route.operation)) && request->borrowed
	    && admit_still_may(request))
		admit_send(request, now);
}
