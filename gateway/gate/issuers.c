/* Where the keys of issuers come from. */
#include "gate/issuers.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/condition.h"
#include "io/file.h"
#include "io/tls.h"
#include "rules/jwks.h"

/* Key sets have a few KB: reading one is as cheap as asking for its date, and sees every way of replacing it. */
#define ISSUERS_LOOK_US (2 * (int64_t)CLOCK_SECOND)

struct issuers_source {
	const struct config_issuer *issuer;
	struct jose_keys *keys;		/* a reference */
	uint8_t digest[32];		/* of the document they are of */
	struct condition condition;
};

struct issuers {
	struct loop *loop;
	struct config *config;		/* referenced */
	struct issuers_source *sources;	/* one per issuer */
	struct loop_timer look;
	void (*on_change)(void *arg);
	void *arg;
};

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

/* Take the document, where it is another than the one in use; true where the keys have changed. */
static bool
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
	bool changed = false;

	for (size_t i = 0; i < issuers->config->issuer_count; i++) {
		struct buf error = BUF_EMPTY;

		changed = issuers_read(&issuers->sources[i], &error) || changed;
		buf_add_char(&error, '\0');
		condition_set(&issuers->sources[i].condition, error.n == 1, error.p, loop_now(issuers->loop));
		buf_fini(&error);
	}
	loop_timer_at(&issuers->look, mono_add(loop_now(issuers->loop), ISSUERS_LOOK_US));
	if (changed)
		issuers->on_change(issuers->arg);
}

struct issuers *
issuers_new(struct loop *loop, struct config *config, void (*on_change)(void *arg), void *arg, struct buf *error)
{
	struct issuers *issuers = calloc(1, sizeof(*issuers));
	size_t count = config->issuer_count, errors = error->n;

	check(issuers != NULL);
	*issuers = (struct issuers){ .loop = loop, .config = config_ref(config), .on_change = on_change, .arg = arg };
	issuers->sources = calloc(count ? count : 1, sizeof(*issuers->sources));
	check(issuers->sources != NULL);
	loop_timer_init(&issuers->look, loop, on_look, issuers);
	for (size_t i = 0; i < count && error->n == errors; i++) {
		issuers->sources[i].issuer = &config->issuers[i];
		issuers->sources[i].condition = (struct condition)CONDITION_INIT("issuer's keys unusable", "issuer's keys back");
		issuers_read(&issuers->sources[i], error);
	}
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
	for (size_t i = 0; i < issuers->config->issuer_count; i++)
		jose_keys_unref(&issuers->sources[i].keys);
	free(issuers->sources);
	config_unref(&issuers->config);
	free(issuers);
}

void
issuers_watch(struct issuers *issuers)
{
	if (issuers->config->issuer_count)
		loop_timer_at(&issuers->look, mono_add(loop_now(issuers->loop), ISSUERS_LOOK_US));
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
