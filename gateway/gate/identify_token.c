/* Who calls, by the token that a request shows in Authorization. */
#include "gate/steps.h"

#include <stdio.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/caller_token.h"
#include "gate/worker.h"
#include "io/tls.h"
#include "rules/policy.h"
#include "rules/scopes.h"
#include "rules/uuid.h"

/* Seconds after which keys that are not known yet may have come. */
#define IDENTIFY_KEYS_RETRY_S 5

/* Refuse the token that is shown. Who shows it is told why only where its signature holds, and so it is its own. */
static void
identify_refuse_token(struct request *request, const struct caller_token *bearer)
{
	bool expired = bearer->verified && bearer->fault == JWT_EXPIRED;

	request->token_refused = true;
	request->credential_failure = expired ? CREDENTIAL_EXPIRED : CREDENTIAL_INVALID;
	log_line(LOG_INFO, "token refused", log_s("request_id", request_id(request)), log_s("issuer", bearer->jwt.issuer),
	    log_s("token", bearer->jwt.id), log_z("why", jwt_fault_text(bearer->fault)));
	if (bearer->verified)
		request_refuse(request, REFUSAL_UNAUTHENTICATED, "%s.", jwt_fault_text(bearer->fault));
	else
		request_refuse(request, REFUSAL_UNAUTHENTICATED, "The token is not accepted here.");
}

/* Write whose token it is into OUT; what another issuer says, or no UUID, is not fit to name a bucket, but its hash is. */
static void
identify_name_principal(const struct policy_principal *principal, char out[LIMITER_PRINCIPAL_BYTES])
{
	struct str entra = principal->object.n ? principal->object : principal->application;
	struct buf text = BUF_EMPTY;
	uint8_t digest[32];

	out[0] = '\0';
	if (principal->tenant.n && uuid_is(entra)) {
		snprintf(out, LIMITER_PRINCIPAL_BYTES, "%.*s+%.*s", STR_ARG(principal->tenant), STR_ARG(entra));
		return;
	}
	if (principal->subject.n == 0)
		return;
	buf_add(&text, principal->issuer);
	buf_add_char(&text, '\0');
	buf_add(&text, principal->subject);
	digest_sha256(buf_str(&text), digest);
	str_hex_encode(digest, sizeof(digest), out);
	out[2 * sizeof(digest)] = '\0';
	buf_fini(&text);
}

/* What is known of the good token that BEARER is. */
static struct caller_token_known
identify_principal(const struct config *config, const struct caller_token *bearer)
{
	const struct jwt *jwt = &bearer->jwt;
	struct policy_principal principal = { jwt->issuer, { NULL, 0 }, jwt->object, jwt->application, jwt->subject };
	struct caller_token_known known = { .expires_s = jwt->expires_s, .is_user = jwt->scopes.p != NULL,
		.scopes = scopes_of(jwt->scopes) };

	if (bearer->issuer->tenant.n)
		principal.tenant = jwt->tenant;
	known.caller = policy_find_token(config, &principal, &known.token);
	identify_name_principal(&principal, known.principal);
	return known;
}

/* Whether the token chooses the bucket of who has shown a key, so that one which cannot be verified yet must not pass by another. */
static bool
identify_needs_principal(const struct request *request)
{
	return request->caller && request->config->identities[request->caller->identity].per_token;
}

/* Refuse where a token that is not good must be. Beside a key only one that says it is of an issuer of ours, and lies, must. */
static void
identify_bad_token(struct request *request, const struct caller_token *bearer, bool has_key)
{
	if (bearer->result == CALLER_TOKEN_NO_KEYS && (!has_key || identify_needs_principal(request))) {
		request->retry_after_s = IDENTIFY_KEYS_RETRY_S;
		request_refuse(request, REFUSAL_UNAVAILABLE, "The keys of the token's issuer are not known at present.");
	} else if (bearer->result == CALLER_TOKEN_BAD || (bearer->result == CALLER_TOKEN_FOREIGN && !has_key)) {
		identify_refuse_token(request, bearer);
	}
}

/* Tell main that a key is not known; anybody can make up keys, so that once a second is enough. */
static void
identify_want_key(struct worker *worker, const struct config_issuer *issuer)
{
	struct mono_time now = loop_now(worker->loop);

	if (worker->key_wanted.us && mono_since(now, worker->key_wanted) < CLOCK_SECOND)
		return;
	worker->key_wanted = now;
	worker->shared->on_unknown_key(worker->shared->arg, issuer->issuer);
}

/* What is known of TOKEN, or NULL where it is not good; the request is then refused where it must be. */
static const struct caller_token_known *
identify_judge(struct request *request, struct str token, bool has_key)
{
	struct worker *worker = request->worker;
	struct wall_time now = clock_now_wall();
	struct caller_token_known known;
	struct caller_token bearer;
	const struct caller_token_known *found;
	uint8_t digest[32];

	check(request->config == worker->config);	/* a head is read in the turn in which it came */
	digest_sha256(token, digest);
	found = caller_token_cache_find(worker->known_tokens, digest, now);
	if (found)
		return found;
	caller_token_judge(&request->arena, request->config, worker->keyring, token, now, &bearer);
	if (bearer.result == CALLER_TOKEN_BAD && bearer.fault == JWT_UNKNOWN_KEY)
		identify_want_key(worker, bearer.issuer);
	if (bearer.result != CALLER_TOKEN_GOOD) {
		identify_bad_token(request, &bearer, has_key);
		return NULL;
	}
	known = identify_principal(request->config, &bearer);
	return caller_token_cache_put(worker->known_tokens, digest, &known);
}

const struct config_token *
identify_token(struct request *request, bool has_key, const struct config_caller **caller)
{
	const struct http1_head *head = front_head(request->client);
	const struct http1_field *field = http1_find(head, STR("Authorization"));
	const struct caller_token_known *known;
	struct str token;

	*caller = NULL;
	if (request->config->issuer_count == 0 || field == NULL)
		return NULL;
	if (http1_count(head, STR("Authorization")) > 1) {
		request->credential_failure = CREDENTIAL_CONFLICT;
		request_refuse(request, REFUSAL_UNAUTHENTICATED, "Authorization was given more than once.");
		return NULL;
	}
	token = jwt_of_authorization(field->value);
	if (token.p == NULL)
		return NULL;
	known = identify_judge(request, token, has_key);
	if (known == NULL)
		return NULL;
	*caller = known->caller;
	request->principal = arena_copy(&request->arena, str_from(known->principal));
	request->has_scopes = known->is_user;
	request->scopes = known->scopes;
	if (known->caller == NULL && !has_key) {
		request->token_refused = true;
		request->credential_failure = CREDENTIAL_UNKNOWN;
		request_refuse(request, REFUSAL_UNAUTHENTICATED, "The token is valid, but its principal is no caller here.");
	}
	return known->token;
}
