/*
 * Byte slices: a pointer and a length that somebody else owns.
 *
 * A slice never owns, never ends in NUL by promise, and may hold any byte.
 * Comparisons without case are ASCII only (RFC 9110 5.1); the locale is never asked.
 */
#ifndef JOBGATE_BASE_STR_H
#define JOBGATE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

/* A slice over a string literal. */
#define STR(lit) ((struct str){ (lit), sizeof(lit) - 1 })
/* The same for static initialisers, where a compound literal is no constant. */
#define STR_INIT(lit) { (lit), sizeof(lit) - 1 }
/* For printf: printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).n, (s).p

/* ASCII letter to lower case; any other byte unchanged. */
static inline char
str_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* The slice of a NUL-terminated string; NULL gives the empty slice. */
static inline struct str
str_from(const char *z)
{
	return (struct str){ z, z ? strlen(z) : 0 };
}

/* The longest number: its digits and a minus sign. */
#define STR_INT_BYTES 20

/* VALUE in decimal digits, with a minus sign where it is negative; they are at the end of STORAGE. */
struct str str_from_int(char storage[STR_INT_BYTES], int64_t value);

/* Bytes FROM to TO of S, both cut to S's length. */
static inline struct str
str_sub(struct str s, size_t from, size_t to)
{
	if (to > s.n)
		to = s.n;
	if (from > to)
		from = to;
	return (struct str){ s.p + from, to - from };
}

static inline bool
str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* N bytes, without case; for str_eq_nocase. */
bool str_same_nocase(const char *a, const char *b, size_t n);

static inline bool
str_eq_nocase(struct str a, struct str b)
{
	return a.n == b.n && str_same_nocase(a.p, b.p, a.n);
}

/* Write S with its letters in lower case to OUT, which has room for all of it. */
void str_lower_copy(struct str s, char *out);

bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);

/* The place of the first C in S, or S.n. */
static inline size_t
str_find_char(struct str s, char c)
{
	const char *hit = s.n ? (const char *)memchr(s.p, c, s.n) : NULL;

	return hit ? (size_t)(hit - s.p) : s.n;
}

/* The place of the first NEEDLE in S, or S.n where there is none. */
size_t str_find(struct str s, struct str needle);

/* S without leading and trailing SP and HTAB (RFC 9110 5.6.3, OWS). */
struct str str_trim(struct str s);

/* Take the part of REST before the next SEP off its front; false when nothing is left. */
bool str_next(struct str *rest, char sep, struct str *part);

/* Decimal digits only, at least one, no sign, no overflow; else false and OUT untouched. */
bool str_to_u64(struct str s, uint64_t *out);

/* The value of a hexadecimal digit, or -1. */
int str_hex_value(char c);

/* Write 2*N lower-case hexadecimal digits of BYTES to OUT; no NUL is added. */
void str_hex_encode(const uint8_t *bytes, size_t n, char *out);

/* Read exactly 2*N hexadecimal digits; false where S has another length or byte. */
bool str_hex_decode(struct str s, uint8_t *out, size_t n);

/*
 * Mix S and its end into HASH (FNV-1a; begin with STR_HASH_BEGIN). For tables whose content nobody chooses who could gain by
 * collisions: it is no defence. Use the low bits of str_hash_end.
 */
#define STR_HASH_BEGIN UINT64_C(14695981039346656037)
uint64_t str_hash(uint64_t hash, struct str s);
static inline uint64_t
str_hash_end(uint64_t hash)
{
	return hash ^ hash >> 32;
}

/* Compare N secret bytes in a time that does not depend on where they differ. */
bool str_same_secret(const uint8_t *a, const uint8_t *b, size_t n);

#endif
