/* base64url without padding. */
#include "base/base64url.h"

#include <string.h>

/* A digit's value + 1; 0 for what is no digit. */
static const uint8_t digit_values[256] = {
	['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
	['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
	['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
	['-'] = 63,
	['_'] = 64,
};

size_t
base64url_size(struct str s)
{
	return s.n / 4 * 3 + (s.n % 4 ? s.n % 4 - 1 : 0);
}

/* Decode the four digits at P into three bytes; false where one is none. */
static bool
base64url_quad(const char *p, uint8_t *out)
{
	uint32_t bits = 0;

	for (int i = 0; i < 4; i++) {
		unsigned value = digit_values[(unsigned char)p[i]];

		if (value == 0)
			return false;
		bits = bits << 6 | (value - 1);
	}
	out[0] = (uint8_t)(bits >> 16);
	out[1] = (uint8_t)(bits >> 8);
	out[2] = (uint8_t)bits;
	return true;
}

bool
base64url_decode(struct str s, uint8_t *out, size_t *n)
{
	size_t whole = s.n & ~(size_t)3, rest = s.n - whole;
	char last[4] = { 'A', 'A', 'A', 'A' };
	uint8_t bytes[3];

	*n = 0;
	if (rest == 1)
		return false;
	for (size_t i = 0; i < whole; i += 4, *n += 3)
		if (!base64url_quad(s.p + i, out + *n))
			return false;
	if (rest == 0)
		return true;
	memcpy(last, s.p + whole, rest);
	if (!base64url_quad(last, bytes) || bytes[rest - 1] != 0)	/* the bits behind the last byte */
		return false;
	memcpy(out + *n, bytes, rest - 1);
	*n += rest - 1;
	return true;
}
