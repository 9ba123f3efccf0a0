/* rules/forwarded: which hop of X-Forwarded-For is the client. */
#include "rules/forwarded.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#define FIELD(value) "X-Forwarded-For: " value "\r\n"

/* Fields of a request from 10.0.0.1; 10.0.0.0/8 and fd00::/8 are trusted. NULL: the peer itself; "?": nobody knows. */
static const struct { const char *fields, *client; } rows[] = {
	{ "", NULL },
	{ FIELD("203.0.113.9"), "203.0.113.9" },
	{ FIELD("203.0.113.9:40000"), "203.0.113.9" },
	{ FIELD("2001:db8::7"), "2001:db8::7" },
	{ FIELD("[2001:db8::7]:40000"), "2001:db8::7" },
	{ "x-forwarded-for: 203.0.113.9\r\n", "203.0.113.9" },
	/* from the right: what stands left of the client, it may have invented */
	{ FIELD("192.0.2.1, 203.0.113.9"), "203.0.113.9" },
	{ FIELD("10.9.9.9, 203.0.113.9"), "203.0.113.9" },
	{ FIELD("203.0.113.9, 10.0.0.2"), "203.0.113.9" },
	{ FIELD("203.0.113.9,10.0.0.2 ,\tfd00::1"), "203.0.113.9" },
	{ FIELD("192.0.2.1, 203.0.113.9, 10.0.0.3, 10.0.0.2"), "203.0.113.9" },
	{ FIELD("garbage, 203.0.113.9"), "203.0.113.9" },
	/* several fields are one list */
	{ FIELD("192.0.2.1") FIELD("203.0.113.9"), "203.0.113.9" },
	{ FIELD("203.0.113.9") "Accept: */*\r\n" FIELD("10.0.0.2"), "203.0.113.9" },
	{ FIELD("192.0.2.1, 203.0.113.9") FIELD("10.0.0.3") FIELD("10.0.0.2"), "203.0.113.9" },
	/* only proxies: the first of them */
	{ FIELD("10.0.0.2"), "10.0.0.2" },
	{ FIELD("10.0.0.3, 10.0.0.2"), "10.0.0.3" },
	{ FIELD("10.0.0.4") FIELD("10.0.0.3, 10.0.0.2"), "10.0.0.4" },
	/* a mapped address is the IPv4 one */
	{ FIELD("203.0.113.9, ::ffff:10.0.0.2"), "203.0.113.9" },
	/* malformed where it counts */
	{ FIELD(""), "?" }, { FIELD("unknown"), "?" }, { FIELD("203.0.113.9,"), "?" }, { FIELD("203.0.113.9, unknown"), "?" },
	{ FIELD("203.0.113.9, , 10.0.0.2"), "?" }, { FIELD("203.0.113.9 10.0.0.2"), "?" }, { FIELD("203.0.113.999"), "?" },
	{ FIELD(","), "?" }, { FIELD("for=203.0.113.9"), "?" }, { FIELD("203.0.113.9") FIELD("x"), "?" },
	{ FIELD("203.0.113.9") FIELD(""), "?" }, { FIELD("x, 10.0.0.2"), "?" }, { FIELD("x") FIELD("10.0.0.2"), "?" },
};

/* What a row's client means. */
static enum forwarded
expected_of(const char *client)
{
	if (client == NULL)
		return FORWARDED_ABSENT;
	return *client == '?' ? FORWARDED_UNREADABLE : FORWARDED_CLIENT;
}

static void
test_hops(void **state)
{
	struct network networks[2];
	struct network_list trusted = { networks, 2 };
	struct http1_limits limits = { 65536, 8192 };

	(void)state;
	assert_null(network_parse(STR("10.0.0.0/8"), &networks[0]));
	assert_null(network_parse(STR("fd00::/8"), &networks[1]));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct network_address address, expected;
		struct http1_head head;
		struct str host = { NULL, 0 };
		char text[512];

		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", rows[i].fields);
		assert_int_equal(http1_parse_request(str_from(text), &limits, &head), HTTP1_OK);
		if (forwarded_client(&head, &trusted, &address, &host) != expected_of(rows[i].client))
			fail_msg("%s", rows[i].fields);
		if (expected_of(rows[i].client) != FORWARDED_CLIENT)
			continue;
		if (!str_eq(host, str_from(rows[i].client)))
			fail_msg("%s: %.*s", rows[i].fields, STR_ARG(host));
		assert_true(network_parse_address(host, &expected));
		assert_memory_equal(&address, &expected, sizeof(address));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_hops) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
