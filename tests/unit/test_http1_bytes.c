/* base/http1_bytes: the table against the grammar, and text that is passed eight bytes at a time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/http1.h"
#include "base/http1_bytes.h"

static const struct http1_limits limits = { .head_bytes = 1000, .target_bytes = 100 };

/* The byte table against the grammar as it is written in RFC 9110. */
static void
test_bytes(void **state)
{
	(void)state;
	for (int i = 0; i < 256; i++) {
		char c = (char)i;
		bool letter = (i >= 'a' && i <= 'z') || (i >= 'A' && i <= 'Z') || (i >= '0' && i <= '9');
		bool token = letter || (i != 0 && i < 128 && strchr("!#$%&'*+-.^_`|~", i) != NULL);

		assert_int_equal(http1_is_token((struct str){ &c, 1 }), token);
		assert_int_equal(http1_is_value((struct str){ &c, 1 }), i == '\t' || (i >= 0x20 && i != 0x7f));
		assert_int_equal(http1_byte_is(c, HTTP1_BYTE_VISIBLE), i > 0x20 && i < 0x7f);
		assert_int_equal(http1_byte_is(c, HTTP1_BYTE_LINE), i >= 0x20 && i < 0x7f);
		assert_int_equal(http1_byte_is(c, HTTP1_BYTE_HOST), letter || (i != 0 && i < 128 && strchr("-._~",
		    i) != NULL));
	}
	assert_false(http1_is_token(STR("")));
	assert_true(http1_is_value(STR("")));
	for (int fault = HTTP1_OK; fault <= HTTP1_BAD_BODY_METHOD; fault++)
		assert_non_null(http1_fault_text((enum http1_fault)fault));
}

/*
 * Each byte at each place of a value and of a target, which are passed eight bytes at a time: the search for the head's end stops at that
 * byte or passes it, and so does the parser, which sees the whole head.
 */
static void
test_every_byte_at_every_place(void **state)
{
	static struct http1_head head;

	(void)state;
	for (unsigned c = 0; c < 256; c++)
		for (size_t at = 0; at < 18; at++)
			for (int in_value = 0; in_value < 2; in_value++) {
				char text[] = "GET /aaaaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: a\r\nb:aaaaaaaaaaaaaaaaaa\r\n\r\n";
				size_t place = (in_value ? 45 : 5) + at;
				struct str bytes = { text, sizeof(text) - 1 };
				bool passes = in_value ? c == '\t' || (c >= 0x20 && c != 0x7f) : c > 0x20 && c < 0x7f && c != '#';
				enum http1_fault fault = HTTP1_OK;
				struct http1_scan scan;

				assert_int_equal(text[place], 'a');
				text[place] = (char)c;
				assert_int_equal(http1_parse_request(bytes, &limits, &head) == HTTP1_OK, passes);
				http1_scan_init(&scan, true);
				if (passes || (!in_value && (c == ' ' || c == '#'))) {
					assert_int_equal(http1_scan_head(&scan, bytes, &limits, &fault), bytes.n);
				} else {
					assert_int_equal(http1_scan_head(&scan, bytes, &limits, &fault), 0);
					assert_int_equal(fault, HTTP1_SYNTAX);
					assert_int_equal(scan.at, c == '\r' ? place + 1 : place);
				}
			}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bytes), cmocka_unit_test(test_every_byte_at_every_place) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
