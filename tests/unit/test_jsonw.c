/* The JSON writer's strings: every byte at every place of a word comes out as JSON has it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/jsonw.h"

/* Longer than two words, so that a byte is met in words and in the rest behind them. */
#define BYTES_MAX 19

/* What one byte that stands alone among letters becomes. */
static void
expect_byte(struct buf *out, unsigned char c)
{
	if (c >= 0x80)
		buf_add_z(out, "\\ufffd");
	else if (c == '"' || c == '\\')
		buf_printf(out, "\\%c", c);
	else if (c < 0x20 || c == 0x7f)
		buf_printf(out, "\\u%04x", c);
	else
		buf_add_char(out, (char)c);
}

static void
test_every_byte_at_every_place(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++)
		for (size_t n = 1; n <= BYTES_MAX; n++)
			for (size_t at = 0; at < n; at++) {
				char text[BYTES_MAX];
				struct buf got = BUF_EMPTY, expected = BUF_EMPTY;

				for (size_t i = 0; i < n; i++)
					text[i] = (char)(i == at ? c : 'a' + i);
				for (size_t i = 0; i < n; i++)
					expect_byte(&expected, (unsigned char)text[i]);
				jsonw_escape(&got, (struct str){ text, n });
				if (!str_eq(buf_str(&got), buf_str(&expected)))
					fail_msg("byte %u at %zu of %zu: %.*s", c, at, n, STR_ARG(buf_str(&got)));
				buf_fini(&got);
				buf_fini(&expected);
			}
}

/* Well-formed sequences of more bytes stay, wherever a word ends in them; of what is cut each byte is replaced. */
static void
test_utf8(void **state)
{
	static const char *const rows[][2] = {
		{ "1234567\xc3\xa4", "1234567\xc3\xa4" }, { "123456\xe2\x82\xac" "89", "123456\xe2\x82\xac" "89" },
		{ "12345\xf0\x9f\x98\x80" "0", "12345\xf0\x9f\x98\x80" "0" }, { "1234567\xc3", "1234567\\ufffd" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf got = BUF_EMPTY;

		jsonw_escape(&got, str_from(rows[i][0]));
		if (!str_eq(buf_str(&got), str_from(rows[i][1])))
			fail_msg("%s became %.*s", rows[i][0], STR_ARG(buf_str(&got)));
		buf_fini(&got);
	}
}

/* Numbers as printf has them, around each power of ten and at both ends. */
static void
test_numbers(void **state)
{
	(void)state;
	for (uint64_t power = 1, n = 0; n < 20; power *= 10, n++)
		for (int near = -1; near <= 1; near++)
			for (int sign = -1; sign <= 1; sign += 2) {
				uint64_t bits = (power + (uint64_t)near) * (uint64_t)sign;
				int64_t value = (int64_t)bits;
				struct buf got = BUF_EMPTY;
				char expected[24];

				snprintf(expected, sizeof(expected), "%lld", (long long)value);
				buf_add_int(&got, value);
				assert_true(str_eq(buf_str(&got), str_from(expected)));
				buf_clear(&got);
				buf_add_int(&got, n % 2 ? INT64_MIN : INT64_MAX);
				assert_true(str_eq(buf_str(&got), n % 2 ? STR("-9223372036854775808") : STR("9223372036854775807")));
				buf_fini(&got);
			}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte_at_every_place),
		cmocka_unit_test(test_utf8), cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
