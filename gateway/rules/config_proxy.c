/* upstream.proxy and its like: the way out of a network that has only one. */
#include "rules/config_private.h"

#include <jansson.h>

#include "rules/proxy.h"

/* Lists of this kind have a few dozen entries. */
#define NO_PROXY_MAX 256
#define NO_PROXY_BYTES_MAX 253

/* Whether every % of S begins an encoded byte. */
static bool
is_percent_encoded(struct str s)
{
	uint8_t byte;

	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '%' && !str_hex_decode(str_sub(s, i + 1, i + 3), &byte, 1))
			return false;
	return true;
}

void
config_read_proxy(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;
	struct config_url url;
	const char *why;
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, CONFIG_URL_MAX, &s))
		return;
	why = config_url_split(s, &url);
	if (why == NULL && (!str_eq_nocase(url.scheme, STR("http")) || url.path.n > 1))
		why = "must be http://[user:password@]host:port (the proxy is spoken to in the clear, what goes through it is not)";
	if (why == NULL && !is_percent_encoded(url.userinfo))
		why = "must have user and password percent-encoded (%40 for @, %2F for /)";
	if (why != NULL)	/* without the value: it may hold a password */
		config_error(r, "%s", why);
	else
		config->upstream.proxy = arena_copy(&config->arena, s);
	r->proxy_bad = why != NULL;
}

void
config_read_proxy_password(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;
	struct str url = config->upstream.proxy;
	size_t at = str_find_char(url, '@');
	struct str user = str_sub(url, str_find(url, STR("://")) + 3, at);

	config_read_secret(r, value, rule, &config->upstream.proxy_password);
	if (r->proxy_bad)
		return;
	if (at == url.n)
		config_error(r, "needs a user in \"proxy\": http://user@host:port");
	else if (str_find_char(user, ':') < user.n)
		config_error(r, "is given twice, here and in \"proxy\"");
}

/* Read one host or block that is reached without the proxy. */
static void
read_exception(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct str s;

	(void)i;
	if (!config_text(r, value, 1, NO_PROXY_BYTES_MAX, &s))
		return;
	if (proxy_is_exception(s))
		*(struct str *)out = arena_copy(&r->config->arena, s);
	else
		config_error_is(r, "must be a domain (\"corp.example\"), an address or a block of them (\"10.0.0.0/8\")", value);
}

void
config_read_no_proxy(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;

	(void)rule;
	config_read_list(r, value, 0, NO_PROXY_MAX, sizeof(*config->upstream.no_proxy), (void **)&config->upstream.no_proxy,
	    &config->upstream.no_proxy_count, read_exception);
}
