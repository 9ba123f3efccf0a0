/* The byte table of HTTP/1.1 grammar, and the questions that need nothing else. */
#include "base/http1_bytes.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/http1.h"

/*
 * Sums of enum http1_byte, one row for 16 bytes; tests/unit/test_http1.c holds it against the grammar.
 * 0: control bytes and DEL, which are legal nowhere (CR and LF are looked for first).
 */
const uint8_t http1_bytes[256] = {
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0,	/* 0x00 */
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,	/* 0x10 */
	10, 15, 14, 15, 15, 15, 15, 15, 14, 14, 15, 15, 14, 31, 31, 14,	/* 0x20 */
	31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 14, 14, 14, 14, 14, 14,	/* 0x30 */
	14, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31,	/* 0x40 */
	31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 14, 14, 14, 15, 31,	/* 0x50 */
	15, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31,	/* 0x60 */
	31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 14, 15, 14, 31,  0,	/* 0x70 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,	/* 0x80 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,	/* 0x90 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,	/* 0xa0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,	/* 0xb0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,	/* 0xc0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,	/* 0xd0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,	/* 0xe0 */
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,	/* 0xf0 */
};

bool
http1_is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!http1_byte_is(s.p[i], HTTP1_BYTE_TOKEN))
			return false;
	return s.n > 0;
}

bool
http1_is_value(struct str s)
{
	return http1_skip_text(s.p, 0, s.n, HTTP1_BYTE_VALUE) == s.n;
}

/* Whether S is an IPv6 address between brackets; zones and future versions are none. */
static bool
is_ip_literal(struct str s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (s.n < 4 || s.n - 2 >= sizeof text || s.p[0] != '[' || s.p[s.n - 1] != ']' ||
	    memchr(s.p, '\0', s.n) != NULL)
		return false;
	memcpy(text, s.p + 1, s.n - 2);
	text[s.n - 2] = '\0';
	return inet_pton(AF_INET6, text, &address) == 1;
}

/* Whether S is a name that a host can have; 255 is the longest name of the DNS. */
static bool
is_host_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!http1_byte_is(s.p[i], HTTP1_BYTE_HOST))
			return false;
	return s.n >= 1 && s.n <= 255;
}

bool
http1_is_authority(struct str s)
{
	size_t end = s.n > 0 && s.p[0] == '[' ? str_find_char(s, ']') + 1 : str_find_char(s, ':');
	struct str host = str_sub(s, 0, end), port = str_sub(s, end, s.n);
	uint64_t number = 0;

	if (port.n > 0 && (port.p[0] != ':' || port.n > 6))
		return false;
	if (port.n > 1 && (!str_to_u64(str_sub(port, 1, port.n), &number) || number > UINT16_MAX))
		return false;
	return host.n > 0 && (host.p[0] == '[' ? is_ip_literal(host) : is_host_name(host));
}
