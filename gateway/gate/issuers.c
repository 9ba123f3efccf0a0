/* Where the keys of issuers come from. */
#include "gate/issuers_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "io/file.h"
#include "io/tls.h"
#include "rules/jwks.h"

/* Key sets have a few KB: reading one is as cheap as asking for its date, and sees every way of replacing it. */
#define ISSUERS_LOOK_US (2 * (int64_t)CLOCK_SECOND)

/* The keys of DOCUMENT; NULL with a sentence in ERROR, which begins with NAME. */
static struct jose_keys *
issuers_parse(struct str name, struct str document, unsigned algorithms, struct buf *error)
{
	struct jose_keys *keys = NULL;
	struct buf why = BUF_EMPTY;
	struct arena arena;
	struct jwks set;

	arena_init(&arena);
	if (jwks_parse(&arena, document, algorithms, &set, &why))
		keys = jose_keys_new(set.keys, set.count, &why);
	arena_fini(&arena);
	if (keys == NULL)
		buf_printf(error, "%.*s: %.*s", STR_ARG(name), STR_ARG(buf_str(&why)));
	buf_fini(&why);
	return keys;
}

struct jose_keys *
issuers_read_file(const char *file, unsigned algorithms, struct buf *error)
{
	struct buf document = BUF_EMPTY;
	struct jose_keys *keys = NULL;

	if (file_read(file, JWKS_BYTES_MAX, &document, error))
		keys = issuers_parse(str_from(file), buf_str(&document), algorithms, error);
	buf_fini(&document);
	return keys;
}

bool
issuers_take(struct issuers_source *source, struct str name, struct str document, struct buf *error)
{
	struct jose_keys *keys;
	uint8_t digest[32];

	digest_sha256(document, digest);
	if (source->keys && memcmp(digest, source->digest, sizeof(digest)) == 0)
		return false;
	keys = issuers_parse(name, document, source->issuer->algorithms, error);
	if (keys == NULL)
		return false;
	jose_keys_unref(&source->keys);
	source->keys = keys;
	memcpy(source->digest, digest, sizeof(digest));
	log_line(LOG_INFO, "issuer's keys read", log_s("issuer", source->issuer->issuer),
	    log_i("keys", (int64_t)jose_keys_count(keys)));
	return true;
}

/* Read the file of SOURCE; true where its keys have changed. */
static bool
issuers_read(struct issuers_source *source, struct buf *error)
{
	struct buf document = BUF_EMPTY;
	bool changed = false;

	if (file_read(source->issuer->jwks_file.p, JWKS_BYTES_MAX, &document, error))
		changed = issuers_take(source, source->issuer->jwks_file, buf_str(&document), error);
	buf_fini(&document);
	return changed;
}

/* Read all files again. */
static void
on_look(void *arg)
{
	struct issuers *issuers = arg;
	struct mono_time now = loop_now(issuers->settings.loop);
	bool changed = false;

	for (size_t i = 0; i < issuers->config->issuer_count; i++) {
		struct issuers_source *source = &issuers->sources[i];
		struct buf error = BUF_EMPTY;

		if (source->issuer->jwks_url.n)
			continue;
		changed = issuers_read(source, &error) || changed;
		buf_add_char(&error, '\0');
		condition_set(&source->condition, error.n == 1, error.p, now);
		buf_fini(&error);
	}
	loop_timer_at(&issuers->look, mono_add(now, ISSUERS_LOOK_US));
	if (changed)
		issuers->settings.on_change(issuers->settings.arg);
}

/* What OLD has of the same URL and algorithms as ISSUER; NULL where it has nothing. */
static const struct issuers_source *
issuers_find_old(const struct issuers *old, const struct config_issuer *issuer)
{
	for (size_t i = 0; old && i < old->config->issuer_count; i++) {
		const struct config_issuer *other = old->sources[i].issuer;

		if (str_eq(other->issuer, issuer->issuer) && str_eq(other->jwks_url, issuer->jwks_url) &&
		    other->algorithms == issuer->algorithms)
			return &old->sources[i];
	}
	return NULL;
}

/* Make the source of ISSUER. */
static void
issuers_init_source(struct issuers *issuers, const struct config_issuer *issuer, const struct issuers *old,
    struct buf *error)
{
	struct issuers_source *source = &issuers->sources[issuer - issuers->config->issuers];
	const struct issuers_source *same = issuers_find_old(old, issuer);

	source->issuers = issuers;
	source->issuer = issuer;
	source->condition = (struct condition)CONDITION_INIT("issuer's keys unusable", "issuer's keys back");
	issuers_fetch_init(source);
	if (issuer->jwks_url.n == 0)
		issuers_read(source, error);
	else if (same)
		issuers_fetch_inherit(source, same);
}

struct issuers *
issuers_new(const struct issuers_settings *settings, struct config *config, const struct issuers *old, struct buf *error)
{
	struct issuers *issuers = calloc(1, sizeof(*issuers));
	size_t count = config->issuer_count, errors = error->n;

	check(issuers != NULL);
	*issuers = (struct issuers){ .settings = *settings, .config = config_ref(config) };
	buf_add(&issuers->proxy, settings->proxy);
	issuers->settings.proxy = buf_str(&issuers->proxy);
	issuers->sources = calloc(count ? count : 1, sizeof(*issuers->sources));
	check(issuers->sources != NULL);
	loop_timer_init(&issuers->look, settings->loop, on_look, issuers);
	for (size_t i = 0; i < count && error->n == errors; i++)
		issuers_init_source(issuers, &config->issuers[i], old, error);
	if (error->n != errors)
		issuers_free(&issuers);
	return issuers;
}

void
issuers_free(struct issuers **issuers_p)
{
	struct issuers *issuers = *issuers_p;

	if (issuers == NULL)
		return;
	*issuers_p = NULL;
	loop_timer_fini(&issuers->look);
	for (size_t i = 0; i < issuers->config->issuer_count; i++) {
		if (issuers->sources[i].issuers)	/* it was made */
			issuers_fetch_fini(&issuers->sources[i]);
		jose_keys_unref(&issuers->sources[i].keys);
	}
	free(issuers->sources);
	buf_wipe(&issuers->proxy);
	config_unref(&issuers->config);
	free(issuers);
}

void
issuers_begin(struct issuers *issuers)
{
	if (issuers->config->issuer_count == 0)
		return;
	loop_timer_at(&issuers->look, mono_add(loop_now(issuers->settings.loop), ISSUERS_LOOK_US));
	for (size_t i = 0; i < issuers->config->issuer_count; i++)
		if (issuers->sources[i].issuer->jwks_url.n)
			issuers_fetch_begin(&issuers->sources[i]);
}

void
issuers_want(struct issuers *issuers, struct str issuer)
{
	for (size_t i = 0; i < issuers->config->issuer_count; i++)
		if (issuers->sources[i].issuer->jwks_url.n && str_eq(issuers->sources[i].issuer->issuer, issuer))
			issuers_fetch_want(&issuers->sources[i]);
}

struct keyring *
issuers_keyring(const struct issuers *issuers)
{
	struct keyring *keyring = keyring_new(issuers->config->issuer_count);

	for (size_t i = 0; i < keyring->count; i++)
		if (issuers->sources[i].keys)
			keyring->keys[i] = jose_keys_ref(issuers->sources[i].keys);
	return keyring;
}

bool
issuers_are_ill(const struct issuers *issuers)
{
	for (size_t i = 0; i < issuers->config->issuer_count; i++)
		if (condition_is_ill(&issuers->sources[i].condition))
			return true;
	return false;
}
