/*
 * Tokens that were found good, by their SHA-256: a client shows one for an hour, and its signature is checked once.
 *
 * A worker's own, of one configuration and one set of keys: it is cleared with either. Only good tokens are kept, so
 * that who has none cannot push others out; of two in one place the newer stays.
 */
#ifndef JOBGATE_GATE_CALLER_TOKEN_CACHE_H
#define JOBGATE_GATE_CALLER_TOKEN_CACHE_H

#include "base/clock.h"
#include "gate/limiter.h"
#include "rules/config.h"

struct caller_token_known {
	uint8_t sha256[32];
	int64_t expires_s;			/* `exp`; 0: the place is free */
	const struct config_caller *caller;	/* NULL: of nobody who is configured */
	const struct config_token *token;	/* the entry that matched */
	char principal[LIMITER_PRINCIPAL_BYTES];	/* whose it is: "tid+oid", "tid+appid", or a hash in hex; "": it does not say */
	bool is_user;				/* it has `scp`: a user's, not an application's own */
	unsigned scopes;			/* of those, what permits runs (rules/scopes) */
};

struct caller_token_cache;

struct caller_token_cache *caller_token_cache_new(void);
void caller_token_cache_free(struct caller_token_cache **cache);
void caller_token_cache_clear(struct caller_token_cache *cache);

/* What is known of the token with that SHA-256 and has not expired, or NULL; valid until the next put or clear. */
const struct caller_token_known *caller_token_cache_find(const struct caller_token_cache *cache, const uint8_t sha256[32],
    struct wall_time now);
/* Keep what KNOWN says of the token with that SHA-256; returns it where it is kept. */
const struct caller_token_known *caller_token_cache_put(struct caller_token_cache *cache, const uint8_t sha256[32],
    const struct caller_token_known *known);

#endif
