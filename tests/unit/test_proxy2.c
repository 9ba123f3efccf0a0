/* base/proxy2: headers of the PROXY protocol, whole, cut, wrong and hostile. */
#include "base/proxy2.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define FOUR "\xcb\x00\x71\x09\x0a\x00\x00\x01\x9c\x40\x01\xbb"
#define SIX "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" "\x9c\x40\x01\xbb"
#define TLV "\x04\x00\x03\xff\xff\xff"

static const struct { struct str header; enum proxy2 verdict; const char *peer; } rows[] = {
	{ STR_INIT(SIGNATURE "\x21\x11\x00\x0c" FOUR), PROXY2_CLIENT, "203.0.113.9:40000" },
	{ STR_INIT(SIGNATURE "\x21\x11\x00\x12" FOUR TLV), PROXY2_CLIENT, "203.0.113.9:40000" },
	{ STR_INIT(SIGNATURE "\x21\x21\x00\x24" SIX), PROXY2_CLIENT, "[2001:db8::7]:40000" },
	{ STR_INIT(SIGNATURE "\x21\x21\x00\x2a" SIX TLV), PROXY2_CLIENT, "[2001:db8::7]:40000" },
	{ STR_INIT(SIGNATURE "\x20\x00\x00\x00"), PROXY2_OWN, NULL },
	{ STR_INIT(SIGNATURE "\x20\x11\x00\x0c" FOUR), PROXY2_OWN, NULL },
	{ STR_INIT(SIGNATURE "\x20\xff\x00\x06" TLV), PROXY2_OWN, NULL },
	{ STR_INIT(SIGNATURE "\x21\x00\x00\x00"), PROXY2_OWN, NULL },
	/* addresses that are not there, UDP, Unix, unknown families */
	{ STR_INIT(SIGNATURE "\x21\x11\x00\x0b\xcb\x00\x71\x09\x0a\x00\x00\x01\x9c\x40\x01"), PROXY2_WRONG, NULL },
	{ STR_INIT(SIGNATURE "\x21\x11\x00\x00"), PROXY2_WRONG, NULL },
	{ STR_INIT(SIGNATURE "\x21\x21\x00\x0c" FOUR), PROXY2_WRONG, NULL },
	{ STR_INIT(SIGNATURE "\x21\x12\x00\x0c" FOUR), PROXY2_WRONG, NULL },
	{ STR_INIT(SIGNATURE "\x21\x31\x00\x0c" FOUR), PROXY2_WRONG, NULL },
	{ STR_INIT(SIGNATURE "\x21\x41\x00\x0c" FOUR), PROXY2_WRONG, NULL },
	/* other versions and commands, too long, no header at all */
	{ STR_INIT(SIGNATURE "\x11\x11\x00\x0c" FOUR), PROXY2_WRONG, NULL },
	{ STR_INIT(SIGNATURE "\x22\x11\x00\x0c" FOUR), PROXY2_WRONG, NULL },
	{ STR_INIT(SIGNATURE "\x21\x11\xff\xff" FOUR), PROXY2_WRONG, NULL },
	{ STR_INIT(SIGNATURE "\x21\x11\x07\xf1" FOUR), PROXY2_WRONG, NULL },
	{ STR_INIT("PROXY TCP4 203.0.113.9 10.0.0.1 40000 443\r\n"), PROXY2_WRONG, NULL },
	{ STR_INIT("GET / HTTP/1.1\r\n"), PROXY2_WRONG, NULL },
	{ STR_INIT("\x16\x03\x01\x02\x00\x01\x00"), PROXY2_WRONG, NULL },
	{ STR_INIT("\r\n\r\n\0\r\nQUIX\n"), PROXY2_WRONG, NULL },
};

static void
test_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char peer[PROXY2_PEER_BYTES] = "";
		size_t need;

		if (proxy2_parse(rows[i].header, &need, peer) != rows[i].verdict)
			fail_msg("row %zu", i);
		assert_string_equal(peer, rows[i].peer ? rows[i].peer : "");
		if (rows[i].verdict != PROXY2_WRONG)
			assert_int_equal(need, rows[i].header.n);
	}
}

/* Byte after byte: more is wanted, and never more than the header has; what is behind it is left alone. */
static void
test_bytewise(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str header = rows[i].header;
		char peer[PROXY2_PEER_BYTES], more[128];
		size_t need;

		if (rows[i].verdict == PROXY2_WRONG)
			continue;
		for (size_t n = 0; n < header.n; n++) {
			assert_int_equal(proxy2_parse(str_sub(header, 0, n), &need, peer), PROXY2_MORE);
			assert_true(need > n && need <= header.n);
		}
		memcpy(more, header.p, header.n);
		memcpy(more + header.n, "GET ", 4);
		assert_int_equal(proxy2_parse((struct str){ more, header.n + 4 }, &need, peer), rows[i].verdict);
		assert_int_equal(need, header.n);
	}
}

/* Whatever is wrong in the signature shows at its byte, before anything else is waited for. */
static void
test_wrong_at_once(void **state)
{
	char bytes[13];
	char peer[PROXY2_PEER_BYTES];
	size_t need;

	(void)state;
	for (size_t i = 0; i < 13; i++) {
		memcpy(bytes, SIGNATURE "\x21", sizeof(bytes));
		bytes[i] ^= 0x40;
		assert_int_equal(proxy2_parse((struct str){ bytes, i }, &need, peer), PROXY2_MORE);
		assert_int_equal(proxy2_parse((struct str){ bytes, i + 1 }, &need, peer), PROXY2_WRONG);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_bytewise),
		cmocka_unit_test(test_wrong_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
