/* base64url without padding. */
#include "base/base64url.h"

/* The value of a digit, or -1. */
static int
base64url_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

size_t
base64url_size(struct str s)
{
	return s.n / 4 * 3 + (s.n % 4 ? s.n % 4 - 1 : 0);
}

bool
base64url_decode(struct str s, uint8_t *out, size_t *n)
{
	uint32_t bits = 0;
	int held = 0;

	*n = 0;
	if (s.n % 4 == 1)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		int value = base64url_value(s.p[i]);

		if (value < 0)
			return false;
		bits = (bits << 6 | (uint32_t)value) & 0xFFFF;
		held += 6;
		if (held >= 8) {
			held -= 8;
			out[(*n)++] = (uint8_t)(bits >> held);
		}
	}
	return (bits & ((1u << held) - 1)) == 0;
}
