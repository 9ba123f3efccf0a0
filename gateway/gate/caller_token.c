/* Who shows a token. */
#include "gate/caller_token.h"

#include "base/check.h"

/* The issuer of ours that the token names, or COUNT where it is another. */
static size_t
caller_token_find_issuer(const struct config *config, struct str issuer)
{
	size_t i = 0;

	while (i < config->issuer_count && !str_eq(config->issuers[i].issuer, issuer))
		i++;
	return i;
}

/* What is wrong with the token's key, algorithm or signature. */
static enum jwt_fault
caller_token_verify(const struct jose_keys *keys, const struct jwt *jwt, struct str token)
{
	const struct jose_key *key = jose_keys_find(keys, jwt->key_id);

	if (key == NULL)
		return JWT_UNKNOWN_KEY;
	if (!str_eq(jwt->algorithm, jwa_name(jose_key_algorithm(key))))
		return JWT_BAD_ALGORITHM;
	return jose_verify(key, token) ? JWT_OK : JWT_BAD_SIGNATURE;
}

/* Judge a token of an issuer of ours that was read. */
static void
caller_token_judge_ours(const struct jose_keys *keys, struct str token, struct wall_time now, struct caller_token *out)
{
	const struct config_issuer *issuer = out->issuer;
	struct jwt_expected expected = { issuer->issuer, issuer->tenant, issuer->audiences, issuer->audience_count };

	out->fault = caller_token_verify(keys, &out->jwt, token);
	if (out->fault != JWT_OK)
		return;
	out->verified = true;
	out->fault = jwt_judge(&out->jwt, &expected, now);
}

void
caller_token_judge(struct arena *arena, const struct config *config, const struct keyring *keyring, struct str token,
    struct wall_time now, struct caller_token *out)
{
	size_t at;

	check(keyring->count == config->issuer_count);
	*out = (struct caller_token){ .result = CALLER_TOKEN_FOREIGN };
	out->fault = jwt_parse(arena, token, &out->jwt);
	at = caller_token_find_issuer(config, out->jwt.issuer);
	if (at == config->issuer_count) {
		if (out->fault == JWT_OK)
			out->fault = JWT_BAD_ISSUER;
		return;
	}
	out->issuer = &config->issuers[at];
	if (out->fault == JWT_OK && keyring->keys[at] == NULL) {
		out->result = CALLER_TOKEN_NO_KEYS;
		return;
	}
	if (out->fault == JWT_OK)
		caller_token_judge_ours(keyring->keys[at], token, now, out);
	out->result = out->fault == JWT_OK ? CALLER_TOKEN_GOOD : CALLER_TOKEN_BAD;
}
