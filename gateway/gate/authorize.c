/* As whom the upstream is called: the caller with its own token, or the identity with one of the gateway's. */
#include "gate/steps.h"
#include "gate/worker.h"

/* A token endpoint that is down is asked again at most so much later (token_backoff_us, its middle). */
#define AUTHORIZE_RETRY_AFTER_S 10

bool
authorize_is_ours(const struct request *request)
{
	/* Routes beside the job scheduler's go with the caller's own token alone. */
	return request->caller && operation_is_metered(request->route.operation)
	    && request->config->identities[request->caller->identity].credential.kind != CONFIG_CREDENTIAL_NONE;
}

/* What the worker knows of the identity's token. */
static const struct access_token *
authorize_access(const struct request *request)
{
	return worker_access(request->worker, request->caller->identity);
}

/* Whether there is a token that may be sent; after a 401 it must be another one. */
static bool
authorize_has_token(const struct request *request)
{
	const struct access_token *access = authorize_access(request);

	return access_token_is_usable(access, loop_now(request->worker->loop))
	    && (request->turned_back != 401 || access->version != request->access_version);
}

/* Whether asking the endpoint has led to nothing, so that waiting is of no use. */
static bool
authorize_is_refused(const struct request *request)
{
	const struct access_token *access = authorize_access(request);

	if (access == NULL)
		return false;
	return access->refused || (request->turned_back == 401 && access->round > request->access_round);
}

/* Refuse because there is no token; nothing was sent, or what was sent was answered 401. */
static void
authorize_refuse(struct request *request)
{
	struct str identity = request->config->identities[request->caller->identity].name;

	if (request->turned_back == 401) {
		request_refuse(request, REFUSAL_CREDENTIAL, "The upstream refused the credential of identity %.*s, and there is no other "
		    "token; nothing was executed.", STR_ARG(identity));
	} else if (authorize_is_refused(request)) {
		request_refuse(request, REFUSAL_CREDENTIAL, "The token endpoint refused the credential of identity %.*s; nothing was sent.",
		    STR_ARG(identity));
	} else {
		request->retry_after_s = AUTHORIZE_RETRY_AFTER_S;
		request_refuse(request, REFUSAL_UNAVAILABLE, "No token could be got for identity %.*s yet; nothing was sent.",
		    STR_ARG(identity));
	}
}

bool
authorize_waiting(struct request *request)
{
	request->awaits_access = authorize_is_ours(request) && !authorize_has_token(request);
	if (request->awaits_access && authorize_is_refused(request))
		authorize_refuse(request);
	return request->refusal == REFUSAL_NONE;
}

bool
authorize_timed_out(struct request *request)
{
	if (!request->awaits_access)
		return false;
	authorize_refuse(request);
	return true;
}

bool
authorize_now(struct request *request)
{
	if (!authorize_is_ours(request))
		return true;
	if (!authorize_has_token(request))
		return false;
	request->access_version = authorize_access(request)->version;
	return true;
}

void
authorize_again(struct request *request)
{
	struct worker_shared *shared = request->worker->shared;
	const struct access_token *access = authorize_access(request);

	request->access_round = access ? access->round : 0;
	shared->on_turned_away(shared->arg, request->caller->identity, request->access_version);
}

struct str
authorize_value(const struct request *request)
{
	if (!authorize_is_ours(request))
		return (struct str){ NULL, 0 };
	return access_token_value(authorize_access(request));
}
