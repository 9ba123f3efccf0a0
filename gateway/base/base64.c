/* Base64, strict: one text for each run of bytes. */
#include "base/base64.h"

static const char base64_plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Encode in groups of three bytes; the last one may be shorter. */
static void
encode(struct buf *out, struct str bytes, const char *alphabet, bool padded)
{
	char *p = buf_room(out, (bytes.n + 2) / 3 * 4), *start = p;

	for (size_t i = 0; i < bytes.n; i += 3) {
		size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
		unsigned group = 0;

		for (size_t k = 0; k < 3; k++)
			group = group << 8 | (k < n ? (unsigned char)bytes.p[i + k] : 0);
		for (size_t k = 0; k <= n; k++)
			*p++ = alphabet[group >> (18 - 6 * k) & 63];
		for (size_t k = n; padded && k < 3; k++)
			*p++ = '=';
	}
	out->n += (size_t)(p - start);
}

void
base64_encode(struct buf *out, struct str bytes)
{
	encode(out, bytes, base64_plain, true);
}

void
base64_encode_url(struct buf *out, struct str bytes)
{
	encode(out, bytes, base64_url, false);
}

/* The six bits of C, or -1; URL: in the alphabet for URLs. */
static int
decode_char(char c, bool url)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (url ? '-' : '+'))
		return 62;
	return c == (url ? '_' : '/') ? 63 : -1;
}

/* Decode text without padding. */
static bool
decode(struct buf *out, struct str text, bool url)
{
	size_t before = out->n;
	unsigned bits = 0, have = 0;

	if (text.n % 4 == 1)
		return false;
	buf_room(out, text.n / 4 * 3 + 2);
	for (size_t i = 0; i < text.n; i++) {
		int value = decode_char(text.p[i], url);

		if (value < 0) {
			out->n = before;
			return false;
		}
		bits = (bits << 6 | (unsigned)value) & 0xffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out->p[out->n++] = (char)(bits >> have & 0xff);
		}
	}
	if ((bits & ((1u << have) - 1)) == 0)
		return true;
	out->n = before;
	return false;
}

bool
base64_decode(struct buf *out, struct str text)
{
	size_t n = text.n;

	if (n % 4 != 0)
		return false;
	for (size_t k = 0; k < 2 && n > 0 && text.p[n - 1] == '='; k++)
		n--;
	return decode(out, str_sub(text, 0, n), false);
}

bool
base64_decode_url(struct buf *out, struct str text)
{
	return decode(out, text, true);
}
