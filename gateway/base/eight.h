/*
 * Eight bytes at a time: what is asked of each byte of a text, asked of a word of it at once.
 *
 * Nearly all text of a request is plain letters and digits; a word that holds nothing else is passed with a dozen instructions
 * instead of fifty. A mark is the high bit of a byte. Only the lowest mark of a word is sure: a carry or a borrow out of the
 * byte that has it may have marked others above, and so one looks at the first, and again behind it.
 */
#ifndef JOBGATE_BASE_EIGHT_H
#define JOBGATE_BASE_EIGHT_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The byte B in all eight places. */
#define EIGHT_OF(b) (UINT64_C(0x0101010101010101) * (b))
#define EIGHT_MARKS EIGHT_OF(0x80)

/* The eight bytes at P, the first lowest on every machine. */
static inline uint64_t
eight_load(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return le64toh(word);
}

static inline void
eight_store(char *p, uint64_t word)
{
	word = htole64(word);
	memcpy(p, &word, sizeof(word));
}

/* The place of the first marked byte; MARKS is not 0. */
static inline size_t
eight_first(uint64_t marks)
{
	return (size_t)__builtin_ctzll(marks) / 8;
}

/* Mark what is not 0x20 to 0x7f: control bytes but DEL, and all that is not ASCII. */
static inline uint64_t
eight_not_plain(uint64_t word)
{
	return (word | (word - EIGHT_OF(0x20))) & EIGHT_MARKS;	/* taking 0x20 from less borrows into the high bit, which ASCII does not have */
}

/* Mark what is not 0x20 to 0x7e: the same, and DEL. */
static inline uint64_t
eight_not_text(uint64_t word)
{
	return (word | (word - EIGHT_OF(0x20)) | (word + EIGHT_OF(1))) & EIGHT_MARKS;
}

/* How many are below 0x20; exact, since no byte carries into the next. */
static inline size_t
eight_count_controls(uint64_t word)
{
	uint64_t from_blank = (word & ~EIGHT_MARKS) + EIGHT_OF(0x80 - 0x20);

	return (size_t)(((~(from_blank | word) & EIGHT_MARKS) >> 7) * EIGHT_OF(1) >> 56);
}

/* Mark the bytes that are C, and perhaps some that are not ASCII. */
static inline uint64_t
eight_is(uint64_t word, char c)
{
	return ((word ^ EIGHT_OF((uint8_t)c)) - EIGHT_OF(1)) & EIGHT_MARKS;
}

/* ASCII letters in lower case, any other byte unchanged. */
static inline uint64_t
eight_lower(uint64_t word)
{
	uint64_t seven = word & ~EIGHT_MARKS;
	uint64_t from_a = seven + EIGHT_OF(0x80 - 'A'), beyond_z = seven + EIGHT_OF(0x7f - 'Z');

	return word | ((from_a ^ beyond_z) & ~word & EIGHT_MARKS) >> 2;	/* 0x80 >> 2 is what tells the cases apart */
}

/* Whether all eight are hexadecimal digits. */
static inline bool
eight_is_hex(uint64_t word)
{
	uint64_t seven = word & ~EIGHT_MARKS, lower = seven | EIGHT_OF(0x20);
	uint64_t digit = (seven + EIGHT_OF(0x80 - '0')) & ~(seven + EIGHT_OF(0x7f - '9'));
	uint64_t letter = (lower + EIGHT_OF(0x80 - 'a')) & ~(lower + EIGHT_OF(0x7f - 'f'));

	return ((digit | letter) & ~word & EIGHT_MARKS) == EIGHT_MARKS;
}

/* The eight hexadecimal digits of the four bytes at P. */
static inline uint64_t
eight_hex(const uint8_t *p)
{
	uint64_t word = (uint64_t)p[0] | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 32 | (uint64_t)p[3] << 48, letters;

	word = (word >> 4 & UINT64_C(0x000f000f000f000f)) | (word & UINT64_C(0x000f000f000f000f)) << 8;
	letters = (word + EIGHT_OF(6)) >> 4 & EIGHT_OF(1);	/* of the digits above 9 */
	return word + EIGHT_OF('0') + letters * ('a' - '0' - 10);
}

#endif
