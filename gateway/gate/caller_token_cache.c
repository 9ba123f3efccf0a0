/* Tokens that were found good. */
#include "gate/caller_token_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Some hundreds of principals call within an hour; two that share a place cost each other a signature check, no more. */
#define CALLER_TOKEN_CACHE_PLACES 4096

struct caller_token_cache {
	struct caller_token_known places[CALLER_TOKEN_CACHE_PLACES];
};

struct caller_token_cache *
caller_token_cache_new(void)
{
	struct caller_token_cache *cache = calloc(1, sizeof(*cache));

	check(cache != NULL);
	return cache;
}

void
caller_token_cache_free(struct caller_token_cache **cache)
{
	free(*cache);
	*cache = NULL;
}

void
caller_token_cache_clear(struct caller_token_cache *cache)
{
	memset(cache, 0, sizeof(*cache));
}

/* The place of a token: any bytes of SHA-256 are as good as a hash, and only issuers make tokens that get here. */
static size_t
caller_token_cache_place(const uint8_t sha256[32])
{
	uint32_t bytes;

	memcpy(&bytes, sha256, sizeof(bytes));
	return bytes % CALLER_TOKEN_CACHE_PLACES;
}

const struct caller_token_known *
caller_token_cache_find(const struct caller_token_cache *cache, const uint8_t sha256[32], struct wall_time now)
{
	const struct caller_token_known *known = &cache->places[caller_token_cache_place(sha256)];

	if (known->expires_s <= now.us / CLOCK_SECOND || !str_same_secret(known->sha256, sha256, 32))
		return NULL;
	return known;
}

const struct caller_token_known *
caller_token_cache_put(struct caller_token_cache *cache, const uint8_t sha256[32], const struct caller_token_known *known)
{
	struct caller_token_known *place = &cache->places[caller_token_cache_place(sha256)];

	*place = *known;
	memcpy(place->sha256, sha256, sizeof(place->sha256));
	return place;
}
