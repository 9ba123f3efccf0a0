/*
 * What each byte may be in HTTP/1.1 grammar: one table for all of base/http1*.c.
 *
 * Private to http1*.c. One look-up replaces the chains of comparisons that two parsers
 * would write differently.
 */
#ifndef JOBGATE_BASE_HTTP1_BYTES_H
#define JOBGATE_BASE_HTTP1_BYTES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/eight.h"

enum http1_byte {
	HTTP1_BYTE_TOKEN = 1,	/* tchar, RFC 9110 5.6.2 */
	HTTP1_BYTE_VALUE = 2,	/* in a field value, RFC 9110 5.5: HTAB, SP, visible, obs-text */
	HTTP1_BYTE_VISIBLE = 4,	/* 0x21 to 0x7e: in a request target */
	HTTP1_BYTE_LINE = 8,	/* 0x20 to 0x7e: in a request line */
	HTTP1_BYTE_HOST = 16,	/* in a registered name: letters, digits, "-._~" */
};

extern const uint8_t http1_bytes[256];

/* Whether C has any of the properties in MASK. */
static inline bool
http1_byte_is(char c, unsigned mask)
{
	return (http1_bytes[(uint8_t)c] & mask) != 0;
}

/*
 * The place of the first byte of P from AT on, before END, that is none of MASK: HTTP1_BYTE_LINE or HTTP1_BYTE_VALUE. What both have,
 * 0x20 to 0x7e, is passed eight bytes at a time.
 */
static inline size_t
http1_skip_text(const char *p, size_t at, size_t end, unsigned mask)
{
	while (at < end) {
		if (end - at >= 8) {
			uint64_t other = eight_not_text(eight_load(p + at));

			if (other == 0) {
				at += 8;
				continue;
			}
			at += eight_first(other);
		}
		if (!http1_byte_is(p[at], mask))
			break;
		at++;
	}
	return at;
}

#endif
