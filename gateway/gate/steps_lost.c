/* Steps of a run without a key: it gets the answer that an identical one before it has lost, and remembers what it loses itself. */
#include "gate/steps.h"

#include <string.h>

#include "gate/undelivered.h"
#include "gate/worker.h"

/* How often who waits for another instance's flight looks how that goes. */
#define LOST_LOOK_US (200 * CLOCK_MS)
/* A flight has landed by upstream.timeout, and what is remembered of it has been written by then. */
#define LOST_FLIGHT_MARGIN_US (10 * (int64_t)CLOCK_SECOND)

const uint8_t *
lost_name_of(struct request *request)
{
	struct str texts[] = { request->caller->name, request->principal, request->method, request->route.upstream_target,
		request->client_request_id };

	if (!request->lost_named)
		claim_digest(request, texts, sizeof(texts) / sizeof(texts[0]), true, request->lost_name);
	request->lost_named = true;
	return request->lost_name;
}

/* Watch a run: whether an identical one before it has lost its answer, and whether it loses its own. */
static void
lost_watch(struct request *request)
{
	if (request->route.operation != OPERATION_RUN || request->config->idempotency.undelivered_us == 0)
		return;
	request->lost_watched = true;
	request->lost_tag = request->config->identities[request->caller->identity].name;
	if (request->config->identities[request->caller->identity].per_token && request->principal.n > 0)	/* as limiter_principal has it */
		request->lost_tag = arena_printf(&request->arena, "%.*s/%.*s", STR_ARG(request->lost_tag), STR_ARG(request->principal));
}

/* Whether other instances are looked at. */
static bool
lost_has_fleet(const struct request *request)
{
	return request->config->store.redis;
}

/* Look for one of this instance that has lost its answer. */
static void
lost_look_for(struct request *request)
{
	struct undelivered *undelivered = request->worker->shared->undelivered;
	struct lost_who who = { .worker = (uint16_t)request->worker->index, .slot = request->ticket.slot };

	memcpy(who.id, request->id, sizeof(who.id));
	if (undelivered_is_empty(undelivered))
		request->lost_found = (struct lost_found){ .state = LOST_NONE };
	else
		undelivered_look(undelivered, lost_name_of(request), &who, loop_now(request->worker->loop), &request->lost_found);
	request->lost_joined = request->lost_found.state == LOST_FLYING;
	request->lost_said = !request->lost_joined;
}

/* It ends unsent: where it was sent before and turned back, that is the last that was heard of it. */
static void
lost_recall(struct request *request)
{
	if (request->turned_back == 0)
		return;
	request->upstream_status = request->turned_back;
	request->result = RESULT_REJECTED;
}

/* Do what was found. */
static void
lost_decide(struct request *request)
{
	const struct lost_found *found = &request->lost_found;

	request->replayed = found->state != LOST_NONE;
	if (request->replayed)
		lost_recall(request);
	memcpy(request->first_id, found->first, sizeof(request->first_id));
	if (found->state == LOST_ANSWERED)
		claim_take_answer(request, buf_str(&found->answer));
	else if (found->state == LOST_UNKNOWN)
		request_refuse(request, REFUSAL_OUTCOME_UNKNOWN, "The identical request %.*s was sent, and whether it started anything is not known. "
		    "Look at the item's instances; one with an X-Request-Id of its own is sent at once.", CLAIM_ID_BYTES, found->first);
	request->lost_joined = request->lost_said = request->lost_heard = false;
	request->lost_since = (struct mono_time){ 0 };
	request_goto(request, request->replayed ? REQUEST_RECORDING : REQUEST_WAITING);
}

/* Ask what the fleet has; an answer there is then this one's alone. */
static void
lost_ask_fleet(struct request *request)
{
	struct lost_who who = { .worker = (uint16_t)request->worker->index, .slot = request->ticket.slot };

	memcpy(who.id, request->id, sizeof(who.id));
	request->lost_asked = true;
	request->lost_heard = false;
	claims_look(request->worker->shared->claims, &who, request->lost_tag, lost_name_of(request));
}

void
lost_hear(struct request *request, bool away, struct str text)
{
	request->lost_asked = false;
	request->lost_heard = true;
	request->lost_away = away;
	lost_text_read(arena_copy(&request->arena, text), &request->lost_text);
}

/* Another instance's is in flight: its end is what this one gets, unless that has ended without a word. */
static void
lost_wait(struct request *request)
{
	struct mono_time now = loop_now(request->worker->loop);

	if (request->lost_since.us == 0)
		request->lost_since = now;
	request->lost_heard = false;
	request_set_deadline(request, mono_add(now, LOST_LOOK_US));
}

/* Take what was heard for what was found. */
static void
lost_take_heard(struct request *request, enum lost_state state)
{
	struct lost_found *found = &request->lost_found;

	buf_fini(&found->answer);
	found->state = state;
	if (request->lost_text.first.n == sizeof(found->first))
		memcpy(found->first, request->lost_text.first.p, sizeof(found->first));
	if (state == LOST_ANSWERED) {
		buf_add(&found->answer, request->lost_text.answer);
		undelivered_forget(request->worker->shared->undelivered, lost_name_of(request), found->first);
	}
	request->lost_said = true;
}

/* The store does not say, so it is this instance's own; what was to be written there of it is followed by that it is over. */
static void
lost_take_own(struct request *request)
{
	undelivered_land(request->worker->shared->undelivered, request->lost_tag, lost_name_of(request), request->lost_found.first, LOST_NONE,
	    STR(""), 0, loop_now(request->worker->loop));
	request->lost_said = true;
}

/* This instance has something, or nothing: an answer may have been taken by another already. */
static void
lost_look_here(struct request *request)
{
	lost_look_for(request);
	if (request->lost_found.state == LOST_ANSWERED && lost_has_fleet(request)) {
		request->lost_said = false;
		lost_ask_fleet(request);
	}
}

/* Whether what is in flight is this instance's own: it is joined, or has landed. */
static bool
lost_found_here(struct request *request)
{
	lost_look_here(request);
	if (request->lost_found.state != LOST_NONE)
		return true;
	request->lost_said = false;
	return false;
}

/* The fleet has told what it has. */
static void
lost_decide_heard(struct request *request)
{
	bool patient = request->lost_since.us == 0
	    || mono_since(loop_now(request->worker->loop), request->lost_since) < request->config->upstream.timeout_us + LOST_FLIGHT_MARGIN_US;

	if (request->lost_away && request->lost_found.state == LOST_ANSWERED)
		lost_take_own(request);
	else if (request->lost_text.state == LOST_FLYING && request->lost_since.us == 0 && lost_found_here(request))
		request->lost_heard = false;
	else if (request->lost_text.state == LOST_FLYING || request->lost_away) {
		if (patient)
			lost_wait(request);
		else
			lost_take_heard(request, LOST_UNKNOWN);
	} else if (request->lost_since.us != 0 && !request->lost_text.was)
		lost_take_heard(request, LOST_UNKNOWN);		/* the instance has died with it */
	else
		lost_take_heard(request, request->lost_text.state);
}

void
lost_step(struct request *request)
{
	if (!request->lost_watched)
		lost_watch(request);
	if (!request->lost_watched) {
		request_goto(request, REQUEST_WAITING);
		return;
	}
	if (request->lost_heard)
		lost_decide_heard(request);
	else if (request->timer_due) {
		request->timer_due = false;
		lost_ask_fleet(request);
	} else if (!request->lost_joined && !request->lost_said && !request->lost_asked && !request->timer.pending)
		lost_look_here(request);
	if (request->lost_said)
		lost_decide(request);
}

bool
lost_since(struct request *request)
{
	return request->lost_watched && lost_found_here(request);
}

/* An answer that it has taken, here or of the fleet's, and goes without. */
static void
lost_give_back(struct request *request)
{
	const struct lost_found *found = &request->lost_found;
	bool heard = request->lost_heard && request->lost_text.state == LOST_ANSWERED;

	if (heard)
		lost_take_heard(request, LOST_ANSWERED);
	if (request->lost_watched && found->state == LOST_ANSWERED)
		undelivered_land(request->worker->shared->undelivered, request->lost_tag, lost_name_of(request), found->first, LOST_ANSWERED,
		    buf_str(&found->answer), request->config->idempotency.undelivered_us, loop_now(request->worker->loop));
}

void
lost_leave_it(struct request *request)
{
	struct undelivered *undelivered = request->worker->shared->undelivered;

	lost_recall(request);
	if (!request->lost_joined) {
		lost_give_back(request);
		return;
	}
	if (!request->lost_said)
		undelivered_leave(undelivered, lost_name_of(request), request->id);
	else if (request->lost_found.state == LOST_ANSWERED)	/* it came in the same turn in which this one goes */
		undelivered_land(undelivered, request->lost_tag, lost_name_of(request), request->lost_found.first, LOST_ANSWERED,
		    buf_str(&request->lost_found.answer), request->config->idempotency.undelivered_us, loop_now(request->worker->loop));
	request->lost_joined = false;
}

void
lost_fly_alone(struct request *request)
{
	if (request->lost_watched && request->was_sent && (request->state == REQUEST_FORWARDING || request->state == REQUEST_RECORDING))
		undelivered_fly(request->worker->shared->undelivered, request->lost_tag, lost_name_of(request), request->id,
		    request->config->upstream.timeout_us + LOST_FLIGHT_MARGIN_US);
}

/* Remember how it has ended; or tell who has joined it. */
static void
lost_land_as(struct request *request, enum lost_state state)
{
	struct buf text = BUF_EMPTY;

	if (state == LOST_ANSWERED)
		claim_keep_answer(request, &text);
	undelivered_land(request->worker->shared->undelivered, request->lost_tag, lost_name_of(request), request->id, state, buf_str(&text),
	    request->config->idempotency.undelivered_us, loop_now(request->worker->loop));
	buf_fini(&text);
}

void
lost_lose(struct request *request)
{
	if (request->lost_watched)
		lost_land_as(request, LOST_UNKNOWN);
}

struct delivery *
lost_delivery(struct request *request)
{
	struct deliveries *deliveries = &request->worker->deliveries;
	int64_t keep_us = request->config->idempotency.undelivered_us;
	struct buf text;

	if (!request->lost_watched || request->refusal != REFUSAL_NONE)
		return NULL;
	if (request->replayed)
		return delivery_new(deliveries, request->lost_tag, lost_name_of(request), request->first_id, &request->lost_found.answer, keep_us);
	if (claim_fate_of(request) != CLAIM_FATE_FINISH)
		return NULL;
	text = spare_bufs_take(&deliveries->answer_memory);
	claim_keep_answer(request, &text);
	return delivery_new(deliveries, request->lost_tag, lost_name_of(request), request->id, &text, keep_us);
}

/* The answer that it was to replay is lost once more. */
static void
lost_again(struct request *request)
{
	undelivered_land(request->worker->shared->undelivered, request->lost_tag, lost_name_of(request), request->first_id, LOST_ANSWERED,
	    buf_str(&request->lost_found.answer), request->config->idempotency.undelivered_us, loop_now(request->worker->loop));
}

void
lost_end(struct request *request)
{
	bool told = request->answered != 0 && !request->late;	/* the delivery sees to it */

	if (!request->lost_watched)
		return;
	if (request->replayed) {
		if (!told && request->lost_found.state == LOST_ANSWERED)
			lost_again(request);
		return;
	}
	if (!request->was_sent)
		return;
	switch (claim_fate_of(request)) {
	case CLAIM_FATE_WITHDRAW:
		lost_land_as(request, LOST_NONE);
		break;
	case CLAIM_FATE_UNKNOWN:
		if (!request->late)	/* else it is, since then */
			lost_land_as(request, LOST_UNKNOWN);
		break;
	case CLAIM_FATE_FINISH:
		if (!told)
			lost_land_as(request, LOST_ANSWERED);
		break;
	}
}
