/*
 * The configuration: JSON text in, one immutable snapshot out, or every error at once.
 *
 * Here defaults and life; config_section.c, config_caller.c, config_credential.c, config_limit.c and config_store.c the tables of keys;
 * config_object.c the walk through them; config_value.c, config_address.c, config_allow.c and config_rate.c typed
 * values; config_issuer.c issuers and tokens;
 * config_check.c what spans several values; config_keys.c and config_tokens.c the tables of what callers show; config_error.c and
 * config_warn.c the sentences.
 */
#include "rules/config_private.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"

/* What the contract says where the file says nothing. */
static void
config_set_defaults(struct config *config)
{
	config->admin.address = STR("127.0.0.1:8081");
	config->admin.host = STR("127.0.0.1");
	config->admin.port = 8081;
	config->upstream.timeout_us = 30 * CONFIG_SECOND;
	config->upstream.idle_timeout_us = 10 * CONFIG_SECOND;
	config->upstream.replay_429 = true;
	config->store.prefix = STR("jobgate");
	config->store.timeout_us = 100 * CONFIG_MS;
	config->store.share = true;
	config->wait_max_us = 20 * CONFIG_SECOND;
	config->wait_queue = 1000;
	config->limits.connections = 10000;
	config->limits.head_bytes = 32768;
	config->limits.body_bytes = 262144;
	config->limits.head_timeout_us = 10 * CONFIG_SECOND;
	config->limits.body_timeout_us = 30 * CONFIG_SECOND;
	config->limits.idle_timeout_us = 180 * CONFIG_SECOND;
	config->audit_refusals = 10;
	config->audit_warn_free = INT64_C(1) << 30;
	config->resolve.delay_us = 15 * CONFIG_SECOND;
	config->resolve.tries = 3;
	config->resolve.window_us = 2 * CONFIG_MINUTE;
	config->polls.refresh_us = 15 * CONFIG_SECOND;
	config->polls.min_refresh_us = 5 * CONFIG_SECOND;
	config->polls.keep_us = 10 * CONFIG_MINUTE;
	config->polls.grant_us = CONFIG_MINUTE;
	config->polls.max_bytes = 32 * CONFIG_MB;
	config->idempotency.keys_us = CONFIG_DAY;
	config->idempotency.max_bytes = 128 * CONFIG_MB;
	config->idempotency.undelivered_us = 2 * CONFIG_MINUTE;
	config->audit_anchors_us = 60 * CONFIG_SECOND;
	config->drain_timeout_us = 35 * CONFIG_SECOND;
	config->log_level = LOG_INFO;
}

static struct config *
config_new(struct str file, struct str directory)
{
	struct config *config = calloc(1, sizeof(*config));

	check(config != NULL);
	config->refs = 1;
	arena_init(&config->arena);
	config->file = arena_copy(&config->arena, file);
	config->directory = arena_copy(&config->arena, directory);
	config_set_defaults(config);
	return config;
}

/* What jansson gives back: it may have been a secret. */
static void
config_free_wiped(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

/* Read TEXT into the snapshot. */
static void
config_read(struct config_reader *r, struct str text)
{
	struct json_t *root;
	json_error_t error;

	json_set_alloc_funcs(malloc, config_free_wiped);
	root = json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &error);
	if (root == NULL) {
		json_set_alloc_funcs(malloc, free);
		config_error_syntax(r, error.line, error.column, error.text);
		return;
	}
	config_read_object(r, root, config_rules, r->config);
	if (json_is_object(root))
		config_finish(r);
	json_decref(root);
	json_set_alloc_funcs(malloc, free);
}

/* Move the warnings, one a line, into the snapshot. */
static void
config_keep_warnings(struct config_reader *r)
{
	struct config *config = r->config;
	struct str rest = buf_str(&r->warnings), line;
	size_t count = 0;

	for (size_t i = 0; i < rest.n; i++)
		count += rest.p[i] == '\n';
	config->warnings = arena_alloc(&config->arena, count * sizeof(*config->warnings));
	while (config->warning_count < count && str_next(&rest, '\n', &line))
		config->warnings[config->warning_count++] = arena_copy(&config->arena, line);
}

struct config *
config_parse(struct str text, struct str file, struct str directory, struct buf *errors)
{
	struct config_reader r = { .config = config_new(file, directory), .errors = errors };

	config_read(&r, text);
	config_keep_warnings(&r);
	if (r.error_count)
		config_unref(&r.config);
	buf_fini(&r.path);
	buf_fini(&r.warnings);
	return r.config;
}

struct config *
config_ref(struct config *config)
{
	check(__atomic_fetch_add(&config->refs, 1, __ATOMIC_RELAXED) > 0);
	return config;
}

void
config_unref(struct config **slot)
{
	struct config *config = *slot;

	*slot = NULL;
	if (config == NULL || __atomic_sub_fetch(&config->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	arena_wipe(&config->arena);	/* the store's URL may hold a password */
	explicit_bzero(&config->audit_hmac, sizeof(config->audit_hmac));
	free(config);
}
