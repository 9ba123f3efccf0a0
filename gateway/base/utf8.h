/*
 * UTF-8 (RFC 3629): the one place that says which bytes form a character.
 *
 * Overlong forms, surrogates and what lies beyond U+10FFFF are no characters.
 */
#ifndef JOBGATE_BASE_UTF8_H
#define JOBGATE_BASE_UTF8_H

#include "base/str.h"

/* How many bytes at the front of S, which is not empty, form one well-formed character; 0 where none do. */
static inline size_t
utf8_length(struct str s)
{
	unsigned char c = (unsigned char)s.p[0], c1 = s.n > 1 ? (unsigned char)s.p[1] : 0;
	size_t n;

	if (c < 0x80)
		return 1;
	n = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
	if (n == 0 || s.n < n)
		return 0;
	if ((c == 0xe0 && c1 < 0xa0) || (c == 0xed && c1 > 0x9f) ||
	    (c == 0xf0 && c1 < 0x90) || (c == 0xf4 && c1 > 0x8f))
		return 0;	/* overlong, surrogate, beyond U+10FFFF */
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* S cut to at most MAX bytes, not inside a character; bytes that are no UTF-8 are cut anywhere. */
static inline struct str
utf8_cut(struct str s, size_t max)
{
	size_t n = max;

	if (s.n <= max)
		return s;
	while (n > 0 && max - n < 3 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n--;
	if (((unsigned char)s.p[n] & 0xc0) == 0x80)
		n = max;	/* four continuation bytes: no character is being cut */
	return str_sub(s, 0, n);
}

#endif
