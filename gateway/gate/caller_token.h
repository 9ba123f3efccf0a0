/*
 * Who shows a token: form and header, key, signature, claims, in this order, so that nothing of a token is believed
 * before its signature holds.
 */
#ifndef JOBGATE_GATE_CALLER_TOKEN_H
#define JOBGATE_GATE_CALLER_TOKEN_H

#include "gate/keyring.h"
#include "rules/config.h"
#include "rules/jwt.h"

enum caller_token_result {
	CALLER_TOKEN_FOREIGN,		/* of no issuer of ours, or too broken to say: not ours to judge */
	CALLER_TOKEN_GOOD,
	CALLER_TOKEN_BAD,		/* it says that it is of an issuer of ours, and is not in order */
	CALLER_TOKEN_NO_KEYS		/* of an issuer whose keys are not known */
};

struct caller_token {
	enum caller_token_result result;
	enum jwt_fault fault;			/* of a foreign or a bad one */
	bool verified;				/* its signature holds, so its fault may be told to who shows it */
	const struct config_issuer *issuer;	/* NULL: foreign */
	struct jwt jwt;				/* what it says; in the arena */
};

/* Judge TOKEN by the issuers of CONFIG and their keys (KEYRING is of the same configuration). Any thread. */
void caller_token_judge(struct arena *arena, const struct config *config, const struct keyring *keyring, struct str token,
    struct wall_time now, struct caller_token *out);

#endif
