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

/* A key and a token that both name a caller must name one. */
static void
identify_agree(struct request *request, const struct config_caller *bearer)
{
	if (request->caller == NULL || bearer == NULL || bearer == request->caller)
		return;
	identify_refuse(request, CREDENTIAL_CONFLICT, "The key and the token name different callers.");
}

void
identify_caller(struct request *request)
{
	struct str shown = identify_shown_key(request);
	const struct config_caller *bearer;
	const struct config_token *token;

	if (request->refusal != REFUSAL_NONE)
		return;
	token = identify_token(request, shown.n > 0, &bearer);
	if (request->refusal != REFUSAL_NONE)
		return;
	if (shown.n > 0) {
		identify_by_key(request, shown);
		identify_agree(request, bearer);
	} else if (bearer) {
		request->caller = bearer;
		request->credential = token->id;
	} else {
		identify_refuse(request, CREDENTIAL_MISSING, "No key was given; send it as X-API-Key.");
	}
}
