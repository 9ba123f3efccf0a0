/* Steps in: who calls, what is asked, whether it may, and whether the body obeys the rules. */
#include "gate/steps.h"

#include "base/log.h"
#include "gate/health.h"
#include "gate/identify.h"
#include "gate/worker.h"
#include "rules/header.h"
#include "rules/jobbody.h"
#include "rules/policy.h"
#include "rules/prefer.h"
#include "rules/scopes.h"
#include "rules/target.h"

/* Our pseudonym in Via (RFC 9110 7.6.3). */
#define IN_PSEUDONYM STR("jobgate")

/* Refuse what the guard could not accept; the front closes behind it. */
static void
in_refuse_fault(struct request *request)
{
	enum http1_fault fault = front_http1_fault(request->client);

	request->must_close = true;
	if (request->fault == FRONT_FAULT_OVERLOAD) {
		request->retry_after_s = 1;
		request_refuse(request, REFUSAL_UNAVAILABLE, "This instance has no room for another connection.");
	} else if (request->fault == FRONT_FAULT_TIMEOUT) {
		request_refuse(request, REFUSAL_TIMEOUT, "The request was not received in time.");
	} else {
		request_refuse(request, refusal_from_http1(fault), "%s.", http1_fault_text(fault));
	}
}

/* What ends a request in any state before it is sent; true where it was ended. */
static bool
in_interrupted(struct request *request)
{
	if (request->client_gone)
		request_refuse(request, REFUSAL_CALLER_GONE, "The caller went before its request was complete.");
	else if (request->faulted)
		in_refuse_fault(request);
	else if (request->draining) {
		request->retry_after_s = 1;
		request->must_close = true;
		request_refuse(request, REFUSAL_UNAVAILABLE, "This instance is shutting down; nothing was sent.");
	}
	if (request->refusal != REFUSAL_NONE)
		request_goto(request, REQUEST_RECORDING);
	return request->refusal != REFUSAL_NONE;
}

/* Whether AUTHORITY is one under which this gateway is reached. */
static bool
in_is_our_authority(const struct config *config, struct str authority)
{
	struct str origin = config->public_origin;
	size_t scheme = str_find(origin, STR("://"));

	if (origin.n && str_eq_nocase(authority, str_sub(origin, scheme + 3, origin.n)))
		return true;
	for (size_t i = 0; i < config->listen_count; i++)
		if (str_eq_nocase(authority, config->listen[i].address))
			return true;
	return false;
}

/* The origin-form of the target; false where it is an absolute-form that is not ours. */
static bool
in_target(struct request *request, struct str *target)
{
	struct str authority, rest;

	*target = front_head(request->client)->target;
	if (target->n == 0 || target->p[0] == '/' || str_eq(*target, STR("*")))
		return true;
	if (!target_split_absolute(*target, &authority, &rest) || !in_is_our_authority(request->config, authority))
		return false;
	*target = rest;
	return true;
}

/* Refuse by the route's verdict. */
static void
in_refuse_route(struct request *request, enum route_verdict verdict)
{
	static const enum refusal refusals[] = {
		[ROUTE_BAD_TARGET] = REFUSAL_BAD_REQUEST,
		[ROUTE_BAD_JOB_TYPE] = REFUSAL_BAD_JOB_TYPE,
		[ROUTE_UNKNOWN] = REFUSAL_NO_ROUTE,
		[ROUTE_BAD_METHOD] = REFUSAL_BAD_METHOD,
	};

	request->allow = request->route.allow;
	request_refuse(request, refusals[verdict], "%s", request->route.fault);
}

/* Recognise what is asked. Malformed targets are refused here and now. */
static enum route_verdict
in_route(struct request *request)
{
	const struct http1_head *head = front_head(request->client);
	struct route_origin origin = { request->config->public_path };
	enum route_verdict verdict;
	struct target split;
	struct str target;

	request->method = arena_copy(&request->arena, head->method);
	if (!in_target(request, &target)) {
		request->must_close = true;
		request_refuse(request, REFUSAL_BAD_REQUEST, "The absolute target names an authority that is not this gateway's.");
		return ROUTE_BAD_TARGET;
	}
	target = arena_copy(&request->arena, target);
	verdict = route_parse(&request->arena, request->method, target, &origin, &request->route);
	if (verdict == ROUTE_BAD_TARGET && target_split(&request->arena, target, &split) != NULL) {
		request->must_close = true;
		in_refuse_route(request, verdict);
	}
	return verdict;
}

/* Keep the caller's own id for the request, where it is one. */
static void
in_take_client_id(struct request *request)
{
	static const struct str names[] = { STR_INIT("X-Request-Id"), STR_INIT("x-ms-client-request-id") };

	for (size_t i = 0; i < 2 && request->client_request_id.p == NULL; i++) {
		const struct http1_field *field = http1_find(front_head(request->client), names[i]);

		if (field && header_is_request_id(field->value))
			request->client_request_id = arena_copy(&request->arena, field->value);
	}
}

/* Whether another route of the API is asked for by one who may use those. */
static bool
in_take_other(struct request *request)
{
	if (!request->route.is_other || !policy_permits_other(request->caller, request->method))
		return false;
	request->route.operation = OPERATION_OTHER;
	return true;
}

/* Refuse a run by a user whose token, which goes upstream as it is, has no scope for it: Fabric would, for a call of the quota. */
static void
in_check_scopes(struct request *request)
{
	struct str collection = request->route.collection, wanted = scopes_wanted(collection);

	if (request->route.operation != OPERATION_RUN || !request->has_scopes || !request->caller->scopes_enforced
	    || authorize_is_ours(request) || scopes_permit_run(request->scopes, collection))
		return;
	if (wanted.p)
		request_refuse(request, REFUSAL_FORBIDDEN, "The token has neither of the scopes Item.Execute.All and %.*s.",
		    STR_ARG(wanted));
	else
		request_refuse(request, REFUSAL_FORBIDDEN, "The token has neither the scope Item.Execute.All nor one of a type's, as "
		    "Notebook.Execute.All.");
}

/* Who is not authenticated again and again gets the answer ever later. */
static void
in_slow(struct request *request)
{
	struct mono_time now = loop_now(request->worker->loop);
	struct buf shown = BUF_EMPTY;
	int64_t delay_us;

	identify_shown(front_head(request->client), &shown);
	delay_us = abuse_failure(request->worker->shared->abuse, &request->address, request->peer, buf_str(&shown), now);
	buf_wipe(&shown);
	if (delay_us == 0)
		return;
	request->slow_until = mono_add(now, delay_us);
	front_pause(request->client);
}

/* Refuse what the caller may not do. */
static void
in_permit(struct request *request)
{
	if (request->route.operation != OPERATION_OTHER && !policy_permits(request->caller, &request->route))
		request_refuse(request, REFUSAL_FORBIDDEN, "Caller %.*s may not %.*s here.",
		    STR_ARG(request->caller->name), STR_ARG(operation_name(request->route.operation)));
	else
		in_check_scopes(request);
}

void
step_head(struct request *request)
{
	enum route_verdict verdict;

	if (in_interrupted(request))
		return;
	if (health_answer(request)) {
		request_goto(request, REQUEST_RECORDING);
		return;
	}
	in_take_client_id(request);
	request->prefer_wait_s = prefer_wait_s(front_head(request->client));
	verdict = in_route(request);
	if (request->refusal == REFUSAL_NONE)
		identify_caller(request);
	if (request->refusal == REFUSAL_UNAUTHENTICATED)
		in_slow(request);
	if (request->refusal == REFUSAL_NONE && verdict != ROUTE_OK && !in_take_other(request))
		in_refuse_route(request, verdict);
	if (request->refusal == REFUSAL_NONE && header_is_loop(front_head(request->client), IN_PSEUDONYM))
		request_refuse(request, REFUSAL_BAD_REQUEST, "The request has passed this gateway before.");
	if (request->refusal == REFUSAL_NONE)
		in_permit(request);
	if (request->refusal == REFUSAL_NONE)
		claim_keep_key(request);
	if (request->refusal == REFUSAL_NONE) {
		const struct http1_field *coding = http1_find(front_head(request->client), STR("Content-Encoding"));

		request->body_is_coded = coding && !str_eq_nocase(coding->value, STR("identity"));
		poll_begin(request);
	}
	request_goto(request, request->refusal == REFUSAL_NONE ? REQUEST_BODY : REQUEST_RECORDING);
}

/* Name every fault of the body, in the answer or, where the caller is only watched, in the log. */
static void
in_report_body(struct request *request, const struct jobbody_result *result)
{
	if (request->caller->validate == CONFIG_VALIDATE_REPORT) {
		log_line(LOG_WARN, "body would be refused", log_s("request_id", request_id(request)),
		    log_s("caller", request->caller->name), log_s("message", result->message));
		return;
	}
	request_refuse(request, REFUSAL_BAD_PARAMETER, "%.*s", STR_ARG(result->message));
	for (size_t i = 0; i < result->fault_count; i++)
		request_add_detail(request, str_from(result->faults[i].code), result->faults[i].message);
}

/* Check the body of a run. */
static void
in_validate(struct request *request)
{
	struct jobbody_result result = { .ok = false };

	if (request->route.operation != OPERATION_RUN || request->caller->validate == CONFIG_VALIDATE_OFF)
		return;
	if (request->body_is_coded && request->body.n > 0)
		result.message = STR("The body has a Content-Encoding and cannot be checked; send it plain.");
	else
		jobbody_check(&request->arena, buf_str(&request->body), &result);
	if (!result.ok)
		in_report_body(request, &result);
}

void
step_body(struct request *request)
{
	if (in_interrupted(request))
		return;
	if (!request->body_came)
		return;
	request->body = buf_take(front_body(request->client));
	request->body_bytes = (int64_t)request->body.n;
	in_validate(request);
	if (request->refusal != REFUSAL_NONE)
		request_goto(request, REQUEST_RECORDING);
	else
		request_goto(request, request->poll.phase == POLL_NEW ? REQUEST_POLLING : REQUEST_CLAIMING);
}
