/* Reading a proxy's URL. */
#include "io/proxy.h"

#include "base/base64.h"
#include "io/url.h"

/* Decode %XX of S; false on a broken encoding. */
static bool
proxy_decode(struct str s, struct buf *out)
{
	buf_room(out, s.n);
	for (size_t i = 0; i < s.n; i++) {
		uint8_t byte = (uint8_t)s.p[i];

		if (byte == '%') {
			if (!str_hex_decode(str_sub(s, i + 1, i + 3), &byte, 1))
				return false;
			i += 2;
		}
		buf_add_char(out, (char)byte);
	}
	return true;
}

const char *
proxy_from_url(struct str text, struct upstream_proxy *proxy, struct buf *authorization)
{
	struct buf user = BUF_EMPTY;
	struct url url;
	const char *why;
	bool decoded;

	*proxy = (struct upstream_proxy){ .port = 0 };
	if (text.n == 0)
		return NULL;
	why = url_split(text, &url);
	if (why != NULL)
		return why;
	if (url.tls || url.target.n > 1)
		return "a proxy is http://[user:password@]host:port";
	decoded = proxy_decode(url.userinfo, &user);
	buf_room(authorization, 8 + user.n * 2);
	if (decoded && url.userinfo.n > 0) {	/* RFC 7617 2 */
		buf_add_z(authorization, "Basic ");
		base64_encode(authorization, buf_str(&user));
	}
	buf_wipe(&user);
	*proxy = (struct upstream_proxy){ url.host, url.port, buf_str(authorization) };
	return decoded ? NULL : "the proxy's user or password is not percent-encoded";
}
