/* Base64, strict: one text for each run of bytes. */
#include "base/base64.h"

#include <string.h>

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

/* A digit's value + 1; 0 for what is no digit. */
#define LETTERS_AND_DIGITS \
	['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, \
	['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, \
	['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62
static const uint8_t plain_values[256] = { LETTERS_AND_DIGITS, ['+'] = 63, ['/'] = 64 };
static const uint8_t url_values[256] = { LETTERS_AND_DIGITS, ['-'] = 63, ['_'] = 64 };

size_t
base64_decoded(struct str text)
{
	return text.n / 4 * 3 + (text.n % 4 ? text.n % 4 - 1 : 0);
}

/* Decode the four digits at P into three bytes; false where one is none. */
static bool
decode_quad(const uint8_t *values, const char *p, uint8_t *out)
{
	uint32_t bits = 0;

	for (int i = 0; i < 4; i++) {
		unsigned value = values[(unsigned char)p[i]];

		if (value == 0)
			return false;
		bits = bits << 6 | (value - 1);
	}
	out[0] = (uint8_t)(bits >> 16);
	out[1] = (uint8_t)(bits >> 8);
	out[2] = (uint8_t)bits;
	return true;
}

/* Decode text without padding. */
static bool
decode(const uint8_t *values, struct str text, uint8_t *out, size_t *n)
{
	size_t whole = text.n & ~(size_t)3, rest = text.n - whole;
	char last[4] = { 'A', 'A', 'A', 'A' };
	uint8_t bytes[3];

	*n = 0;
	if (rest == 1)
		return false;
	for (size_t i = 0; i < whole; i += 4, *n += 3)
		if (!decode_quad(values, text.p + i, out + *n))
			return false;
	if (rest == 0)
		return true;
	memcpy(last, text.p + whole, rest);
	if (!decode_quad(values, last, bytes) || bytes[rest - 1] != 0)	/* the bits behind the last byte */
		return false;
	memcpy(out + *n, bytes, rest - 1);
	*n += rest - 1;
	return true;
}

bool
base64_decode(struct buf *out, struct str text)
{
	size_t n = text.n, decoded;
	uint8_t *room = (uint8_t *)buf_room(out, BASE64_DECODED(text.n));

	if (n % 4 != 0)
		return false;
	for (size_t k = 0; k < 2 && n > 0 && text.p[n - 1] == '='; k++)
		n--;
	if (!decode(plain_values, str_sub(text, 0, n), room, &decoded))
		return false;
	out->n += decoded;
	return true;
}

bool
base64_decode_url(struct str text, uint8_t *out, size_t *n)
{
	return decode(url_values, text, out, n);
}
