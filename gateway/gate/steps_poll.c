/* Step of polling: what is kept answers, or another's call, or this request leads one. */
#include "gate/steps.h"

#include <string.h>

#include "base/check.h"
#include "gate/worker.h"

/* A poll that nobody could be admitted for comes back no later than this. */
#define POLL_RETRY_AFTER_MAX_S 60

/* The first bytes of the SHA-256 of TEXT. */
static void
poll_digest(const struct buf *text, uint8_t out[POLL_DIGEST_BYTES])
{
	uint8_t digest[32];

	digest_sha256(buf_str(text), digest);
	memcpy(out, digest, POLL_DIGEST_BYTES);
}

void
poll_begin(struct request *request)
{
	const struct http1_head *head = front_head(request->client);
	struct poll_wish wish = poll_read_wish(head);
	struct request_poll *poll = &request->poll;

	if (request->config->polls.refresh_us == 0 || !poll_is_one(request->route.operation) || wish.conditional)
		return;
	poll->phase = POLL_NEW;
	poll->max_age_us = wish.max_age_us;
	poll->changes = request->route.operation == OPERATION_GET && request->prefer_wait_s > 0
	    && str_eq(request->method, STR("GET"));
	forward_head_keep(request);	/* its name is made of it */
}

/* The hash of what goes upstream as Authorization, of no use to whoever would try tokens at another entry. */
static void
poll_hash_token(struct request *request, const struct http1_head *head)
{
	struct request_poll *poll = &request->poll;
	struct buf shown = BUF_EMPTY;
	uint8_t digest[32];

	for (size_t i = 0; i < head->field_count && !authorize_is_ours(request) && !request->key_in_authorization; i++)
		if (str_eq_nocase(head->fields[i].name, STR("Authorization"))) {
			buf_room(&shown, 2 * (shown.n + head->fields[i].value.n));
			buf_add(&shown, head->fields[i].value);
		}
	digest_hmac_sha256((struct str){ (const char *)&poll->id, sizeof(poll->id) }, buf_str(&shown), digest);
	memcpy(poll->token, digest, sizeof(poll->token));
	buf_wipe(&shown);
}

void
poll_name(struct request *request, struct str selecting)
{
	const struct route *route = &request->route;
	struct request_poll *poll = &request->poll;
	struct buf text = BUF_EMPTY;

	if (poll->phase == POLL_OFF)
		return;
	poll_add_key(&text, &request->config->identities[request->caller->identity], route, selecting);
	poll_digest(&text, poll->id.key);
	buf_clear(&text);
	poll_add_resource(&text, route->workspace, route->item, route->instance);
	poll_digest(&text, poll->id.resource);
	buf_fini(&text);
	poll_hash_token(request, front_head(request->client));
}

/* Whose queue the request's call would wait in: its caller's, or its token's principal's. */
static uint64_t
poll_queue(const struct request *request)
{
	const struct config_identity *identity = &request->config->identities[request->caller->identity];
	uint64_t caller = request->caller->index;

	return identity->per_token ? str_hash(caller, request->principal) : caller;
}

/* Ask what is known. */
static void
poll_ask(struct request *request)
{
	struct request_poll *poll = &request->poll;
	struct polls_ask ask = {
		.id = poll->id,
		.fleet = request->route.operation == OPERATION_GET,
		.shared = authorize_is_ours(request),
		.caller = poll_queue(request),
		.peek = str_eq(request->method, STR("HEAD")),
		.changes = poll->changes,
		.max_age_us = poll->max_age_us,
		.keep_bytes = request->route.operation == OPERATION_GET ? POLL_INSTANCE_BYTES : POLL_LIST_BYTES,
		.changes_max = (size_t)request->config->wait_queue,
		.config = request->config->polls,
	};

	admit_begin_wait(request);
	poll->ticket = ask.ticket = worker_ticket(request->worker, request);
	memcpy(ask.token, poll->token, sizeof(ask.token));
	poll->phase = POLL_ASKED;
	polls_ask(request->worker->shared->polls, &ask);
}

/* Say how old an answer of status 200 is. */
static void
poll_say_age(struct request *request, const struct poll_answer *kept)
{
	int64_t age_us = mono_since(loop_now(request->worker->loop), kept->came);
	struct request_answer *answer = &request->answer;

	answer->field_count = poll_date(&request->arena, answer->fields, answer->field_count, age_us,
	    kept->stands_us - age_us, kept->state.terminal);
}

/* Take what another call than this request's own has brought. */
static void
poll_take_answer(struct request *request, const struct poll_answer *kept)
{
	int own_status = request->upstream_status;
	struct upstream_response response;
	struct http1_head head;

	response = poll_answer_read(kept, &head);
	buf_clear(&request->answer.body);
	forward_answer_take(request, &response);
	request->upstream_status = own_status;	/* it is counted by who has received it */
	request->wait_ended = loop_now(request->worker->loop);
	if (kept->status == 200)
		poll_say_age(request, kept);
}

/* Take over an answer in place of a refusal, if there was to be one. */
static void
poll_answered(struct request *request)
{
	struct polls_event *event = request->poll.event;

	request->poll.how = event->how;
	request->refusal = REFUSAL_NONE;
	request->message = (struct str){ NULL, 0 };
	request->retry_after_s = 0;
	if (event->answer != request->poll.result)
		poll_take_answer(request, event->answer);
	else if (event->how != POLLS_MISS)
		poll_say_age(request, event->answer);	/* its own, that it has waited on behind */
	request_goto(request, REQUEST_RECORDING);
}

/* Nothing is known, and nobody's call was admitted in time. */
static void
poll_refuse(struct request *request)
{
	const struct config_identity *identity = &request->config->identities[request->caller->identity];
	int64_t refresh_s = request->config->polls.refresh_us / CLOCK_SECOND;
	int64_t later_s = refresh_s > POLL_RETRY_AFTER_MAX_S ? POLL_RETRY_AFTER_MAX_S : refresh_s;

	request->wait_ended = loop_now(request->worker->loop);
	if (request->retry_after_s == 0)
		request->retry_after_s = later_s > 0 ? later_s : 1;
	if (request->draining)
		request_refuse(request, REFUSAL_UNAVAILABLE, "This instance is shutting down; nothing was sent.");
	else
		request_refuse(request, REFUSAL_QUOTA,
		    "Identity %.*s has no call left in time (%lld calls per %lld s for all "
		    "callers), and no earlier answer is known; retry in %d s.", STR_ARG(identity->name),
		    (long long)identity->quota.requests, (long long)(identity->quota.window_us / CLOCK_SECOND),
		    (int)request->retry_after_s);
	request_goto(request, REQUEST_RECORDING);
}

/* Go upstream: for all who ask, or for this request alone. */
static void
poll_fetch(struct request *request, bool leads)
{
	request->poll.phase = leads ? POLL_LEADS : POLL_OFF;
	request->poll.how = POLLS_MISS;
	poll_answer_unref(&request->poll.result);
	if (request->upstream_status)	/* it has led before, and waits for a change */
		forwarding_forget(request);
	request->attempts = 0;
	request->reauthorized = false;
	request->received.us = 0;
	request_goto(request, REQUEST_WAITING);
}

/* Do as the polls say. */
static void
poll_obey(struct request *request)
{
	struct polls_event *event = request->poll.event;

	request->poll.said = false;
	request->poll.phase = POLL_OVER;
	switch (event->word) {
	case POLLS_FETCH:
		poll_fetch(request, true);
		break;
	case POLLS_PASS:
		poll_fetch(request, false);
		break;
	case POLLS_ANSWER:
		poll_answered(request);
		break;
	case POLLS_NOTHING:
		poll_refuse(request);
		break;
	case POLLS_FAILED:
		request->poll.how = event->how;
		request->wait_ended = loop_now(request->worker->loop);
		request_refuse(request, event->refusal, "%s", event->message);
		request_goto(request, REQUEST_RECORDING);
		break;
	}
	poll_answer_unref(&event->answer);
}

/* Leave when the time is up, or at once where the instance ends. */
static void
poll_look_at_time(struct request *request)
{
	struct request_poll *poll = &request->poll;

	if (request->draining && !poll->left_at_once) {
		poll->left_at_once = true;
		polls_leave(request->worker->shared->polls, poll->ticket, true);
	} else if (request->timer_due && !poll->left) {
		poll->left = true;
		polls_leave(request->worker->shared->polls, poll->ticket, false);
	} else if (!request->timer.pending && !poll->left) {
		request_set_deadline(request, mono_add(request->wait_began, request->wait_max_us));
	}
}

void
step_polling(struct request *request)
{
	struct request_poll *poll = &request->poll;

	if (request->client_gone) {
		if (poll->phase == POLL_ASKED)
			polls_cancel(request->worker->shared->polls, poll->ticket);
		poll->phase = POLL_OVER;
		request_refuse(request, REFUSAL_CALLER_GONE, "The caller went while its request was waiting.");
		request_goto(request, REQUEST_RECORDING);
		return;
	}
	if (poll->phase == POLL_NEW)
		poll_ask(request);
	if (poll->said)
		poll_obey(request);
	else
		poll_look_at_time(request);
}

/* Wait again to be told something. */
static void
poll_return(struct request *request)
{
	struct request_poll *poll = &request->poll;

	poll->phase = POLL_ASKED;
	poll->left = poll->left_at_once = false;
	request_goto(request, REQUEST_POLLING);
}

void
poll_sent(struct request *request)
{
	if (request->poll.phase == POLL_LEADS)
		polls_sent(request->worker->shared->polls, request->poll.ticket);
}

void
poll_turned_back(struct request *request)
{
	if (request->poll.phase == POLL_LEADS)
		polls_turned_back(request->worker->shared->polls, request->poll.ticket);
}

void
poll_keep(struct request *request, const struct upstream_response *response)
{
	struct request_poll *poll = &request->poll;

	if (poll->phase != POLL_LEADS)
		return;
	request->received = loop_now(request->worker->loop);
	poll_answer_unref(&poll->result);
	poll->result = poll_answer_new(response, request->route.operation, &request->config->polls, request->sent,
	    request->received);
}

bool
poll_hand_over(struct request *request)
{
	struct request_poll *poll = &request->poll;

	if (poll->phase != POLL_LEADS)
		return false;
	check(poll->result != NULL);
	poll->phase = POLL_OVER;
	polls_result(request->worker->shared->polls, poll->ticket, poll_answer_ref(poll->result));
	if (!polls_tells_leader(poll->result->status))
		return false;
	upstream_cancel(&request->call);
	request->borrowed = false;
	poll_return(request);
	return true;
}

bool
poll_recalled(struct request *request)
{
	if (!request->poll.said)
		return false;
	poll_return(request);
	return true;
}

bool
poll_ask_for_last(struct request *request)
{
	struct request_poll *poll = &request->poll;

	if (poll->phase != POLL_LEADS || request->client_gone)
		return false;
	polls_unsent(request->worker->shared->polls, poll->ticket, true);
	poll_return(request);
	return true;
}

/* Tell that a cancel, or a submission, has changed something. */
static void
poll_tell_change(struct request *request)
{
	const struct str none = { NULL, 0 };
	const struct route *route = &request->route;
	struct polls *polls = request->worker->shared->polls;
	uint8_t resource[POLL_DIGEST_BYTES];
	struct buf text = BUF_EMPTY;

	if (!polls_are_idle(polls)) {
		poll_add_resource(&text, route->workspace, route->item, none);
		poll_digest(&text, resource);
		polls_invalidate(polls, resource, false);	/* lists are not shared */
	}
	if (route->operation == OPERATION_CANCEL) {
		buf_clear(&text);
		poll_add_resource(&text, route->workspace, route->item, route->instance);
		poll_digest(&text, resource);
		polls_invalidate(polls, resource, true);
	}
	buf_fini(&text);
}

void
poll_end(struct request *request)
{
	enum operation op = request->route.operation;
	struct request_poll *poll = &request->poll;
	struct polls *polls = request->worker->shared->polls;

	if (request->was_sent && (op == OPERATION_RUN || op == OPERATION_CANCEL)
	    && request->config->polls.refresh_us > 0)
		poll_tell_change(request);
	if (poll->phase != POLL_LEADS)
		return;
	poll->phase = POLL_OVER;
	/* Who went, or had no call left, says nothing of the others. */
	if (request->refusal == REFUSAL_CALLER_GONE || refusal_status(request->refusal) == 429 || request->draining)
		polls_unsent(polls, poll->ticket, false);
	else
		polls_failed(polls, poll->ticket, request->refusal, request->message);
}
