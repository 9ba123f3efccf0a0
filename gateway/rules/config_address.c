/* Addresses and URLs of the configuration. */
#include "rules/config_private.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <string.h>

/* RFC 1035 2.3.4: a name has at most 253 characters as text, a label 63. */
#define CONFIG_HOST_MAX 253
#define CONFIG_LABEL_MAX 63

/* A target has 24 segments at most, a route behind /v1 takes 9: 8 in front leave room. */
#define CONFIG_PUBLIC_SEGMENTS_MAX 8

#define CONFIG_PORT_HTTPS 443
#define CONFIG_PORT_HTTP 80

/* The numeric address HOST as bytes; false where it is none. */
static bool
config_numeric(struct str host, int family, void *out)
{
	char z[INET6_ADDRSTRLEN];

	if (host.n == 0 || host.n >= sizeof(z) || memchr(host.p, '\0', host.n))
		return false;
	memcpy(z, host.p, host.n);
	z[host.n] = '\0';
	return inet_pton(family, z, out) == 1;
}

/* Letters, digits, '-' and '_' (which real names of containers have), no '-' at the ends. */
static bool
config_is_label(struct str s)
{
	if (s.n == 0 || s.n > CONFIG_LABEL_MAX || s.p[0] == '-' || s.p[s.n - 1] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = str_lower(s.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
	}
	return true;
}

bool
config_is_host(struct str host, bool ipv6)
{
	struct in6_addr address;
	struct str rest = host, label = { NULL, 0 };
	uint64_t number;

	if (ipv6)
		return config_numeric(host, AF_INET6, &address);
	if (host.n == 0 || host.n > CONFIG_HOST_MAX)
		return false;
	while (str_next(&rest, '.', &label))
		if (!config_is_label(label))
			return false;
	/* A last label of digits is an address or a mistake (WHATWG URL: "ends in a number"). */
	return !str_to_u64(label, &number) || config_numeric(host, AF_INET, &address);
}

/* "1" to "65535" without leading zeros. */
static bool
config_port(struct str s, uint16_t *port)
{
	uint64_t n;

	if (s.n > 5 || !str_to_u64(s, &n) || s.p[0] == '0' || n > UINT16_MAX)
		return false;
	*port = (uint16_t)n;
	return true;
}

bool
config_split_host(struct str s, struct str *host, bool *ipv6, uint16_t *port)
{
	size_t end;

	*port = 0;
	*ipv6 = s.n && s.p[0] == '[';
	end = str_find_char(s, *ipv6 ? ']' : ':');
	if (*ipv6 && end == s.n)
		return false;
	*host = str_sub(s, *ipv6, end);
	s = str_sub(s, end + *ipv6, s.n);
	if (s.n == 0)
		return true;
	return s.p[0] == ':' && config_port(str_sub(s, 1, s.n), port);
}

bool
config_is_url_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("\"<>\\^`{|}", s.p[i]))
			return false;
	return true;
}

const char *
config_url_split(struct str s, struct config_url *out)
{
	size_t colon = str_find(s, STR("://")), at, slash;
	struct str authority;

	*out = (struct config_url){ 0 };
	if (colon == s.n)
		return "must be a URL with scheme and host, as \"https://host:port\"";
	if (!config_is_url_text(s) || str_find_char(s, '?') < s.n || str_find_char(s, '#') < s.n)
		return "must be a URL of visible ASCII characters without query and fragment";
	out->scheme = str_sub(s, 0, colon);
	s = str_sub(s, colon + 3, s.n);
	slash = str_find_char(s, '/');
	out->path = str_sub(s, slash, s.n);
	authority = str_sub(s, 0, slash);
	at = str_find_char(authority, '@');
	if (at < authority.n) {
		out->userinfo = str_sub(authority, 0, at);
		authority = str_sub(authority, at + 1, authority.n);
	}
	if (!config_split_host(authority, &out->host, &out->ipv6, &out->port))
		return "must have a host and, behind a colon, a port from 1 to 65535 (an IPv6 address in brackets)";
	return config_is_host(out->host, out->ipv6) ? NULL :
	    "must have a host that is a DNS name, an IPv4 address or an IPv6 address in brackets";
}

bool
config_read_url(struct config_reader *r, struct json_t *value, struct config_url *url)
{
	const char *why;
	struct str s;

	if (!config_text(r, value, 1, CONFIG_URL_MAX, &s))
		return false;
	why = config_url_split(s, url);
	if (why)
		config_error_is(r, why, value);
	else if (url->userinfo.p)
		config_error(r, "must not have a user or password");
	return why == NULL && url->userinfo.p == NULL;
}

void
config_read_address(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_listen *listen = out;
	struct in6_addr address;
	struct str s = { json_string_value(value), json_string_length(value) }, host;
	uint16_t port;
	bool ipv6;

	(void)rule;
	if (!json_is_string(value) || !config_split_host(s, &host, &ipv6, &port) || port == 0 ||
	    !config_numeric(host, ipv6 ? AF_INET6 : AF_INET, &address) ||
	    (ipv6 && IN6_IS_ADDR_V4MAPPED(&address))) {
		config_error_is(r, "must be a numeric address and a port, as \"127.0.0.1:8080\" or \"[::1]:8080\"",
		    value);
		return;
	}
	listen->address = arena_copy(&r->config->arena, s);
	listen->host = arena_copy(&r->config->arena, host);
	listen->port = port;
}

bool
config_is_loopback(const struct config_listen *listen)
{
	struct in6_addr six;
	struct in_addr four;

	if (config_numeric(listen->host, AF_INET, &four))
		return ntohl(four.s_addr) >> 24 == 127;
	return config_numeric(listen->host, AF_INET6, &six) && IN6_IS_ADDR_LOOPBACK(&six);
}

bool
config_same_address(const struct config_listen *a, const struct config_listen *b)
{
	struct in6_addr six_a, six_b;
	struct in_addr four_a, four_b;

	if (a->port != b->port)
		return false;
	if (config_numeric(a->host, AF_INET, &four_a) && config_numeric(b->host, AF_INET, &four_b))
		return four_a.s_addr == four_b.s_addr || four_a.s_addr == 0 || four_b.s_addr == 0;
	if (config_numeric(a->host, AF_INET6, &six_a) && config_numeric(b->host, AF_INET6, &six_b))
		return IN6_ARE_ADDR_EQUAL(&six_a, &six_b) || IN6_IS_ADDR_UNSPECIFIED(&six_a) ||
		    IN6_IS_ADDR_UNSPECIFIED(&six_b);
	return false;
}

/*
 * Segments of unreserved characters (RFC 3986 2.3), none empty and none of dots only: nothing that two parsers could
 * read differently.
 */
static bool
config_is_public_path(struct str path)
{
	struct str segment, rest = str_sub(path, 1, path.n);
	size_t count = 0;

	if (path.n == 0)
		return true;
	while (str_next(&rest, '/', &segment)) {
		if (segment.n == 0 || str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
			return false;
		for (size_t i = 0; i < segment.n; i++) {
			char c = str_lower(segment.p[i]);

			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && strchr("-._~", c) == NULL)
				return false;
		}
		count++;
	}
	return count <= CONFIG_PUBLIC_SEGMENTS_MAX;
}

void
config_read_public_url(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;
	struct config_url url;
	bool https;

	(void)rule;
	r->public_url_bad = true;
	if (!config_read_url(r, value, &url))
		return;
	https = str_eq_nocase(url.scheme, STR("https"));
	if (!https && !str_eq_nocase(url.scheme, STR("http"))) {
		config_error_is(r, "must begin with https:// or http://", value);
		return;
	}
	while (url.path.n && url.path.p[url.path.n - 1] == '/')
		url.path.n--;
	if (!config_is_public_path(url.path)) {
		config_error_is(r, "must have a path of at most 8 plain segments (letters, digits, - . _ ~)", value);
		return;
	}
	r->public_url_bad = false;
	if (url.port == (https ? CONFIG_PORT_HTTPS : CONFIG_PORT_HTTP))
		url.port = 0;
	config->public_origin = arena_printf(&config->arena, url.ipv6 ? "%s://[%.*s]" : "%s://%.*s",
	    https ? "https" : "http", STR_ARG(config_lower(r, url.host)));
	if (url.port)
		config->public_origin = arena_printf(&config->arena, "%.*s:%u", STR_ARG(config->public_origin),
		    url.port);
	config->public_path = arena_copy(&config->arena, url.path);
	if (url.path.n >= 3 && str_eq(str_sub(url.path, url.path.n - 3, url.path.n), STR("/v1")))
		config_warn(r, "public_url ends with /v1, so that callers have to ask for /v1/v1/workspaces/...; "
		    "leave it out");
}

void
config_read_upstream_url(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;
	struct config_url url;

	(void)rule;
	if (!config_read_url(r, value, &url))
		return;
	if (!str_eq_nocase(url.scheme, STR("https"))) {
		config_error_is(r, "must begin with https:// (tokens are never sent in the clear)", value);
		return;
	}
	if (url.path.n > 1) {
		config_error_is(r, "must have no path: the routes of the API begin at /v1", value);
		return;
	}
	config->upstream.url = arena_copy(&config->arena, str_from(json_string_value(value)));
	config->upstream.host = config_lower(r, url.host);
	config->upstream.port = url.port ? url.port : CONFIG_PORT_HTTPS;
	r->upstream_ipv6 = url.ipv6;
}

void
config_read_server_name(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, CONFIG_HOST_MAX, &s))
		return;
	if (!config_is_host(s, false)) {
		config_error_is(r, "must be the DNS name (or IPv4 address) that the upstream's certificate is for",
		    value);
		return;
	}
	config->upstream.server_name = config_lower(r, s);
	r->server_name_given = true;
}
