/*
 * The table of the configuration: every key with its bounds, in the order in which errors are listed.
 *
 * config/jobgate.schema.json says the same to editors; tests/system/test_schema.py keeps the two equal.
 */
#include "rules/config_private.h"

#include <jansson.h>

#include "base/log.h"
#include "rules/quota.h"

/*
 * Half of the jitter is ours, from the grant to the write: under 5 ms a busy loop turn would let every token lapse.
 * Over a minute the upstream has timed out.
 */
#define JITTER_MIN (10 * CONFIG_MS)
#define JITTER_MAX CONFIG_MINUTE
#define JITTER_DEFAULT (250 * CONFIG_MS)
/* Not given: quota_derive takes three quarters of what there is to grant. */
#define BURST_DEFAULT 0

/*
 * Time-outs of a request: below 100 ms no handshake across a continent ends; the job half reads on for 5 minutes at
 * most.
 */
#define TIMEOUT_MIN (100 * CONFIG_MS)
#define TIMEOUT_MAX (5 * CONFIG_MINUTE)

/* Each is a socket of every worker, and each is compared with each. */
#define LISTEN_MAX 64

/* Each is a bucket, a queue and a set of metrics; callers look theirs up one by one. */
#define IDENTITIES_MAX 1000

/* Idle connections: an hour is longer than any middle box keeps them. */
#define IDLE_MAX CONFIG_HOUR

static const struct config_rule quota_rules[] = {
	CONFIG_NEED("requests", config_read_int64, struct config_quota, requests, 2, 10000000),
	CONFIG_NEED("window", config_read_duration, struct config_quota, window_us, CONFIG_SECOND, CONFIG_HOUR),
	CONFIG_KEY("burst", config_read_int64, struct config_quota, burst, 1, 10000000),
	CONFIG_KEY("jitter", config_read_duration, struct config_quota, jitter_us, JITTER_MIN, JITTER_MAX),
	CONFIG_KEY("outside", config_read_int64, struct config_quota, outside, 0, 10000000),
	CONFIG_END,
};

/* Read a quota that something can be granted from; requests -1 marks one that is wrong. */
void
config_read_quota(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_quota *quota = out;
	size_t errors = r->error_count;
	struct quota derived;
	const char *why;

	(void)rule;
	quota->jitter_us = JITTER_DEFAULT;
	quota->burst = BURST_DEFAULT;
	config_read_object(r, value, quota_rules, quota);
	if (r->error_count == errors && quota->requests - quota->outside < 2)
		config_error(r, "outside %lld of %lld requests leaves less than 2 to grant", (long long)quota->outside,
		    (long long)quota->requests);
	else if (r->error_count == errors && !quota_derive(quota, &derived, &why))
		config_error(r, "%s", why);
	if (r->error_count != errors)
		quota->requests = -1;
}

/* Kept aside: it is the default of the identities. */
static void
read_upstream_quota(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	(void)out;
	config_read_quota(r, value, rule, &r->upstream_quota);
}

static const struct config_rule upstream_rules[] = {
	{ STR_INIT("url"), config_read_upstream_url, 0, 0, 0, true, NULL },
	{ STR_INIT("server_name"), config_read_server_name, 0, 0, 0, false, NULL },
	CONFIG_KEY("ca_file", config_read_path, struct config, upstream.ca_file, 0, 0),
	CONFIG_KEY("timeout", config_read_duration, struct config, upstream.timeout_us, TIMEOUT_MIN, TIMEOUT_MAX),
	CONFIG_KEY("idle_timeout", config_read_duration, struct config, upstream.idle_timeout_us, TIMEOUT_MIN,
	    IDLE_MAX),
	{ STR_INIT("proxy"), config_read_proxy, 0, 0, 0, false, NULL },
	{ STR_INIT("proxy_password"), config_read_proxy_password, 0, 0, 0, false, NULL },
	{ STR_INIT("no_proxy"), config_read_no_proxy, 0, 0, 0, false, NULL },
	CONFIG_KEY("private_link", config_read_bool, struct config, upstream.private_link, 0, 0),
	CONFIG_KEY("replay_429", config_read_bool, struct config, upstream.replay_429, 0, 0),
	{ STR_INIT("quota"), read_upstream_quota, 0, 0, 0, false, NULL },
	CONFIG_END,
};

static const struct config_rule tls_rules[] = {
	CONFIG_NEED("cert_file", config_read_path, struct config_listen, cert_file, 0, 0),
	CONFIG_NEED("key_file", config_read_path, struct config_listen, key_file, 0, 0),
	CONFIG_KEY("client_ca_file", config_read_path, struct config_listen, client_ca_file, 0, 0),
	CONFIG_END,
};

static void
read_tls(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_listen *listen = out;

	(void)rule;
	listen->tls = true;
	config_read_object(r, value, tls_rules, listen);
}

static const struct config_rule listen_rules[] = {
	{ STR_INIT("address"), config_read_address, 0, 0, 0, true, NULL },
	{ STR_INIT("tls"), read_tls, 0, 0, 0, false, NULL },
	CONFIG_KEY("plain", config_read_bool, struct config_listen, plain, 0, 0),
	CONFIG_KEY("trusted_proxies", config_read_networks, struct config_listen, trusted_proxies, 0, 0),
	CONFIG_KEY("proxy_protocol", config_read_bool, struct config_listen, proxy_protocol, 0, 0),
	CONFIG_END,
};

static const struct config_rule admin_rules[] = {
	CONFIG_KEY("address", config_read_address, struct config, admin, 0, 0),
	CONFIG_KEY("token", config_read_secret, struct config, admin_token, 0, 0),
	CONFIG_END,
};

/* Read one listener. */
static void
read_listener(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct config_listen *listen = out;
	size_t errors = r->error_count;

	(void)i;
	config_read_object(r, value, listen_rules, listen);
	if (r->error_count != errors)
		return;
	if (listen->proxy_protocol && listen->trusted_proxies.count == 0)
		config_error(r, "has \"proxy_protocol\" and needs \"trusted_proxies\": who may say for whom it connects");
	if (listen->tls && listen->plain)
		config_error(r, "has both \"tls\" and \"plain\": true");
	if (!listen->tls && !listen->plain && !config_is_loopback(listen))
		config_error(r, "is not on loopback and has no \"tls\", so that keys and tokens would cross the "
		    "network in the clear; say \"plain\": true where that is meant");
}

static void
read_listen(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;

	(void)rule;
	config_read_list(r, value, 1, LISTEN_MAX, sizeof(*config->listen), (void **)&config->listen,
	    &config->listen_count, read_listener);
}

static const struct config_rule identity_rules[] = {
	CONFIG_NEED("name", config_read_name, struct config_identity, name, 0, 0),
	CONFIG_KEY("quota", config_read_quota, struct config_identity, quota, 0, 0),
	CONFIG_KEY("per_token", config_read_bool, struct config_identity, per_token, 0, 0),
	CONFIG_KEY("credential", config_read_credential, struct config_identity, credential, 0, 0),
	CONFIG_END,
};

static void
read_identity(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	(void)i;
	config_read_object(r, value, identity_rules, out);
}

static void
read_identities(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;
	size_t errors = r->error_count;

	(void)rule;
	config_read_list(r, value, 1, IDENTITIES_MAX, sizeof(*config->identities), (void **)&config->identities,
	    &config->identity_count, read_identity);
	r->identities_given = true;
	r->identities_bad = r->error_count != errors;
}

static const struct config_rule wait_rules[] = {
	CONFIG_KEY("max", config_read_duration, struct config, wait_max_us, CONFIG_WAIT_MIN, CONFIG_WAIT_MAX),
	CONFIG_KEY("queue", config_read_int64, struct config, wait_queue, CONFIG_QUEUE_MIN, CONFIG_QUEUE_MAX),
	CONFIG_END,
};

static const struct config_rule limits_rules[] = {
	CONFIG_KEY("connections", config_read_int64, struct config, limits.connections, 1, 1000000),
	/* A bearer token of Entra with many groups has 6 KB; a connection's head is held whole. */
	CONFIG_KEY("head_bytes", config_read_int64, struct config, limits.head_bytes, 1024, 1 << 20),
	/* A body is hashed and checked in one piece on a worker, which stands still for about 10 ms at 4 MiB. */
	CONFIG_KEY("body_bytes", config_read_int64, struct config, limits.body_bytes, 256, 4 << 20),
	CONFIG_KEY("head_timeout", config_read_duration, struct config, limits.head_timeout_us, TIMEOUT_MIN,
	    TIMEOUT_MAX),
	CONFIG_KEY("body_timeout", config_read_duration, struct config, limits.body_timeout_us, TIMEOUT_MIN,
	    TIMEOUT_MAX),
	CONFIG_KEY("idle_timeout", config_read_duration, struct config, limits.idle_timeout_us, TIMEOUT_MIN, IDLE_MAX),
	CONFIG_END,
};

/*
 * A day is the least that a file holds, and the most that may pass before it is looked for; four files of 64 MB are
 * the least that "whole files only" can mean.
 */
static const struct config_rule retention_rules[] = {
	CONFIG_KEY("age", config_read_duration, struct config, audit_retention.age_us, CONFIG_DAY, 36500 * CONFIG_DAY),
	CONFIG_KEY("size", config_read_bytes, struct config, audit_retention.bytes, 256 * CONFIG_MB, 1024 * CONFIG_TB),
	CONFIG_KEY("collected", config_read_path, struct config, audit_retention.collected, 0, 0),
	CONFIG_END,
};

/* Read what may be deleted of the journal: something must say what. */
static void
read_retention(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;
	size_t errors = r->error_count;

	(void)rule;
	config_read_object(r, value, retention_rules, config);
	if (r->error_count == errors && config->audit_retention.age_us == 0 && config->audit_retention.bytes == 0)
		config_error(r, "needs \"age\" or \"size\": without either nothing is deleted");
}

/* Read how often heads are shown: never, or so seldom that it costs nothing. */
static void
read_anchors(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	int64_t us = 0;

	config_read_duration(r, value, rule, &us);
	if (us > 0 && us < CONFIG_SECOND)
		config_error_is(r, "must be \"0s\" (never) or \"1s\" at least", value);
	else
		*(int64_t *)out = us;
}

static const struct config_rule audit_rules[] = {
	CONFIG_KEY("directory", config_read_path, struct config, audit_directory, 0, 0),
	/* 10,000 refusals a second are 5 MB of journal a second: more is no record but a way to fill a disk. */
	CONFIG_KEY("refusals", config_read_int64, struct config, audit_refusals, 1, 10000),
	CONFIG_KEY("digest_key", config_read_secret, struct config, audit_digest_key, 0, 0),
	{ STR_INIT("retention"), read_retention, 0, 0, 0, false, NULL },
	/* An hour is how much of a journal could still be rewritten unseen. */
	CONFIG_KEY("anchors", read_anchors, struct config, audit_anchors_us, 0, 60 * CONFIG_MINUTE),
	CONFIG_KEY("warn_free", config_read_bytes, struct config, audit_warn_free, 0, 1024 * CONFIG_TB),
	CONFIG_END,
};

static void
read_match(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const char *const words[] = { "activity", "time", NULL };
	int word;

	(void)rule;
	if (config_word(r, value, words, &word))
		*(enum config_match *)out = word == 0 ? CONFIG_MATCH_ACTIVITY : CONFIG_MATCH_TIME;
}

/* Tries and delays together stay within the five minutes for which a run's own token may be kept. */
static const struct config_rule resolve_rules[] = {
	CONFIG_NEED("match", read_match, struct config, resolve.match, 0, 0),
	CONFIG_KEY("delay", config_read_duration, struct config, resolve.delay_us, CONFIG_SECOND, CONFIG_MINUTE),
	CONFIG_KEY("tries", config_read_int, struct config, resolve.tries, 1, 4),
	CONFIG_KEY("window", config_read_duration, struct config, resolve.window_us, CONFIG_SECOND, 10 * CONFIG_MINUTE),
	CONFIG_END,
};

static const struct config_rule idempotency_rules[] = {
	/* Whoever repeats a request does so within a minute; a month of keys is more than any store of ours should hold. */
	CONFIG_KEY("keys", config_read_duration, struct config, idempotency.keys_us, CONFIG_MINUTE, 30 * CONFIG_DAY),
	/* A key takes about 900 bytes. */
	CONFIG_KEY("max_bytes", config_read_bytes, struct config, idempotency.max_bytes, CONFIG_MB, CONFIG_TB),
	/* An honest identical run within this time is answered by the lost one's job: not longer than retries come. */
	CONFIG_KEY("undelivered", config_read_duration, struct config, idempotency.undelivered_us, 0, CONFIG_HOUR),
	CONFIG_END,
};

static const struct config_rule drain_rules[] = {
	CONFIG_KEY("delay", config_read_duration, struct config, drain_delay_us, 0, 10 * CONFIG_MINUTE),
	/* The longest a request can take: its wait and its time upstream. */
	CONFIG_KEY("timeout", config_read_duration, struct config, drain_timeout_us, CONFIG_SECOND, 2 * TIMEOUT_MAX),
	CONFIG_END,
};

static void
read_level(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const char *const words[] = { "error", "warn", "info", "debug", NULL };
	enum log_level level;
	int word;

	(void)rule;
	if (config_word(r, value, words, &word) && log_level_from(str_from(words[word]), &level))
		*(int *)out = level;
}

static const struct config_rule log_rules[] = {
	CONFIG_KEY("level", read_level, struct config, log_level, 0, 0),
	CONFIG_END,
};

/* How many workers share the plain connections. */
static void
read_spread(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const char *const words[] = { "few", "all", NULL };
	int word;

	(void)rule;
	if (config_word(r, value, words, &word))
		*(enum config_spread *)out = (enum config_spread)word;
}

const struct config_rule config_rules[] = {
	{ STR_INIT("$schema"), config_read_ignored, 0, 0, 0, false, NULL },
	CONFIG_KEY("instance", config_read_name, struct config, instance, 0, 0),
	/* A worker is a thread and a connection pool; beyond 64 the upstream's quota is the limit by far. */
	CONFIG_KEY("workers", config_read_int, struct config, workers, 1, 64),
	CONFIG_KEY("spread", read_spread, struct config, spread, 0, 0),
	{ STR_INIT("public_url"), config_read_public_url, 0, 0, 0, false, NULL },
	{ STR_INIT("listen"), read_listen, 0, 0, 0, true, NULL },
	CONFIG_SECTION("admin", admin_rules, false),
	CONFIG_SECTION("upstream", upstream_rules, true),
	{ STR_INIT("identities"), read_identities, 0, 0, 0, false, NULL },
	{ STR_INIT("issuers"), config_read_issuers, 0, 0, 0, false, NULL },
	{ STR_INIT("callers"), config_read_callers, 0, 0, 0, true, NULL },
	{ STR_INIT("rules"), config_read_limits, 0, 0, 0, false, NULL },
	CONFIG_SECTION("store", config_store_rules, false),
	CONFIG_SECTION("wait", wait_rules, false),
	CONFIG_SECTION("limits", limits_rules, false),
	CONFIG_SECTION("audit", audit_rules, false),
	CONFIG_SECTION("resolve", resolve_rules, false),
	CONFIG_SECTION("idempotency", idempotency_rules, false),
	CONFIG_SECTION("polls", config_polls_rules, false),
	CONFIG_SECTION("drain", drain_rules, false),
	CONFIG_SECTION("log", log_rules, false),
	CONFIG_END,
};
