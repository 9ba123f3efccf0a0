/* Who calls: what a request shows of its caller, each kind looked up by itself; two that disagree are nobody. */
#include "gate/steps.h"

#include "base/clock.h"
#include "io/tls.h"
#include "rules/policy.h"

/* Refuse for a reason that only the log and the metrics tell. */
static void
identify_refuse(struct request *request, enum credential_failure failure, const char *message)
{
	request->caller = NULL;
	request->credential_failure = failure;
	request_refuse(request, REFUSAL_UNAUTHENTICATED, "%s", message);
}

/*
 * Look the caller up by the key it shows; refuse where that is none of ours. A key that is one, but not now or not from there,
 * gets the same answer as any other: who has stolen it shall not learn that waiting or another way in would help.
 */
static void
identify_by_key(struct request *request, struct str shown)
{
	enum credential_failure failure = CREDENTIAL_UNKNOWN;
	const struct config_caller *caller;
	const struct config_key *key;
	uint8_t digest[32];

	digest_sha256(shown, digest);
	caller = policy_find_key(request->config, digest, &key);
	if (caller) {
		request->caller = caller;
		request->credential = key->id;
		failure = credential_judge_key(key, clock_now_wall(), &request->address);
		request->suspect = failure == CREDENTIAL_GOOD ? NULL : caller;
	}
	if (failure != CREDENTIAL_GOOD)
		identify_refuse(request, failure, "The key is not known here.");
}

/* The value of X-API-Key; empty where there is none, or where several disagree and the request is refused. */
static struct str
identify_shown_key(struct request *request)
{
	const struct http1_head *head = front_head(request->client);
	const struct http1_field *first = http1_find(head, STR("X-API-Key"));

	for (size_t i = 0; first && i < head->field_count; i++)
		if (str_eq_nocase(head->fields[i].name, first->name) && !str_eq(head->fields[i].value, first->value)) {
			identify_refuse(request, CREDENTIAL_CONFLICT, "Two keys were given that disagree.");
			return (struct str){ NULL, 0 };
		}
	return first ? first->value : (struct str){ NULL, 0 };
}

/*
 * Look at the certificate that the client has shown, if any. One that is not to be believed is refused, whatever else is shown; a good
 * one that names no caller says nothing. The answer closes: another certificate needs another connection.
 */
static const struct config_caller *
identify_by_certificate(struct request *request, const struct config_certificate **certificate)
{
	const struct tls_peer *peer = front_certificate(request->client);
	const struct config_caller *caller;
	const char *fault = peer ? peer->fault : NULL;
	bool conflict;

	if (peer == NULL)
		return NULL;
	if (fault == NULL && clock_now_wall().us >= peer->not_after_us)
		fault = "certificate has expired";	/* since its handshake, which may have been long ago */
	if (fault) {
		request->must_close = true;
		request->caller = NULL;
		request->credential_failure = CREDENTIAL_CERTIFICATE;
		request_refuse(request, REFUSAL_UNAUTHENTICATED, "The client certificate is not accepted: %s.", fault);
		return NULL;
	}
	caller = policy_find_certificate(request->config, buf_str(&peer->names), peer->spki_sha256, certificate, &conflict);
	if (conflict)
		identify_refuse(request, CREDENTIAL_CONFLICT, "The client certificate names more than one caller.");
	return caller;
}

/* Take the caller that one more thing shown names, unless another has named another. */
static void
identify_agree(struct request *request, const struct config_caller *caller, struct str id)
{
	if (request->caller && request->caller != caller) {
		identify_refuse(request, CREDENTIAL_CONFLICT, "Two things that were shown (key, token, certificate) name different callers.");
		return;
	}
	if (request->caller == NULL)
		request->credential = id;
	request->caller = caller;
}

/* The certificate's caller, if it names one. */
static void
identify_take_certificate(struct request *request)
{
	const struct config_certificate *certificate = NULL;
	const struct config_caller *caller = identify_by_certificate(request, &certificate);

	if (request->refusal == REFUSAL_NONE && caller)
		identify_agree(request, caller, certificate->id);
}

/* The token's caller, if it names one. */
static void
identify_take_token(struct request *request)
{
	const struct config_caller *caller;
	const struct config_token *token = identify_token(request, request->caller != NULL, &caller);

	if (request->refusal == REFUSAL_NONE && caller)
		identify_agree(request, caller, token->id);
}

void
identify_caller(struct request *request)
{
	struct str shown = identify_shown_key(request);

	if (request->refusal == REFUSAL_NONE && shown.n > 0)
		identify_by_key(request, shown);
	if (request->refusal == REFUSAL_NONE)
		identify_take_certificate(request);
	if (request->refusal == REFUSAL_NONE)
		identify_take_token(request);
	if (request->refusal != REFUSAL_NONE || request->caller)
		return;
	if (front_certificate(request->client))
		identify_refuse(request, CREDENTIAL_UNKNOWN, "The client certificate is nobody's here, and no key was given.");
	else
		identify_refuse(request, CREDENTIAL_MISSING, "No key was given; send it as X-API-Key.");
}
