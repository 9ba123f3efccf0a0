/* Splitting an http or https URL. */
#include "io/url.h"

#include "base/http1.h"

#define URL_PORT_HTTP 80
#define URL_PORT_HTTPS 443

/* Whether S may stand in a request line: visible ASCII, no fragment. */
static bool
url_is_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '#')
			return false;
	return true;
}

/* Take host and port off URL->authority. */
static bool
url_split_authority(struct url *url)
{
	struct str s = url->authority, port;
	uint64_t number = url->tls ? URL_PORT_HTTPS : URL_PORT_HTTP;
	size_t end;

	if (!http1_is_authority(s))
		return false;
	if (s.p[0] == '[') {
		end = str_find_char(s, ']');
		url->host = str_sub(s, 1, end);
		s = str_sub(s, end + 1, s.n);
	} else {
		end = str_find_char(s, ':');
		url->host = str_sub(s, 0, end);
		s = str_sub(s, end, s.n);
	}
	port = str_sub(s, 1, s.n);
	if (s.n > 0 && (!str_to_u64(port, &number) || number == 0 || number > UINT16_MAX))
		return false;
	url->port = (uint16_t)number;
	return url->host.n > 0;
}

const char *
url_split(struct str text, struct url *url)
{
	struct str s;
	size_t end = 0, at;

	url->tls = str_starts_nocase(text, STR("https://"));
	if (!url->tls && !str_starts_nocase(text, STR("http://")))
		return "the URL begins neither with https:// nor with http://";
	if (!url_is_text(text))
		return "the URL has a byte that is none of visible ASCII, or a fragment";
	s = str_sub(text, url->tls ? 8 : 7, text.n);
	while (end < s.n && s.p[end] != '/' && s.p[end] != '?')
		end++;
	url->authority = str_sub(s, 0, end);
	url->target = end < s.n ? str_sub(s, end, s.n) : STR("/");
	if (url->target.p[0] == '?')
		return "the URL has a query without a path";
	at = str_find_char(url->authority, '@');
	url->userinfo = at < url->authority.n ? str_sub(url->authority, 0, at) : (struct str){ NULL, 0 };
	if (at < url->authority.n)
		url->authority = str_sub(url->authority, at + 1, url->authority.n);
	return url_split_authority(url) ? NULL : "the URL's host or port is malformed";
}
