/* The gateway's own errors: the contract's table, row by row. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/json_scan.h"
#include "rules/reply.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Each refusal has the contract's status, errorCode and retriability. */
static void
test_table(void **state)
{
	static const struct { enum refusal r; int status; const char *code, *detail; bool retriable; } rows[] = {
		{ REFUSAL_BAD_REQUEST, 400, "JobgateBadRequest", NULL, false },
		{ REFUSAL_BAD_JOB_TYPE, 400, "InvalidJobType", NULL, false },
		{ REFUSAL_BAD_PARAMETER, 400, "InvalidParameter", NULL, false },
		{ REFUSAL_UNAUTHENTICATED, 401, "JobgateUnauthenticated", NULL, false },
		{ REFUSAL_FORBIDDEN, 403, "InsufficientPrivileges", NULL, false },
		{ REFUSAL_NO_ROUTE, 404, "EntityNotFound", NULL, false },
		{ REFUSAL_BAD_METHOD, 405, "JobgateMethodNotAllowed", NULL, false },
		{ REFUSAL_TIMEOUT, 408, "JobgateTimeout", NULL, true },
		{ REFUSAL_OUTCOME_UNKNOWN, 409, "JobgateOutcomeUnknown", NULL, false },
		{ REFUSAL_KEY_IN_FLIGHT, 409, "JobgateIdempotencyInFlight", NULL, true },
		{ REFUSAL_KEY_MISMATCH, 422, "JobgateIdempotencyMismatch", NULL, false },
		{ REFUSAL_BODY_TOO_LARGE, 413, "JobgateTooLarge", NULL, false },
		{ REFUSAL_TARGET_TOO_LONG, 414, "JobgateTooLarge", NULL, false },
		{ REFUSAL_MEDIA_TYPE, 415, "JobgateBadRequest", NULL, false },
		{ REFUSAL_BAD_EXPECTATION, 417, "JobgateBadRequest", NULL, false },
		{ REFUSAL_QUOTA, 429, "TooManyRequestsForJobs", "JobgateIdentityQuota", true },
		{ REFUSAL_QUEUE_FULL, 429, "TooManyRequestsForJobs", "JobgateQueueFull", true },
		{ REFUSAL_THROTTLED, 429, "TooManyRequestsForJobs", "JobgateUpstreamThrottled", true },
		{ REFUSAL_HEAD_TOO_LARGE, 431, "JobgateTooLarge", NULL, false },
		{ REFUSAL_NOT_IMPLEMENTED, 501, "JobgateBadRequest", NULL, false },
		{ REFUSAL_UPSTREAM, 502, "JobgateUpstreamUnavailable", NULL, true },
		{ REFUSAL_CREDENTIAL, 502, "JobgateCredentialRefused", NULL, false },
		{ REFUSAL_UPSTREAM_TIMEOUT, 504, "JobgateUpstreamUnavailable", NULL, true },
		{ REFUSAL_UNAVAILABLE, 503, "JobgateUnavailable", NULL, true },
		{ REFUSAL_VERSION, 505, "JobgateBadRequest", NULL, false },
	};

	(void)state;
	assert_int_equal(COUNT(rows), REFUSAL_COUNT - 2);	/* NONE and CALLER_GONE are never answered */
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum refusal r = rows[i].r;

		assert_int_equal(refusal_status(r), rows[i].status);
		assert_true(str_eq(refusal_code(r), str_from(rows[i].code)));
		assert_true(rows[i].detail ? str_eq(refusal_detail_code(r), str_from(rows[i].detail)) :
		    refusal_detail_code(r).p == NULL);
		assert_int_equal(refusal_is_retriable(r), rows[i].retriable);
	}
	assert_int_equal(refusal_status(REFUSAL_CALLER_GONE), 0);
	assert_true(str_eq(refusal_code(REFUSAL_CALLER_GONE), STR("JobgateCallerGone")));
	assert_null(refusal_code(REFUSAL_NONE).p);
	assert_null(refusal_proxy_error(REFUSAL_NONE).p);
}

/* Every answer's Proxy-Status error is a type that RFC 9209 2.3 defines. */
static void
test_proxy_errors(void **state)
{
	static const char *const defined[] = { "http_request_error", "http_request_denied", "http_response_incomplete",
		"http_response_timeout", "destination_unavailable", "proxy_internal_response", "proxy_configuration_error" };

	(void)state;
	for (int r = REFUSAL_NONE + 1; r < REFUSAL_CALLER_GONE; r++) {
		bool known = false;

		for (size_t i = 0; i < COUNT(defined); i++)
			known = known || str_eq(refusal_proxy_error((enum refusal)r), str_from(defined[i]));
		assert_true(known);
	}
}

/* What the grammar refuses gets the status that its comment names. */
static void
test_from_http1(void **state)
{
	static const struct { enum http1_fault fault; int status; } rows[] = {
		{ HTTP1_SYNTAX, 400 }, { HTTP1_BAD_HOST, 400 }, { HTTP1_BAD_LENGTH, 400 }, { HTTP1_BAD_CODING, 400 },
		{ HTTP1_UNKNOWN_CODING, 501 }, { HTTP1_UNKNOWN_METHOD, 501 }, { HTTP1_BAD_VERSION, 505 },
		{ HTTP1_BAD_EXPECTATION, 417 }, { HTTP1_TARGET_TOO_LONG, 414 }, { HTTP1_HEAD_TOO_LARGE, 431 },
		{ HTTP1_BAD_CHUNK, 400 }, { HTTP1_BODY_TOO_LARGE, 413 }, { HTTP1_BAD_BODY_METHOD, 400 },
	};

	(void)state;
	assert_int_equal(refusal_from_http1(HTTP1_OK), REFUSAL_NONE);
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(refusal_status(refusal_from_http1(rows[i].fault)), rows[i].status);
}

/* The body is Fabric's ErrorResponse, valid whatever bytes a caller put into names. */
static void
test_body(void **state)
{
	static const struct {
		enum refusal r;
		struct str id, message;
		struct reply_detail details[2];
		size_t detail_count;
		const char *body;
	} cases[] = {
		{ REFUSAL_BAD_PARAMETER, STR_INIT("id"), STR_INIT("2 faults"),
		    { { STR_INIT("InvalidParameter"), STR_INIT("parameters[0] (\"a\"): b") },
		    { STR_INIT("InvalidParameter"), STR_INIT("c\n") } }, 2,
		    "{\"requestId\":\"id\",\"errorCode\":\"InvalidParameter\",\"message\":\"2 faults\",\"moreDetails"
		    "\":[{\"errorCode\":"
		    "\"InvalidParameter\",\"message\":\"parameters[0] (\\\"a\\\"): b\"},{\"errorCode\":\"InvalidParam"
		    "eter\",\"message\":"
		    "\"c\\u000a\"}],\"isRetriable\":false}" },
		{ REFUSAL_NO_ROUTE, STR_INIT("id"), STR_INIT("no \xff\xc3\xa9"), { { { NULL, 0 }, { NULL, 0 } } }, 0,
		    "{\"requestId\":\"id\",\"errorCode\":\"EntityNotFound\",\"message\":\"no \\ufffd\xc3\xa9\",\"more"
		    "Details\":[],"
		    "\"isRetriable\":false}" },
		{ REFUSAL_QUEUE_FULL, { NULL, 0 }, STR_INIT("full"), { { { NULL, 0 }, { NULL, 0 } } }, 0,
		    "{\"requestId\":null,\"errorCode\":\"TooManyRequestsForJobs\",\"message\":\"full\",\"moreDetails"
		    "\":[{\"errorCode\":"
		    "\"JobgateQueueFull\",\"message\":\"full\"}],\"isRetriable\":true}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf b = BUF_EMPTY;
		struct json_scan s;

		reply_error_body(&b, cases[i].r, cases[i].id, cases[i].message, cases[i].details,
		    cases[i].detail_count);
		json_scan_init(&s, buf_str(&b));
		assert_int_equal(json_scan_next(&s), JSON_OBJECT);
		assert_true(json_scan_skip(&s));
		buf_add_char(&b, '\0');
		assert_string_equal(b.p, cases[i].body);
		buf_fini(&b);
	}
}

/* Every status has a phrase, known or not. */
static void
test_reason(void **state)
{
	static const struct { int status; const char *phrase; } rows[] = {
		{ 200, "OK" }, { 202, "Accepted" }, { 409, "Conflict" }, { 413, "Content Too Large" }, { 417,
		    "Expectation Failed" },
		{ 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" }, { 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" }, { 430, "Client Error" }, { 599, "Server Error" }, { 299,
		    "Successful" },
		{ 0, "Unknown" }, { -1, "Unknown" }, { 600, "Unknown" }, { 99, "Unknown" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_string_equal(reply_reason(rows[i].status), rows[i].phrase);
	for (int status = -5; status < 1000; status++)
		assert_true(strlen(reply_reason(status)) > 0);
	for (int r = REFUSAL_NONE + 1; r < REFUSAL_CALLER_GONE; r++)	/* ours are all in the registry */
		assert_null(strstr(reply_reason(refusal_status((enum refusal)r)), "Client Error"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_proxy_errors),
		cmocka_unit_test(test_from_http1),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
