/* rules/uuid: version 7 as RFC 9562 lays it out, and what is a UUID. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "rules/uuid.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The example of RFC 9562, appendix A.6. */
static void
test_v7_example(void **state)
{
	const uint8_t random[10] = { 0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f };
	struct wall_time now = { INT64_C(1645557742000) * CLOCK_MS };
	char out[UUID_BYTES];

	(void)state;
	uuid_v7(now, random, out);
	assert_memory_equal(out, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", UUID_BYTES);
}

/* Version and variant hold whatever the random bytes are, and later ids sort behind earlier ones. */
static void
test_v7_order(void **state)
{
	uint8_t low[10], high[10];
	char first[UUID_BYTES], second[UUID_BYTES];

	(void)state;
	memset(low, 0x00, sizeof low);
	memset(high, 0xff, sizeof high);
	uuid_v7((struct wall_time){ INT64_C(1786000000000) * CLOCK_MS + 999 }, high, first);
	uuid_v7((struct wall_time){ INT64_C(1786000000001) * CLOCK_MS }, low, second);
	assert_true(memcmp(first, second, UUID_BYTES) < 0);
	assert_true(uuid_is((struct str){ first, UUID_BYTES }));
	assert_int_equal(first[14], '7');
	assert_int_equal(second[14], '7');
	assert_int_equal(first[19], 'b');
	assert_int_equal(second[19], '8');
}

static void
test_is(void **state)
{
	static const struct { struct str s; bool is; } cases[] = {
		{ STR_INIT("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), true },
		{ STR_INIT("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), true },
		{ STR_INIT("00000000-0000-0000-0000-000000000000"), true },
		{ STR_INIT(""), false }, { STR_INIT("017f22e2-79b0-7cc3-98c4-dc0c0c07398"), false },
		{ STR_INIT("017f22e2-79b0-7cc3-98c4-dc0c0c07398fa"), false },
		{ STR_INIT("{17f22e2-79b0-7cc3-98c4-dc0c0c07398}"), false },
		{ STR_INIT("017f22e2x79b0-7cc3-98c4-dc0c0c07398f"), false },
		{ STR_INIT("017f22e2-79b0-7cc3-98c4-dc0c0c07398g"), false },
		{ STR_INIT("017f22e279b0-7cc3-98c4-dc0c-0c07398f"), false },
		{ STR_INIT("017f22e2-79b0-7cc3-98c4-dc0c0c0739\0f"), false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (uuid_is(cases[i].s) != cases[i].is)
			fail_msg("case %zu", i);
}

/* Each byte at each place. */
static void
test_is_every_byte(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++)
		for (size_t at = 0; at < UUID_BYTES; at++) {
			char text[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
			bool dash = text[at] == '-';

			text[at] = (char)c;
			assert_int_equal(uuid_is((struct str){ text, UUID_BYTES }), dash ? c == '-' : str_hex_value((char)c) >= 0);
		}
}

static void
test_lower(void **state)
{
	char out[UUID_BYTES];

	(void)state;
	uuid_lower(STR("017F22E2-79B0-7cc3-98C4-DC0C0C07398F"), out);
	assert_memory_equal(out, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", UUID_BYTES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_v7_example), cmocka_unit_test(test_v7_order),
		cmocka_unit_test(test_is), cmocka_unit_test(test_is_every_byte), cmocka_unit_test(test_lower) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
