/* rules/adminaccess: who may ask what on the admin listener. */
#include "rules/adminaccess.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define LOCAL "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"
#define NEAR "127.0.0.1:40000"
#define FAR "192.0.2.7:40000"

enum token { NONE, WRONG, GOOD };	/* none in the configuration; one, and the request has not or has it */

static const struct { const char *line, *fields, *peer; enum token token; enum refusal refusal; } rows[] = {
	/* open, under any name, from anywhere */
	{ "GET /healthz", "Host: evil.example\r\n", FAR, NONE, REFUSAL_NONE }, { "HEAD /readyz", "Host: gw\r\n", FAR, WRONG, REFUSAL_NONE },
	{ "GET /metrics?x", "Host: evil.example\r\n", FAR, WRONG, REFUSAL_NONE },
	{ "GET /metrics/", LOCAL, FAR, WRONG, REFUSAL_UNAUTHENTICATED }, { "GET /healthz2", LOCAL, FAR, WRONG, REFUSAL_UNAUTHENTICATED },
	/* without a token in the configuration: this machine reads */
	{ "GET /status", LOCAL, NEAR, NONE, REFUSAL_NONE }, { "GET /status", LOCAL, "[::1]:1", NONE, REFUSAL_NONE },
	{ "GET /status", LOCAL, "127.8.8.8:1", NONE, REFUSAL_NONE }, { "GET /status", LOCAL, FAR, NONE, REFUSAL_FORBIDDEN },
	{ "GET /status", LOCAL, "[2001:db8::1]:1", NONE, REFUSAL_FORBIDDEN }, { "GET /status", LOCAL, "", NONE, REFUSAL_FORBIDDEN },
	{ "POST /status", LOCAL JSON, NEAR, NONE, REFUSAL_FORBIDDEN }, { "POST /healthz", LOCAL JSON, NEAR, NONE, REFUSAL_FORBIDDEN },
	{ "DELETE /x", LOCAL, NEAR, NONE, REFUSAL_FORBIDDEN },
	/* with one */
	{ "GET /status", LOCAL, NEAR, WRONG, REFUSAL_UNAUTHENTICATED }, { "GET /status", LOCAL, FAR, GOOD, REFUSAL_NONE },
	{ "GET /x", LOCAL, NEAR, WRONG, REFUSAL_UNAUTHENTICATED }, { "GET /x", LOCAL, NEAR, GOOD, REFUSAL_NONE },
	{ "POST /x", LOCAL JSON, NEAR, WRONG, REFUSAL_UNAUTHENTICATED }, { "POST /metrics", LOCAL JSON, NEAR, WRONG, REFUSAL_UNAUTHENTICATED },
	{ "POST /x", LOCAL JSON, FAR, GOOD, REFUSAL_NONE }, { "DELETE /x", LOCAL, FAR, GOOD, REFUSAL_NONE },
	{ "POST /x", LOCAL "Content-Type: Application/JSON; charset=utf-8\r\n", FAR, GOOD, REFUSAL_NONE },
	{ "POST /x", LOCAL, FAR, GOOD, REFUSAL_MEDIA_TYPE }, { "POST /x", LOCAL "Content-Type: text/plain\r\n", FAR, GOOD, REFUSAL_MEDIA_TYPE },
	{ "POST /x", LOCAL "Content-Type: application/jsonp\r\n", FAR, GOOD, REFUSAL_MEDIA_TYPE },
	{ "POST /x", LOCAL JSON JSON, FAR, GOOD, REFUSAL_MEDIA_TYPE },
	{ "POST /x", LOCAL "Content-Type: application/x-www-form-urlencoded\r\n", FAR, GOOD, REFUSAL_MEDIA_TYPE },
	/* under whose name */
	{ "GET /status", "Host: localhost:8081\r\n", NEAR, NONE, REFUSAL_NONE }, { "GET /status", "Host: LocalHost\r\n", NEAR, NONE, REFUSAL_NONE },
	{ "GET /status", "Host: 127.0.0.1:8081\r\n", NEAR, NONE, REFUSAL_NONE }, { "GET /status", "Host: [::1]:8081\r\n", NEAR, NONE, REFUSAL_NONE },
	{ "GET /status", "Host: 10.1.2.3\r\n", FAR, GOOD, REFUSAL_NONE }, { "GET /status", "Host: GW-1:8081\r\n", NEAR, NONE, REFUSAL_NONE },
	{ "GET /status", "Host: evil.example\r\n", NEAR, NONE, REFUSAL_BAD_REQUEST },
	{ "GET /status", "Host: localhost.evil.example\r\n", NEAR, NONE, REFUSAL_BAD_REQUEST },
	{ "GET /status", "Host: 127.0.0.1.evil.example\r\n", NEAR, NONE, REFUSAL_BAD_REQUEST },
	{ "GET /status", "Host: evil.example\r\n", NEAR, GOOD, REFUSAL_BAD_REQUEST },
	{ "GET /status", "Host: gw-12\r\n", NEAR, GOOD, REFUSAL_BAD_REQUEST },
	{ "POST /x", "Host: evil.example\r\n" JSON, NEAR, GOOD, REFUSAL_BAD_REQUEST },
};

static void
test_judgement(void **state)
{
	struct http1_limits limits = { 65536, 8192 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http1_head head;
		struct adminaccess access = { &head, str_from(rows[i].peer), STR("gw-1"), rows[i].token != NONE, rows[i].token == GOOD };
		const char *why = NULL;
		char text[512];

		snprintf(text, sizeof(text), "%s HTTP/1.1\r\n%s\r\n", rows[i].line, rows[i].fields);
		assert_int_equal(http1_parse_request(str_from(text), &limits, &head), HTTP1_OK);
		if (adminaccess_judge(&access, &why) != rows[i].refusal || (why == NULL) != (rows[i].refusal == REFUSAL_NONE))
			fail_msg("row %zu: %s", i, text);
	}
}

static const struct { const char *fields, *token; } shown[] = {
	{ "", "" }, { "Authorization: Bearer abc\r\n", "abc" }, { "authorization: bearer abc\r\n", "abc" },
	{ "Authorization: Bearer   abc\r\n", "abc" }, { "Authorization: Basic abc\r\n", "" }, { "Authorization: Bearer\r\n", "" },
	{ "Authorization: abc\r\n", "" }, { "Authorization: Bearer abc\r\nAuthorization: Bearer abc\r\n", "" },
	{ "Proxy-Authorization: Bearer abc\r\n", "" },
};

static void
test_tokens_shown(void **state)
{
	struct http1_limits limits = { 65536, 8192 };

	(void)state;
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		struct http1_head head;
		char text[512];

		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", shown[i].fields);
		assert_int_equal(http1_parse_request(str_from(text), &limits, &head), HTTP1_OK);
		if (!str_eq(adminaccess_token(&head), str_from(shown[i].token)))
			fail_msg("%s", shown[i].fields);
	}
}

static void
test_tokens_configured(void **state)
{
	static char longest[4097];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	assert_true(adminaccess_is_token(STR("0123456789abcdef")));
	assert_true(adminaccess_is_token(STR("AZaz09-._~+/===x")));
	assert_true(adminaccess_is_token((struct str){ longest, 4096 }));
	assert_false(adminaccess_is_token((struct str){ longest, 4097 }));
	assert_false(adminaccess_is_token(STR("0123456789abcde")));
	assert_false(adminaccess_is_token(STR("0123456789 abcdef")));
	assert_false(adminaccess_is_token(STR("0123456789abcde\n")));
	assert_false(adminaccess_is_token(STR("0123456789abcde\0")));
	assert_false(adminaccess_is_token(STR("0123456789abcde\xc3\xa9")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judgement),
		cmocka_unit_test(test_tokens_shown),
		cmocka_unit_test(test_tokens_configured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
