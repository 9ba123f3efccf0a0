/* rules/apikey: the form of keys. */
#include "rules/apikey.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* Computed with Python: int.from_bytes, divmod by 62, zlib.crc32. */
static const struct { uint8_t fill, last; const char *key; } vectors[] = {
	{ 0x00, 0x00, "jg_00000000000000000000000000000000000000000003In4JX" },
	{ 0x00, 0x01, "jg_00000000000000000000000000000000000000000013Zndyf" },
	{ 0xff, 0xff, "jg_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp10a7kwd" },
	{ 0xa5, 0x3d, "jg_dHMOUNLh0UTx6gmQ9MHQdRUvZdbXMLLlzChlYYN1sgH35jTip" },
};

static void
test_formats_known_keys(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint8_t random[APIKEY_RANDOM_BYTES];
		char key[APIKEY_BYTES + 1];

		memset(random, vectors[i].fill, sizeof(random));
		random[sizeof(random) - 1] = vectors[i].last;
		apikey_format(random, key);
		assert_string_equal(key, vectors[i].key);
		assert_true(apikey_is_wellformed(str_from(key)));
	}
}

/* Any one character changed, any length but the right one: not well formed. */
static void
test_checksum_finds_each_slip(void **state)
{
	struct str good = str_from(vectors[3].key);
	char key[APIKEY_BYTES + 2];

	(void)state;
	for (size_t i = 0; i < good.n; i++) {
		memcpy(key, good.p, good.n);
		key[i] = key[i] == 'x' ? 'y' : 'x';
		assert_false(apikey_is_wellformed((struct str){ key, good.n }));
		key[i] = '\0';
		assert_false(apikey_is_wellformed((struct str){ key, good.n }));
		assert_false(apikey_is_wellformed(str_sub(good, 0, i)));
	}
	memcpy(key, good.p, good.n);
	key[good.n] = '0';
	assert_false(apikey_is_wellformed((struct str){ key, good.n + 1 }));
	assert_false(apikey_is_wellformed((struct str){ NULL, 0 }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats_known_keys),
		cmocka_unit_test(test_checksum_finds_each_slip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
