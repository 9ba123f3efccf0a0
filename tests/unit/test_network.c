/* rules/network: addresses, hops and blocks of addresses. */
#include "rules/network.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* A hop as it stands in a list, and the address in it; NULL: it is none. */
static const struct { const char *hop, *host; } hops[] = {
	{ "192.0.2.7", "192.0.2.7" }, { "192.0.2.7:4711", "192.0.2.7" }, { "2001:db8::7", "2001:db8::7" },
	{ "[2001:db8::7]", "2001:db8::7" }, { "[2001:db8::7]:4711", "2001:db8::7" }, { "::ffff:192.0.2.7", "::ffff:192.0.2.7" },
	{ "", NULL }, { "unknown", NULL }, { "_hidden", NULL }, { "192.0.2", NULL }, { "192.0.2.07", NULL }, { "192.0.2.256", NULL },
	{ "192.0.2.7:", NULL }, { "192.0.2.7:x", NULL }, { "192.0.2.7:65536", NULL }, { "192.0.2.7 ", NULL }, { "[192.0.2.7]", NULL },
	{ "[2001:db8::7", NULL }, { "[2001:db8::7]x", NULL }, { "[]", NULL }, { "[", NULL }, { ":", NULL }, { "fe80::1%eth0", NULL },
	{ "2001:db8::7::1", NULL }, { "1:2:3:4:5:6:7:8:9", NULL }, { "0x7f.0.0.1", NULL }, { "2130706433", NULL },
};

static void
test_hops(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(hops) / sizeof(hops[0]); i++) {
		struct network_address address;
		struct str host;
		bool good = network_parse_hop(str_from(hops[i].hop), &address, &host);

		if (good != (hops[i].host != NULL) || (good && !str_eq(host, str_from(hops[i].host))))
			fail_msg("%s", hops[i].hop);
	}
}

/* NUL inside a text is no end of it. */
static void
test_nul_is_no_end(void **state)
{
	struct network_address address;
	struct network network;

	(void)state;
	assert_false(network_parse_address(STR("192.0.2.7\0x"), &address));
	assert_non_null(network_parse(STR("10.0.0.0\0/8"), &network));
}

static const char *const wrong[] = { "", "/", "/8", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/8/8",
	"10.0.0/8", "10.0.0.1/8", "10.0.0.0/255.0.0.0", "::/129", "::1/64", "2001:db8::/031", "[::]/0", "10.0.0.0:80/8", "a/8" };

static void
test_wrong_networks(void **state)
{
	struct network network;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (network_parse(str_from(wrong[i]), &network) == NULL)
			fail_msg("%s", wrong[i]);
}

static const struct { const char *network, *address; bool holds; } rows[] = {
	{ "10.0.0.0/8", "10.255.255.255", true }, { "10.0.0.0/8", "11.0.0.0", false }, { "10.0.0.0/8", "9.255.255.255", false },
	{ "192.0.2.128/25", "192.0.2.128", true }, { "192.0.2.128/25", "192.0.2.127", false }, { "192.0.2.128/25", "192.0.2.255", true },
	{ "192.0.2.6/31", "192.0.2.7", true }, { "192.0.2.6/31", "192.0.2.8", false }, { "192.0.2.6/31", "192.0.2.5", false },
	{ "192.0.2.7", "192.0.2.7", true }, { "192.0.2.7", "192.0.2.6", false }, { "192.0.2.7/32", "192.0.2.7", true },
	{ "0.0.0.0/0", "203.0.113.9", true }, { "0.0.0.0/0", "2001:db8::1", false }, { "0.0.0.0/1", "128.0.0.0", false },
	{ "0.0.0.0/0", "::1", false },
	{ "2001:db8::/32", "2001:db8:ffff::1", true }, { "2001:db8::/32", "2001:db9::", false }, { "2001:db8::/33", "2001:db8:8000::", false },
	{ "::/0", "2001:db8::1", true }, { "::/0", "203.0.113.9", false }, { "::/0", "::1", true }, { "::1", "::1", true }, { "::1", "::2", false },
	{ "fe80::/10", "febf::1", true }, { "fe80::/10", "fec0::1", false }, { "2001:db8::7/128", "2001:db8::7", true },
	/* a mapped address is the IPv4 one */
	{ "10.0.0.0/8", "::ffff:10.1.2.3", true }, { "::ffff:10.0.0.0/104", "10.1.2.3", true }, { "::ffff:0:0/96", "203.0.113.9", true },
	{ "::ffff:10.0.0.0/104", "11.1.2.3", false },
};

static void
test_holds(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct network network;
		struct network_address address;
		struct network_list list = { &network, 1 };

		assert_null(network_parse(str_from(rows[i].network), &network));
		assert_true(network_parse_address(str_from(rows[i].address), &address));
		if (network_holds(&network, &address) != rows[i].holds || network_any_holds(&list, &address) != rows[i].holds)
			fail_msg("%s %s", rows[i].network, rows[i].address);
		list.count = 0;
		assert_false(network_any_holds(&list, &address));
	}
}

/* Every prefix of both kinds: the last address of the block is in it, the one with its last counted bit turned is not. */
static void
test_every_prefix(void **state)
{
	/* Its ninth byte keeps its addresses out of the mapped ones. */
	struct network_address all, first = { { [8] = 1 } };

	(void)state;
	memset(&all, 0xff, sizeof(all));
	for (unsigned prefix = 1; prefix <= 128; prefix++) {
		struct network network = { first, prefix };
		struct network_address inside = first, outside = first;

		for (unsigned bit = prefix; bit < 128; bit++)
			inside.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		outside.bytes[(prefix - 1) / 8] ^= (uint8_t)(0x80 >> (prefix - 1) % 8);
		assert_true(network_holds(&network, &inside));
		assert_false(network_holds(&network, &outside));
		assert_false(network_holds(&network, &all));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hops),
		cmocka_unit_test(test_nul_is_no_end),
		cmocka_unit_test(test_wrong_networks),
		cmocka_unit_test(test_holds),
		cmocka_unit_test(test_every_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
