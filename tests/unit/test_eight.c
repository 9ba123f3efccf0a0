/* base/eight: each answer about eight bytes is held against the same question, asked of each byte; and those that are built on it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/eight.h"
#include "base/str.h"

#define ROUNDS 200000

static uint64_t seed = 7;

/* The next number of xorshift64*. */
static uint64_t
next_random(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(2685821657736338717);
}

/* Bytes beside which the answers change, and the extremes. */
static const unsigned char edges[] = { 0, 1, 0x1f, 0x20, 0x21, 0x22, 0x23, '-', '/', '0', '5', '9', ':', '@', 'A', 'F', 'G', 'Z', '[', '\\', ']',
	'_', '`', 'a', 'f', 'g', 'z', '{', 0x7e, 0x7f, 0x80, 0x81, 0xa2, 0xc1, 0xdc, 0xfe, 0xff };

/* Eight bytes: at some places, by MASK's bits, of the edges, else letters. */
static void
make_eight(char text[8], unsigned mask)
{
	for (size_t i = 0; i < 8; i++)
		text[i] = mask >> i & 1 ? (char)edges[next_random() % sizeof(edges)] : (char)('a' + next_random() % 6);
}

static bool
is_text(char c)
{
	return (unsigned char)c >= 0x20 && (unsigned char)c <= 0x7e;
}

/* The place of the first that is no text, a quote where QUOTE; 8: none. */
static size_t
first_odd(const char text[8], bool quote)
{
	size_t i = 0;

	while (i < 8 && is_text(text[i]) && !(quote && text[i] == '"'))
		i++;
	return i;
}

/* The place of the first mark; 8: none. */
static size_t
first_mark(uint64_t marks)
{
	assert_true((marks & ~EIGHT_MARKS) == 0);
	return marks ? eight_first(marks) : 8;
}

/* Marks begin where the first such byte is. */
static void
test_marks(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		char text[8];
		uint64_t word;

		make_eight(text, i & 0xff);
		word = eight_load(text);
		assert_int_equal(first_mark(eight_not_text(word)), first_odd(text, false));
		assert_int_equal(first_mark(eight_not_text(word) | eight_is(word, '"')), first_odd(text, true));
	}
}

/* Lower case, and what is a hexadecimal digit. */
static void
test_bytes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		char text[8], lower[8];
		bool hex = true;

		make_eight(text, i & 0xff);
		eight_store(lower, eight_lower(eight_load(text)));
		for (size_t at = 0; at < 8; at++) {
			assert_int_equal(lower[at], str_lower(text[at]));
			hex = hex && str_hex_value(text[at]) >= 0;
		}
		assert_int_equal(eight_is_hex(eight_load(text)), hex);
	}
}

/* Control bytes are counted, whatever stands beside them. */
static void
test_controls(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		char text[8];
		size_t count = 0;

		make_eight(text, i & 0xff);
		for (size_t at = 0; at < 8; at++)
			count += (unsigned char)text[at] < ' ';
		assert_int_equal(eight_count_controls(eight_load(text)), count);
	}
}

/* All bytes as two digits. */
static void
test_hex(void **state)
{
	(void)state;
	for (size_t n = 0; n <= 21; n++)
		for (unsigned first = 0; first < 256; first++) {
			uint8_t bytes[21];
			char got[43] = "", expected[43] = "";

			for (size_t i = 0; i < n; i++) {
				bytes[i] = (uint8_t)(first + 37 * i);
				snprintf(expected + 2 * i, 3, "%02x", bytes[i]);
			}
			str_hex_encode(bytes, n, got);
			assert_string_equal(got, expected);
		}
}

/* What str_eq_nocase asks of each byte. */
static bool
is_same(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_lower(a[i]) != str_lower(b[i]))
			return false;
	return true;
}

/* Texts that differ in case alone, or in one byte too, wherever that is. */
static void
test_same_nocase(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t n = next_random() % 20, at = next_random() % 20;
		char a[32], b[32];

		for (size_t k = 0; k < 24; k += 8)
			make_eight(a + k, (unsigned)next_random() & 0xff);
		for (size_t k = 0; k < 24; k++)
			b[k] = next_random() % 2 ? str_lower(a[k]) : a[k];
		if (next_random() % 2)
			b[at] ^= (char)(1u << next_random() % 8);
		assert_int_equal(str_same_nocase(a, b, n), is_same(a, b, n));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_controls),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_same_nocase),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
