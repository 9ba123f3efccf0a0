/* rules/header: which fields cross the gate. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "rules/header.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct http1_limits limits = { .head_bytes = 32768, .target_bytes = 8192 };

/* Parse a request with FIELDS. */
static void
read_request(struct http1_head *head, const char *fields)
{
	static char text[4096];
	int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);

	assert_true(n > 0 && (size_t)n < sizeof text);
	assert_int_equal(http1_parse_request((struct str){ text, (size_t)n }, &limits, head), HTTP1_OK);
}

struct name_case { struct str name; bool request, response; };

/* Names as they may be spelled, and whether they pass in each direction. */
static const struct name_case names[] = {
	{ STR_INIT("Authorization"), true, true },
	{ STR_INIT("Content-Type"), true, true },
	{ STR_INIT("Content-Encoding"), true, true },
	{ STR_INIT("Accept"), true, true },
	{ STR_INIT("If-None-Match"), true, true },
	{ STR_INIT("x-ms-client-request-id"), true, true },
	{ STR_INIT("traceparent"), true, true },
	{ STR_INIT("X-Unknown"), true, true },
	{ STR_INIT("User-Agent"), true, true },
	{ STR_INIT("RequestId"), true, true },
	{ STR_INIT("Connection"), false, false },
	{ STR_INIT("KEEP-ALIVE"), false, false },
	{ STR_INIT("TE"), false, false },
	{ STR_INIT("Te"), false, false },
	{ STR_INIT("Trailer"), false, false },
	{ STR_INIT("Transfer-Encoding"), false, false },
	{ STR_INIT("Upgrade"), false, false },
	{ STR_INIT("HTTP2-Settings"), false, false },
	{ STR_INIT("Proxy-Connection"), false, false },
	{ STR_INIT("Proxy-Authorization"), false, false },
	{ STR_INIT("proxy-authenticate"), false, false },
	{ STR_INIT("Proxy-Status"), false, false },
	{ STR_INIT("Content-Length"), false, false },
	{ STR_INIT("X-Request-Id"), false, false },
	{ STR_INIT("Host"), false, true },
	{ STR_INIT("Expect"), false, true },
	{ STR_INIT("Via"), false, true },
	{ STR_INIT("Forwarded"), false, true },
	{ STR_INIT("X-Forwarded-For"), false, true },
	{ STR_INIT("x-forwarded-anything"), false, true },
	{ STR_INIT("X_Forwarded_For"), false, true },
	{ STR_INIT("X-Real-IP"), false, true },
	{ STR_INIT("X-Forwarded"), false, true },
	{ STR_INIT("Cookie"), false, true },
	{ STR_INIT("Cookie2"), false, true },
	{ STR_INIT("X-Jobgate-Caller"), false, true },
	{ STR_INIT("x-api-key"), false, true },
	{ STR_INIT("X_API_KEY"), false, true },
	{ STR_INIT("Prefer"), false, true },
	{ STR_INIT("Max-Forwards"), false, true },
	{ STR_INIT("Idempotency-Key"), false, true },
	{ STR_INIT("Set-Cookie"), true, true },
	{ STR_INIT("Location"), true, true },
	{ STR_INIT("Retry-After"), true, true },
	{ STR_INIT("Date"), true, true },
	{ STR_INIT("WWW-Authenticate"), true, true },
	{ STR_INIT("Server-Timing"), true, false },
	{ STR_INIT("Alt-Svc"), true, false },
	{ STR_INIT("X-Forwarde"), true, true },
	{ STR_INIT("Hos"), true, true },
};

static void
test_names(void **state)
{
	static struct http1_head head;

	(void)state;
	read_request(&head, "");
	for (size_t i = 0; i < COUNT(names); i++) {
		struct http1_field field = { names[i].name, STR_INIT("x") };

		if (header_goes_upstream(&head, &field) != names[i].request)
			fail_msg("%.*s upstream", STR_ARG(names[i].name));
		if (header_is_relayed(&head, &field) != names[i].response)
			fail_msg("%.*s relayed", STR_ARG(names[i].name));
	}
}

/* What Connection names ends here, on any of its lines, in any case, in both directions. */
static void
test_nominated(void **state)
{
	static struct http1_head head;
	static const struct { struct str name; bool passes; } cases[] = { { STR_INIT("X-One"), false },
		{ STR_INIT("x-two"), false }, { STR_INIT("X-Three"), false }, { STR_INIT("X-Four"), true },
		{ STR_INIT("Authorization"), false }, { STR_INIT("Close"), false }, { STR_INIT("Open"), true } };

	(void)state;
	read_request(&head,
	    "Connection: close, x-one ,X-TWO\r\nX-Four: x-four\r\nconnection:, x-three,authorization\r\n");
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct http1_field field = { cases[i].name, STR_INIT("x") };

		assert_int_equal(header_goes_upstream(&head, &field), cases[i].passes);
		assert_int_equal(header_is_relayed(&head, &field), cases[i].passes);
	}
	read_request(&head, "Connection: close\r\n");
	assert_false(header_is_relayed(&head, &(struct http1_field){ STR("close"), STR("x") }));
	read_request(&head, "Connection: Keep-Alive\r\n");
	assert_false(header_is_relayed(&head, &(struct http1_field){ STR("keep-alive"), STR("x") }));
	assert_true(header_is_relayed(&head, &(struct http1_field){ STR("close"), STR("x") }));
}

static void
test_loop(void **state)
{
	static const struct { const char *fields; bool loop; } cases[] = {
		{ "", false }, { "Via: 1.1 jobgate\r\n", true }, { "via: HTTP/1.1 JobGate (x, y)\r\n", true },
		{ "Via: 1.0 fred, 1.1 jobgate\r\n", true }, { "Via: 1.0 fred\r\nVia: 1.1\tjobgate\r\n", true },
		{ "Via: 1.1 jobgate(x)\r\n", true }, { "Via: 1.1 jobgate2\r\n", false },
		{ "Via: 1.1 fred (jobgate)\r\n", false },
		{ "Via: jobgate 1.1\r\n", false }, { "Via: jobgate\r\n", false }, { "Via:\r\n", false },
		{ "Via: ,,\r\n", false },
		{ "X-Via: 1.1 jobgate\r\n", false }, { "Via: 1.1\r\n", false },
		/* A comment that a caller left open must not hide what the gateway appended to the same line. */
		{ "Via: 1.1 a (open, 1.1 jobgate\r\n", true }, { "Via: 1.1 a (open\\, 1.1 jobgate\r\n", true },
	};
	static struct http1_head head;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		read_request(&head, cases[i].fields);
		if (header_is_loop(&head, STR("jobgate")) != cases[i].loop)
			fail_msg("%s", cases[i].fields);
	}
}

static void
test_request_id(void **state)
{
	char text[129];

	(void)state;
	memset(text, 'a', sizeof text);
	assert_true(header_is_request_id((struct str){ text, 128 }));
	assert_false(header_is_request_id((struct str){ text, 129 }));
	assert_true(header_is_request_id(STR("!\"~")));
	assert_false(header_is_request_id(STR("")));
	assert_false(header_is_request_id(STR("a b")));
	assert_false(header_is_request_id(STR("a\tb")));
	assert_false(header_is_request_id(STR("a\x7f")));
	assert_false(header_is_request_id(STR("\xc3\xa4")));
	assert_false(header_is_request_id(STR("a\0")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_names), cmocka_unit_test(test_nominated),
		cmocka_unit_test(test_loop), cmocka_unit_test(test_request_id) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
