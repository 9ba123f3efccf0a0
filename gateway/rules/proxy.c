/* Which way a request leaves. */
#include "rules/proxy.h"

#include "rules/network.h"

/* Whether NAME is DOMAIN or below it; a dot in front of DOMAIN makes no difference, as with most readers of such lists. */
static bool
is_below(struct str name, struct str domain)
{
	if (domain.n > 0 && domain.p[0] == '.')
		domain = str_sub(domain, 1, domain.n);
	if (domain.n == 0 || name.n < domain.n || !str_eq_nocase(str_sub(name, name.n - domain.n, name.n), domain))
		return false;
	return name.n == domain.n || name.p[name.n - domain.n - 1] == '.';
}

/* Whether one entry is for HOST, which is ADDRESS where NUMERIC. */
static bool
exception_holds(struct str entry, struct str host, bool numeric, const struct network_address *address)
{
	struct network network;

	if (network_parse(entry, &network) == NULL)
		return numeric && network_holds(&network, address);
	return !numeric && is_below(host, entry);
}

bool
proxy_is_for(const struct config *config, struct str host)
{
	struct network_address address;
	bool numeric = network_parse_address(host, &address);

	if (config->upstream.proxy.n == 0)
		return false;
	for (size_t i = 0; i < config->upstream.no_proxy_count; i++)
		if (exception_holds(config->upstream.no_proxy[i], host, numeric, &address))
			return false;
	return true;
}

bool
proxy_is_address(struct str host)
{
	struct network_address address;

	return network_parse_address(host, &address);
}

bool
proxy_is_exception(struct str text)
{
	struct network network;
	size_t first = text.n > 0 && text.p[0] == '.';

	if (network_parse(text, &network) == NULL)
		return true;
	for (size_t i = first; i < text.n; i++) {
		char c = str_lower(text.p[i]);
		bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';

		if (!letter && (c != '.' || i == first || text.p[i - 1] == '.'))
			return false;
	}
	/* No domain ends in anything but a letter; what ends in a digit is a mistyped address. */
	return text.n > first && str_lower(text.p[text.n - 1]) >= 'a' && str_lower(text.p[text.n - 1]) <= 'z';
}

/* Append S with everything but unreserved characters percent-encoded (RFC 3986 2.1). */
static void
add_encoded(struct buf *out, struct str s)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		char lower = str_lower(s.p[i]);

		if ((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~') {
			buf_add_char(out, s.p[i]);
			continue;
		}
		buf_add_char(out, '%');
		buf_add_char(out, digits[c >> 4]);
		buf_add_char(out, digits[c & 15]);
	}
}

void
proxy_add_url(const struct config *config, struct str password, struct buf *out)
{
	struct str url = config->upstream.proxy;
	size_t at = str_find_char(url, '@');

	buf_room(out, url.n + 3 * password.n + 1);
	if (password.n == 0 || at == url.n) {
		buf_add(out, url);
		return;
	}
	buf_add(out, str_sub(url, 0, at));
	buf_add_char(out, ':');
	add_encoded(out, password);
	buf_add(out, str_sub(url, at, url.n));
}

void
proxy_add_private_prefix(const struct config *config, struct str workspace, struct buf *out)
{
	if (!config->upstream.private_link || workspace.n < 2)
		return;
	for (size_t i = 0; i < workspace.n; i++)
		if (workspace.p[i] != '-')
			buf_add_char(out, str_lower(workspace.p[i]));
	buf_printf(out, ".z%c%c.w.", str_lower(workspace.p[0]), str_lower(workspace.p[1]));
}
