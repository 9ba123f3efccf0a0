/*
 * Tokens that were found good, by their SHA-256: a client shows one for an hour, and its signature is checked once.
 *
 * A worker's own, of one configuration and one set of keys: it is cleared with either. Only good tokens are kept, so
 * that who has none cannot push others out; of two in one place the newer stays.
 */
#ifndef JOBGATE_GATE_BEARER_CACHE_H
#define JOBGATE_GATE_BEARER_CACHE_H

#include "base/clock.h"
#include "rules/config.h"

struct bearer_known {
	uint8_t sha256[32];
	int64_t expires_s;			/* `exp`; 0: the place is free */
	const struct config_caller *caller;	/* NULL: of nobody who is configured */
	const struct config_token *token;	/* the entry that matched */
};

struct bearer_cache;

struct bearer_cache *bearer_cache_new(void);
void bearer_cache_free(struct bearer_cache **cache);
void bearer_cache_clear(struct bearer_cache *cache);

/* What is known of the token with that SHA-256 and has not expired, or NULL; valid until the next put or clear. */
const struct bearer_known *bearer_cache_find(const struct bearer_cache *cache, const uint8_t sha256[32],
    struct wall_time now);
/* Keep what KNOWN says of the token with that SHA-256; returns it where it is kept. */
const struct bearer_known *bearer_cache_put(struct bearer_cache *cache, const uint8_t sha256[32],
    const struct bearer_known *known);

#endif
