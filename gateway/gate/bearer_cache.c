/* Tokens that were found good. */
#include "gate/bearer_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Some hundreds of principals call within an hour; two that share a place cost each other a signature check, no more. */
#define BEARER_CACHE_PLACES 4096

struct bearer_cache {
	struct bearer_known places[BEARER_CACHE_PLACES];
};

struct bearer_cache *
bearer_cache_new(void)
{
	struct bearer_cache *cache = calloc(1, sizeof(*cache));

	check(cache != NULL);
	return cache;
}

void
bearer_cache_free(struct bearer_cache **cache)
{
	free(*cache);
	*cache = NULL;
}

void
bearer_cache_clear(struct bearer_cache *cache)
{
	memset(cache, 0, sizeof(*cache));
}

/* The place of a token: any bytes of SHA-256 are as good as a hash, and only issuers make tokens that get here. */
static size_t
bearer_cache_place(const uint8_t sha256[32])
{
	uint32_t bytes;

	memcpy(&bytes, sha256, sizeof(bytes));
	return bytes % BEARER_CACHE_PLACES;
}

const struct bearer_known *
bearer_cache_find(const struct bearer_cache *cache, const uint8_t sha256[32], struct wall_time now)
{
	const struct bearer_known *known = &cache->places[bearer_cache_place(sha256)];

	if (known->expires_s <= now.us / CLOCK_SECOND || !str_same_secret(known->sha256, sha256, 32))
		return NULL;
	return known;
}

const struct bearer_known *
bearer_cache_put(struct bearer_cache *cache, const uint8_t sha256[32], const struct bearer_known *known)
{
	struct bearer_known *place = &cache->places[bearer_cache_place(sha256)];

	*place = *known;
	memcpy(place->sha256, sha256, sizeof(place->sha256));
	return place;
}
