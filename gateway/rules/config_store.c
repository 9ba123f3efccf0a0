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
redis_user(struct config_reader *r, struct str userinfo)
{
	size_t colon = str_find_char(userinfo, ':');

	return percent_decode(r, str_sub(userinfo, 0, colon), &r->config->store.username) &&
	    percent_decode(r, str_sub(userinfo, colon + 1, userinfo.n), &r->config->store.password);
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
redis_sentinel(struct config_reader *r, struct str text)
{
	struct config *config = r->config;
	struct config_endpoint *sentinel = &config->store.sentinels[config->store.sentinel_count];
	struct str host;
	bool ipv6;

	if (config->store.sentinel_count == SENTINELS_MAX || !config_split_host(text, &host, &ipv6, &sentinel->port)
	    || !config_is_host(host, ipv6))
		return false;
	sentinel->host = config_lower(r, host);
	if (sentinel->port == 0)
		sentinel->port = CONFIG_PORT_SENTINEL;
	config->store.sentinel_count++;
	return true;
}

/* Read what stands behind redis+sentinel://; NULL, or a sentence about what is wrong. */
static const char *
redis_sentinels(struct config_reader *r, struct str s)
{
	struct config *config = r->config;
	size_t at = str_find_char(s, '@'), slash;
	struct str userinfo = str_sub(s, 0, at < s.n ? at : 0), list, one;

	s = str_sub(s, at < s.n ? at + 1 : 0, s.n);
	config->store.sentinel_text = arena_copy(&config->arena, s);
	slash = str_find_char(s, '/');
	list = str_sub(s, 0, slash);
	s = str_sub(s, slash + 1, s.n);
	slash = str_find_char(s, '/');
	if (!config_is_name(str_sub(s, 0, slash)))
		return "must name the service behind the hosts: redis+sentinel://host:port,host:port/service";
	config->store.service = arena_copy(&config->arena, str_sub(s, 0, slash));
	if (!redis_db(str_sub(s, slash, s.n), &config->store.db))
		return "must end with the number of a database from 0 to 65535, or with the service";
	if (!redis_user(r, userinfo))
		return "must have user and password percent-encoded (%40 for @, %2F for /)";
	config->store.sentinels = arena_alloc(&config->arena, SENTINELS_MAX * sizeof(struct config_endpoint));
	if (list.n == 0 || list.p[list.n - 1] == ',')
		return "must have 1 to 16 Sentinels as host:port, divided by commas";
	while (str_next(&list, ',', &one))
		if (!redis_sentinel(r, one))
			return "must have 1 to 16 Sentinels as host:port, divided by commas";
	return NULL;
}

/* Read redis:// or rediss://; NULL, or a sentence about what is wrong. */
static const char *
redis_server(struct config_reader *r, struct str s)
{
	struct config *config = r->config;
	struct config_url url;
	const char *why = config_url_split(s, &url);
	struct str userinfo = str_sub(s, str_find(s, STR("://")) + 3, str_find_char(s, '@'));

	/* An access key may have slashes, and the first one ends the authority. */
	if (why && str_find_char(s, '@') < s.n && str_find_char(userinfo, '/') < userinfo.n)
		return "must have user and password percent-encoded (%40 for @, %2F for /)";
	if (why)
		return why;
	config->store.tls = str_eq_nocase(url.scheme, STR("rediss"));
	if (!config->store.tls && !str_eq_nocase(url.scheme, STR("redis")))
		return "must be redis://[user:password@]host:port[/db], rediss:// for TLS, or redis+sentinel://host:port,.../service";
	if (!redis_db(url.path, &config->store.db))
		return "must end with the number of a database from 0 to 65535, or with the port";
	if (!redis_user(r, url.userinfo))
		return "must have user and password percent-encoded (%40 for @, %2F for /)";
	config->store.host = config_lower(r, url.host);
	config->store.port = url.port ? url.port : CONFIG_PORT_REDIS;
	return NULL;
}

static void
read_redis_url(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const struct str sentinel = STR_INIT("redis+sentinel://");
	struct config *config = out;
	const char *why;
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, CONFIG_URL_MAX, &s))
		return;
	if (!str_starts_nocase(s, sentinel))
		why = redis_server(r, s);
	else if (config_is_url_text(s))
		why = redis_sentinels(r, str_sub(s, sentinel.n, s.n));
	else
		why = "must be a URL of visible ASCII characters without query and fragment";
	if (why)	/* without the value: it may hold a password */
		config_error(r, "%s", why);
	else
		config->store.redis = true;
}

/* Trusted authorities are of no use on a connection in the clear, which whoever names them does not want. */
static void
read_ca_file(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;

	config_read_path(r, value, rule, &config->store.ca_file);
	if (config->store.redis && !config->store.tls)
		config_error(r, "is only for rediss://, and \"redis\" is not");
}

static void
read_username(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;
	struct str s;

	if (!config_text(r, value, (size_t)rule->min, (size_t)rule->max, &s))
		return;
	if (config->store.username.n)
		config_error(r, "is given twice, here and in \"redis\"");
	config->store.username = arena_copy(&config->arena, s);
}

static void
read_password(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;

	config_read_secret(r, value, rule, &config->store.password_secret);
	if (config->store.password.n)
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

const struct config_rule config_store_rules[] = {
	{ STR_INIT("redis"), read_redis_url, 0, 0, 0, true, NULL, NULL },
	{ STR_INIT("ca_file"), read_ca_file, 0, 0, 0, false, NULL, NULL },
	{ STR_INIT("username"), read_username, 0, 1, 256, false, NULL, NULL },
	{ STR_INIT("password"), read_password, 0, 0, 0, false, NULL, NULL },
	CONFIG_KEY("prefix", config_read_name, struct config, store.prefix, 0, 0),
	/* Below 10 ms a store in another zone is ill for ever; above 10 s a dead one keeps everybody's whole wait. */
	CONFIG_KEY("timeout", config_read_duration, struct config, store.timeout_us, 10 * CONFIG_MS,
	    10 * CONFIG_SECOND),
	CONFIG_KEY("on_failure", read_on_failure, struct config, store.share, 0, 0),
	CONFIG_END,
};
