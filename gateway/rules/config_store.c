/* The store: its URL, who we are there, what happens while it is away. */
#include "rules/config_private.h"

#include <jansson.h>

#define CONFIG_PORT_REDIS 6379

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

static void
read_redis_url(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;
	struct config_url url;
	const char *why;
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, CONFIG_URL_MAX, &s))
		return;
	why = config_url_split(s, &url);
	if (why == NULL && str_eq_nocase(url.scheme, STR("rediss")))
		why = "rediss:// comes with the work on quota; not available yet";
	else if (why == NULL && !str_eq_nocase(url.scheme, STR("redis")))
		why = "must be redis://[user:password@]host:port[/db]";
	else if (why == NULL && !redis_db(url.path, &config->store.db))
		why = "must end with the number of a database from 0 to 65535, or with the port";
	else if (why == NULL && !redis_user(r, url.userinfo))
		why = "must have user and password percent-encoded (%40 for @)";
	if (why) {	/* without the value: it may hold a password */
		config_error(r, "%s", why);
		return;
	}
	config->store.redis = true;
	config->store.host = config_lower(r, url.host);
	config->store.port = url.port ? url.port : CONFIG_PORT_REDIS;
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

static void
read_on_failure(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const char *const words[] = { "closed", "share", NULL };
	int word;

	(void)rule;
	(void)out;
	if (config_word(r, value, words, &word) && word == 1)
		config_error(r, "\"share\" comes with the work on quota; not available yet");
}

const struct config_rule config_store_rules[] = {
	{ STR_INIT("redis"), read_redis_url, 0, 0, 0, true, NULL, NULL },
	CONFIG_LATER("ca_file", "quota"),
	{ STR_INIT("username"), read_username, 0, 1, 256, false, NULL, NULL },
	{ STR_INIT("password"), read_password, 0, 0, 0, false, NULL, NULL },
	CONFIG_KEY("prefix", config_read_name, struct config, store.prefix, 0, 0),
	/* Below 10 ms a store in another zone is ill for ever; above 10 s a dead one keeps everybody's whole wait. */
	CONFIG_KEY("timeout", config_read_duration, struct config, store.timeout_us, 10 * CONFIG_MS,
	    10 * CONFIG_SECOND),
	{ STR_INIT("on_failure"), read_on_failure, 0, 0, 0, false, NULL, NULL },
	CONFIG_END,
};
