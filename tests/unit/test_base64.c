/* Base64: the RFC's own vectors, both alphabets, and texts that encode nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"

static const struct row { const char *bytes; size_t n; const char *plain, *url; } rows[] = {
	{ "", 0, "", "" }, { "f", 1, "Zg==", "Zg" }, { "fo", 2, "Zm8=", "Zm8" }, { "foo", 3, "Zm9v", "Zm9v" },
	{ "foob", 4, "Zm9vYg==", "Zm9vYg" }, { "fooba", 5, "Zm9vYmE=", "Zm9vYmE" }, { "foobar", 6, "Zm9vYmFy", "Zm9vYmFy" },
	{ "\xff\xef\xbe", 3, "/+++", "_---" }, { "\xfb\xff\xbf", 3, "+/+/", "-_-_" }, { "\0\0\0", 3, "AAAA", "AAAA" },
};

static void
test_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str bytes = { rows[i].bytes, rows[i].n };
		struct buf out = BUF_EMPTY;
		uint8_t decoded[16];
		size_t n;

		base64_encode(&out, bytes);
		assert_true(str_eq(buf_str(&out), str_from(rows[i].plain)));
		buf_clear(&out);
		base64_encode_url(&out, bytes);
		assert_true(str_eq(buf_str(&out), str_from(rows[i].url)));
		buf_clear(&out);
		assert_true(base64_decode(&out, str_from(rows[i].plain)) && str_eq(buf_str(&out), bytes));
		buf_clear(&out);
		assert_true(base64_decode_url(str_from(rows[i].url), decoded, &n) && str_eq((struct str){ (char *)decoded, n }, bytes));
		assert_int_equal(n, base64_decoded(str_from(rows[i].url)));
		buf_fini(&out);
	}
}

static void
test_what_is_none(void **state)
{
	static const char *const plain[] = { "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=", "====", "Zm9v=", "Zm 9", "Zg==Zg==", "_---", "Zm9v\n" };
	static const char *const url[] = { "Z", "Zg==", "Zh", "Zm9", "/+++", "Zm9v.", "Zm 9", "Zm9vY", "Zm8=", "+/+/",
		"Zm 9v", "Zm9v\n", " Zm9", "Zm\xc3\xa9" };
	struct buf out = BUF_EMPTY;
	uint8_t decoded[16];
	size_t n;

	(void)state;
	buf_add_z(&out, "kept");
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (base64_decode(&out, str_from(plain[i])))
			fail_msg("%s", plain[i]);
	for (size_t i = 0; i < sizeof(url) / sizeof(url[0]); i++)
		if (base64_decode_url(str_from(url[i]), decoded, &n))
			fail_msg("%s", url[i]);
	assert_true(str_eq(buf_str(&out), STR("kept")));
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_both_ways), cmocka_unit_test(test_what_is_none) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
