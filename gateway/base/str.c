/* Byte slices. */
#include "base/str.h"

#include <string.h>

#include "base/eight.h"

bool
str_same_nocase(const char *a, const char *b, size_t n)
{
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t x = eight_load(a + i), y = eight_load(b + i);

		if (x != y && eight_lower(x) != eight_lower(y))
			return false;
	}
	for (; i < n; i++)
		if (a[i] != b[i] && str_lower(a[i]) != str_lower(b[i]))
			return false;
	return true;
}

void
str_lower_copy(struct str s, char *out)
{
	size_t i = 0;

	for (; s.n - i >= 8; i += 8)
		eight_store(out + i, eight_lower(eight_load(s.p + i)));
	for (; i < s.n; i++)
		out[i] = str_lower(s.p[i]);
}

bool
str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_sub(s, 0, prefix.n), prefix);
}

bool
str_starts_nocase(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq_nocase(str_sub(s, 0, prefix.n), prefix);
}

size_t
str_find(struct str s, struct str needle)
{
	const char *hit = needle.n && s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;

	return hit ? (size_t)(hit - s.p) : s.n;
}

struct str
str_trim(struct str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

bool
str_next(struct str *rest, char sep, struct str *part)
{
	size_t at;

	if (rest->p == NULL)
		return false;
	at = str_find_char(*rest, sep);
	*part = str_sub(*rest, 0, at);
	if (at == rest->n)
		*rest = (struct str){ NULL, 0 };
	else
		*rest = str_sub(*rest, at + 1, rest->n);
	return true;
}

struct str
str_from_int(char storage[STR_INT_BYTES], int64_t value)
{
	uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
	char *end = storage + STR_INT_BYTES, *p = end;

	do {
		*--p = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0 && p > storage + 1);	/* 19 digits are the most of 64 bits */
	if (value < 0)
		*--p = '-';
	return (struct str){ p, (size_t)(end - p) };
}

bool
str_to_u64(struct str s, uint64_t *out)
{
	uint64_t value = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

int
str_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = str_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void
str_hex_encode(const uint8_t *bytes, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (; n >= 4; n -= 4, bytes += 4, out += 8)
		eight_store(out, eight_hex(bytes));
	for (; n > 0; n--, bytes++, out += 2) {
		out[0] = digits[*bytes >> 4];
		out[1] = digits[*bytes & 15];
	}
}

bool
str_hex_decode(struct str s, uint8_t *out, size_t n)
{
	if (s.n != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int high = str_hex_value(s.p[2 * i]), low = str_hex_value(s.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

uint64_t
str_hash(uint64_t hash, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		hash = (hash ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
	return (hash ^ 0xff) * UINT64_C(1099511628211);	/* no byte of a text: "ab", "c" is not "a", "bc" */
}

bool
str_same_secret(const uint8_t *a, const uint8_t *b, size_t n)
{
	volatile uint8_t different = 0;

	for (size_t i = 0; i < n; i++)
		different |= a[i] ^ b[i];
	return different == 0;
}
