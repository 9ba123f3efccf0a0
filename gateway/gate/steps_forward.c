/* Step of forwarding: what came of a request that was sent. */
#include "gate/steps.h"

#include <stdio.h>
#include "gate/worker.h"
#include "rules/retry.h"

/* A request is sent at most so often: once, and twice again after a 429. */
#define FORWARD_ATTEMPTS_MAX 3

/* Whether the upstream's answer leaves open if a job was started (contract, the 409 row). */
static bool
forwarding_is_ambiguous(const struct request *request)
{
	int status = request->upstream_status;

	if (!operation_starts_job(request->route.operation) || request->upstream_retriable)
		return false;
	return status == 408 || status == 500 || status == 502 || status == 503 || status == 504;
}

/* What the record says of a whole answer. */
static enum record_result
forwarding_result(const struct request *request)
{
	int status = request->upstream_status;

	if (status >= 200 && status < 300)
		return RESULT_ACCEPTED;
	if ((status >= 500 || status == 408) && !request->upstream_retriable)
		return RESULT_UNKNOWN;	/* of a cancel or a schedule's change: relayed as it is, not known what it did */
	return RESULT_REJECTED;
}

/* Say that the fate is unknown, with a status that the known clients do not retry. */
static void
forwarding_refuse_unknown(struct request *request, const char *why)
{
	char detail[160];

	request->result = RESULT_UNKNOWN;
	if (!operation_starts_job(request->route.operation))
		return;
	request_refuse(request, REFUSAL_OUTCOME_UNKNOWN,
	    "The request was sent, and %s: whether it started anything is not known. Look at the item's instances before "
	    "sending it again.", why);
	if (request->upstream_status && request->detail_count == 0) {
		snprintf(detail, sizeof(detail), "The upstream answered %d.", request->upstream_status);
		request_add_detail(request,
		    request->upstream_error_code.p ? request->upstream_error_code : STR("UpstreamStatus"), str_from(detail));
	}
}

/* Whether a request that was not executed may still wait for another token of the bucket. */
static bool
forwarding_may_wait(const struct request *request)
{
	return !request->late && !request->client_gone && !request->draining && !request->aborted;
}

/* Whether a request that was answered 429, and so not executed, may be sent again; once more where a 401 came between. */
static bool
forwarding_may_replay(const struct request *request)
{
	return request->config->upstream.replay_429 && forwarding_may_wait(request)
	    && request->attempts < FORWARD_ATTEMPTS_MAX + (request->reauthorized ? 1 : 0);
}

void
forwarding_forget(struct request *request)
{
	const struct str none = { NULL, 0 };
	int status = request->upstream_status;

	stats_add(&request->worker->stats->upstream[stats_identity_slot(request->caller->identity)][stats_code_slot(status)], 1);
	upstream_cancel(&request->call);
	buf_clear(&request->answer.body);
	request->answer.status = request->upstream_status = 0;
	request->answer.field_count = 0;
	request->upstream_error_code = request->upstream_request_id = request->location = request->instance_id = none;
	request->upstream_retriable = request->borrowed = request->retried = request->asked = false;
	request->limiter_final = false;
	request->borrows = 0;
}

/* Nothing was executed, and it may be sent again: tell those who were told that it was sent. */
static void
forwarding_take_back(struct request *request)
{
	const struct str none = { NULL, 0 };

	poll_turned_back(request);
	if (request->route.operation == OPERATION_RUN)
		runs_ended(request->worker->shared->runs, request_id(request), RUNS_NOTHING, none);
}

/* Wait again, since nothing was executed. */
static void
forwarding_rewind(struct request *request)
{
	int status = request->upstream_status;

	forwarding_forget(request);
	forwarding_take_back(request);
	request->turned_back = status;
	request_goto(request, REQUEST_WAITING);
}

/* The upstream wants a pause: everyone keeps it. True where the request waits again. */
static bool
forwarding_throttled(struct request *request)
{
	struct limiter_ask whose = { .config = request->config };
	struct str after = { NULL, 0 };

	admit_name_bucket(request, &whose);
	for (size_t i = 0; i < request->answer.field_count; i++)
		if (str_eq_nocase(request->answer.fields[i].name, STR("Retry-After")))
			after = request->answer.fields[i].value;
	limiter_throttled(request->worker->shared->limiter, &whose, retry_after_us(after, clock_now_wall()));
	if (!forwarding_may_replay(request))
		return false;
	forwarding_rewind(request);
	return true;
}

/* The upstream refuses the identity's token: nothing was executed. Another token is tried once. */
static void
forwarding_turned_away(struct request *request)
{
	authorize_again(request);
	if (!request->reauthorized && forwarding_may_wait(request)) {
		request->reauthorized = true;
		forwarding_rewind(request);
		return;
	}
	request->result = RESULT_REJECTED;
	request_refuse(request, REFUSAL_CREDENTIAL, "The upstream refused the credential of identity %.*s; nothing was executed.",
	    STR_ARG(request->config->identities[request->caller->identity].name));
	request_goto(request, REQUEST_RECORDING);
}

/* The upstream has answered in whole. */
static void
forwarding_answered(struct request *request)
{
	request->result = forwarding_result(request);
	if (forwarding_is_ambiguous(request))
		forwarding_refuse_unknown(request, "the upstream failed while it was handling it");
}

/* The call ended without a whole answer; true where it may go on another connection. */
static bool
forwarding_failed(struct request *request)
{
	const struct upstream_failure *failure = &request->failure;
	bool late = failure->reason == UPSTREAM_REASON_TIMEOUT;

	if (failure->written_bytes == 0) {
		if ((!request->retried || failure->reason == UPSTREAM_REASON_LATE) && !request->late && !request->client_gone)
			return true;
		request->result = RESULT_FAILED;
		request_refuse(request, late ? REFUSAL_UPSTREAM_TIMEOUT : REFUSAL_UPSTREAM,
		    "The upstream could not be reached (%s); nothing was sent.", upstream_reason_name(failure->reason));
		return false;
	}
	forwarding_refuse_unknown(request, late ? "no answer came in time" : "no whole answer came back");
	request_refuse(request, late ? REFUSAL_UPSTREAM_TIMEOUT : REFUSAL_UPSTREAM,
	    "The upstream gave no usable answer (%s: %s).", upstream_phase_name(failure->phase),
	    upstream_reason_name(failure->reason));
	return false;
}

/* Nothing of it was written: it is as if it had not been sent, and whatever ends it now ends it unsent. */
static void
forwarding_unsend(struct request *request)
{
	forwarding_take_back(request);
	request->retried = request->retried || request->failure.reason != UPSTREAM_REASON_LATE;
	request->was_sent = false;
	request->attempts--;
}

/* upstream.timeout is over: answer the caller; a trigger's job half reads on so that its record learns the truth. */
static void
forwarding_late(struct request *request)
{
	request->late = true;
	if (upstream_written(request->call) == 0) {
		request->result = RESULT_FAILED;
		request_refuse(request, REFUSAL_UPSTREAM_TIMEOUT, "The upstream took nothing in time; nothing was sent.");
		request_goto(request, REQUEST_RECORDING);
		return;
	}
	forwarding_refuse_unknown(request, "no answer came in time");
	request_refuse(request, REFUSAL_UPSTREAM_TIMEOUT, "The upstream did not answer within %lld s.",
	    (long long)(request->config->upstream.timeout_us / CLOCK_SECOND));
	claim_lose(request);
	lost_lose(request);
	if (operation_is_trigger(request->route.operation))
		step_out_answer(request);
	else
		request_goto(request, REQUEST_RECORDING);
}

/* The instance ends: what is open is recorded as unknown. */
static void
forwarding_aborted(struct request *request)
{
	forwarding_refuse_unknown(request, "this instance had to end before the answer came");
	request_refuse(request, REFUSAL_UNAVAILABLE, "This instance had to end before the upstream answered.");
	request_goto(request, REQUEST_RECORDING);
}

void
step_forwarding(struct request *request)
{
	if (request->upstream_status == 429 && operation_is_metered(request->route.operation) && forwarding_throttled(request))
		return;
	if (request->upstream_status == 401 && authorize_is_ours(request)) {
		forwarding_turned_away(request);
	} else if (request->upstream_status) {
		forwarding_answered(request);
		if (!poll_hand_over(request))
			request_goto(request, REQUEST_RECORDING);
	} else if (request->call_failed) {
		bool again = forwarding_failed(request);

		upstream_cancel(&request->call);
		request->borrowed = request->call_failed = false;
		if (again)
			forwarding_unsend(request);
		request_goto(request, again ? REQUEST_READY : REQUEST_RECORDING);
	} else if (request->aborted) {
		forwarding_aborted(request);
	} else if (request->timer_due && !request->late) {
		forwarding_late(request);
	}
}
