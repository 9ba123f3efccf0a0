/* The store: its URL, who we are there, what happens while it is away. */
#include "rules/config_private.h"

#include <jansson.h>

#define CONFIG_PORT_REDIS 6379
#define CONFIG_PORT_SENTINEL 26379

/* Fleets have three or five. */
#define SENTINELS_MAX 16

/* Decode %XX of S into the arena; false on a broken or NUL encoding. */
static bool
percent_decode(struct config_reader *r, struct str s, struct str *out)
{
	char *bytes = arena_alloc(&r->config->arena, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		uint8_t byte = (uint8_t)s.p[i];

		if (byte == '%') {
			if (!str_hex_decode(str_sub(s, i + 1, i + 3), &byte, 1) || byte == 0)
				return false;
			i += 2;
		}
		bytes[n++] = (char)byte;
	}
	*out = (struct str){ bytes, n };
	return true;
}

/* "user:password", ":password" or "user", percent-encoded (RFC 3986 3.2.1). */
static bool
redis_user(struct config_reader *r, struct config_store *to, struct str userinfo)
{
	size_t colon = str_find_char(userinfo, ':');

	return percent_decode(r, str_sub(userinfo, 0, colon), &to->username) &&
	    percent_decode(r, str_sub(userinfo, colon + 1, userinfo.n), &to->password);
}

/* "/", "/0" to "/65535": more databases than anybody configures, and it fits SELECT's int. */
static bool
redis_db(struct str path, int *db)
{
	uint64_t n = 0;

	if (path.n > 1 && (path.n > 6 || !str_to_u64(str_sub(path, 1, path.n), &n) || n > UINT16_MAX))
		return false;
	*db = (int)n;
	return true;
}

/* Read one of the list's "host:port"; false where it is none. */
static bool
redis_sentinel(struct config_reader *r, struct config_store *to, struct str text)
{
	struct config_endpoint *sentinel = &to->sentinels[to->sentinel_count];
	struct str host;
	bool ipv6;

	if (to->sentinel_count == SENTINELS_MAX || !config_split_host(text, &host, &ipv6, &sentinel->port)
	    || !config_is_host(host, ipv6))
		return false;
	sentinel->host = config_lower(r, host);
	if (sentinel->port == 0)
		sentinel->port = CONFIG_PORT_SENTINEL;
	to->sentinel_count++;
	return true;
}

/* Read what stands behind redis+sentinel://; NULL, or a sentence about what is wrong. */
static const char *
redis_sentinels(struct config_reader *r, struct config_store *to, struct str s)
{
	struct config *config = r->config;
	size_t at = str_find_char(s, '@'), slash;
	struct str userinfo = str_sub(s, 0, at < s.n ? at : 0), list, one;

	s = str_sub(s, at < s.n ? at + 1 : 0, s.n);
	to->sentinel_text = arena_copy(&config->arena, s);
	slash = str_find_char(s, '/');
	list = str_sub(s, 0, slash);
	s = str_sub(s, slash + 1, s.n);
	slash = str_find_char(s, '/');
	if (!config_is_name(str_sub(s, 0, slash)))
		return "must name the service behind the hosts: redis+sentinel://host:port,host:port/service";
	to->service = arena_copy(&config->arena, str_sub(s, 0, slash));
	if (!redis_db(str_sub(s, slash, s.n), &to->db))
		return "must end with the number of a database from 0 to 65535, or with the service";
	if (!redis_user(r, to, userinfo))
		return "must have user and password percent-encoded (%40 for @, %2F for /)";
	to->sentinels = arena_alloc(&config->arena, SENTINELS_MAX * sizeof(struct config_endpoint));
	if (list.n == 0 || list.p[list.n - 1] == ',')
		return "must have 1 to 16 Sentinels as host:port, divided by commas";
	while (str_next(&list, ',', &one))
		if (!redis_sentinel(r, to, one))
			return "must have 1 to 16 Sentinels as host:port, divided by commas";
	return NULL;
}

/* Read redis:// or rediss://; NULL, or a sentence about what is wrong. */
static const char *
redis_server(struct config_reader *r, struct config_store *to, struct str s)
{
	struct config_url url;
	const char *why = config_url_split(s, &url);
	struct str userinfo = str_sub(s, str_find(s, STR("://")) + 3, str_find_char(s, '@'));

	/* An access key may have slashes, and the first one ends the authority. */
	if (why && str_find_char(s, '@') < s.n && str_find_char(userinfo, '/') < userinfo.n)
		return "must have user and password percent-encoded (%40 for @, %2F for /)";
	if (why)
		return why;
	to->tls = str_eq_nocase(url.scheme, STR("rediss"));
	if (!to->tls && !str_eq_nocase(url.scheme, STR("redis")))
		return "must be redis://[user:password@]host:port[/db], rediss:// for TLS, or redis+sentinel://host:port,.../service";
	if (!redis_db(url.path, &to->db))
		return "must end with the number of a database from 0 to 65535, or with the port";
	if (!redis_user(r, to, url.userinfo))
		return "must have user and password percent-encoded (%40 for @, %2F for /)";
	to->host = config_lower(r, url.host);
	to->port = url.port ? url.port : CONFIG_PORT_REDIS;
	return NULL;
}

static void
read_redis_url(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const struct str sentinel = STR_INIT("redis+sentinel://");
	struct config_store *to = out;
	const char *why;
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, CONFIG_URL_MAX, &s))
		return;
	if (!str_starts_nocase(s, sentinel))
		why = redis_server(r, to, s);
	else if (config_is_url_text(s))
		why = redis_sentinels(r, to, str_sub(s, sentinel.n, s.n));
	else
		why = "must be a URL of visible ASCII characters without query and fragment";
	if (why)	/* without the value: it may hold a password */
		config_error(r, "%s", why);
	else
		to->redis = true;
}

/* Trusted authorities are of no use on a connection in the clear, which whoever names them does not want. */
static void
read_ca_file(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_store *to = out;

	config_read_path(r, value, rule, &to->ca_file);
	if (to->redis && !to->tls)
		config_error(r, "is only for rediss://, and \"redis\" is not");
}

static void
read_username(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_store *to = out;
	struct str s;

	if (!config_text(r, value, (size_t)rule->min, (size_t)rule->max, &s))
		return;
	if (to->username.n)
		config_error(r, "is given twice, here and in \"redis\"");
	to->username = arena_copy(&r->config->arena, s);
}

static void
read_password(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_store *to = out;

	config_read_secret(r, value, rule, &to->password_secret);
	if (to->password.n)
		config_error(r, "is given twice, here and in \"redis\"");
}

/* Read what happens while the store is away. */
static void
read_on_failure(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const char *const words[] = { "closed", "share", NULL };
	int word;

	(void)rule;
	if (config_word(r, value, words, &word))
		*(bool *)out = word == 1;
}

#define STORE_KEYS(member) \
	CONFIG_KEY("ca_file", read_ca_file, struct config, member, 0, 0), \
	CONFIG_KEY("username", read_username, struct config, member, 1, 256), \
	CONFIG_KEY("password", read_password, struct config, member, 0, 0)

const struct config_rule config_store_rules[] = {
	CONFIG_NEED("redis", read_redis_url, struct config, store, 0, 0),
	STORE_KEYS(store),
	CONFIG_KEY("prefix", config_read_name, struct config, store.prefix, 0, 0),
	/* Below 10 ms a store in another zone is ill for ever; above 10 s a dead one keeps everybody's whole wait. */
	CONFIG_KEY("timeout", config_read_duration, struct config, store.timeout_us, 10 * CONFIG_MS,
	    10 * CONFIG_SECOND),
	CONFIG_KEY("on_failure", read_on_failure, struct config, store.share, 0, 0),
	CONFIG_END,
};

/*
 * Fabric looks at a job about once a minute: who sees a state five minutes late polls for nothing. Below a second
 * no-cache would be the way round the quota; a token that was revoked hours ago must not be believed.
 */
const struct config_rule config_polls_rules[] = {
	CONFIG_KEY("refresh", config_read_duration, struct config, polls.refresh_us, 0, 5 * CONFIG_MINUTE),
	CONFIG_KEY("min_refresh", config_read_duration, struct config, polls.min_refresh_us, CONFIG_SECOND,
	    5 * CONFIG_MINUTE),
	CONFIG_KEY("keep", config_read_duration, struct config, polls.keep_us, CONFIG_SECOND, CONFIG_DAY),
	CONFIG_KEY("grant", config_read_duration, struct config, polls.grant_us, 0, CONFIG_HOUR),
	CONFIG_KEY("max_bytes", config_read_bytes, struct config, polls.max_bytes, CONFIG_MB, 1024 * CONFIG_MB),
	CONFIG_KEY("redis", read_redis_url, struct config, polls_store, 0, 0),
	STORE_KEYS(polls_store),
	CONFIG_END,
};

void
config_finish_polls(struct config_reader *r)
{
	struct config_store *own = &r->config->polls_store;

	if (r->error_count == 0 && !own->redis
	    && (own->ca_file.n || own->username.n || own->password_secret.file.n || own->password_secret.env.n)) {
		size_t mark = config_enter(r, STR("polls"));

		config_error(r,
		    "has \"ca_file\", \"username\" or \"password\", which are for its own \"redis\", and that is missing");
		config_leave(r, mark);
	}
	if (!own->redis) {
		*own = r->config->store;
		r->config->polls_store_is_stores = true;
		return;
	}
	own->prefix = r->config->store.prefix;
	own->timeout_us = r->config->store.timeout_us;
}
