/* The gateway's own errors. */
#include "rules/reply.h"

#include "base/check.h"
#include "base/jsonw.h"

/* One row per refusal; what the contract's table says. `proxy_error` is a type of RFC 9209 2.3. */
static const struct {
	int status;
	bool retriable;		/* a retry cannot start a job twice, and may succeed */
	struct str code, detail, proxy_error;
} refusals[REFUSAL_COUNT] = {
	[REFUSAL_NONE] = { 0, false, { NULL, 0 }, { NULL, 0 }, { NULL, 0 } },
	[REFUSAL_BAD_REQUEST] = { 400, false, STR_INIT("JobgateBadRequest"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_BAD_JOB_TYPE] = { 400, false, STR_INIT("InvalidJobType"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_BAD_PARAMETER] = { 400, false, STR_INIT("InvalidParameter"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_UNAUTHENTICATED] = { 401, false, STR_INIT("JobgateUnauthenticated"), { NULL, 0 },
		STR_INIT("http_request_denied") },
	[REFUSAL_FORBIDDEN] = { 403, false, STR_INIT("InsufficientPrivileges"), { NULL, 0 },
		STR_INIT("http_request_denied") },
	[REFUSAL_NO_ROUTE] = { 404, false, STR_INIT("EntityNotFound"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_BAD_METHOD] = { 405, false, STR_INIT("JobgateMethodNotAllowed"), { NULL, 0 },
		STR_INIT("http_request_error") },
	/* The request was never whole, so nothing of it was sent. */
	[REFUSAL_TIMEOUT] = { 408, true, STR_INIT("JobgateTimeout"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_OUTCOME_UNKNOWN] = { 409, false, STR_INIT("JobgateOutcomeUnknown"), { NULL, 0 },
		STR_INIT("http_response_incomplete") },
	/* The first one with the key is under way: whoever asks again gets its answer. */
	[REFUSAL_KEY_IN_FLIGHT] = { 409, true, STR_INIT("JobgateIdempotencyInFlight"), { NULL, 0 },
		STR_INIT("http_request_denied") },
	[REFUSAL_KEY_MISMATCH] = { 422, false, STR_INIT("JobgateIdempotencyMismatch"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_BODY_TOO_LARGE] = { 413, false, STR_INIT("JobgateTooLarge"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_TARGET_TOO_LONG] = { 414, false, STR_INIT("JobgateTooLarge"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_MEDIA_TYPE] = { 415, false, STR_INIT("JobgateBadRequest"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_BAD_EXPECTATION] = { 417, false, STR_INIT("JobgateBadRequest"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_QUOTA] = { 429, true, STR_INIT("TooManyRequestsForJobs"), STR_INIT("JobgateIdentityQuota"),
		STR_INIT("http_request_denied") },
	[REFUSAL_QUEUE_FULL] = { 429, true, STR_INIT("TooManyRequestsForJobs"), STR_INIT("JobgateQueueFull"),
		STR_INIT("http_request_denied") },
	/* A complete 429 of the upstream was not executed. */
	[REFUSAL_THROTTLED] = { 429, true, STR_INIT("TooManyRequestsForJobs"), STR_INIT("JobgateUpstreamThrottled"),
		STR_INIT("http_request_denied") },
	[REFUSAL_HEAD_TOO_LARGE] = { 431, false, STR_INIT("JobgateTooLarge"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_NOT_IMPLEMENTED] = { 501, false, STR_INIT("JobgateBadRequest"), { NULL, 0 },
		STR_INIT("http_request_error") },
	/* Nothing was sent, or what was sent starts no job: see OUTCOME_UNKNOWN for the rest. */
	[REFUSAL_UPSTREAM] = { 502, true, STR_INIT("JobgateUpstreamUnavailable"), { NULL, 0 },
		STR_INIT("destination_unavailable") },
	/* Nothing was executed, but somebody must mend the credential before another try is of use. */
	[REFUSAL_CREDENTIAL] = { 502, false, STR_INIT("JobgateCredentialRefused"), { NULL, 0 },
		STR_INIT("proxy_configuration_error") },
	[REFUSAL_UPSTREAM_TIMEOUT] = { 504, true, STR_INIT("JobgateUpstreamUnavailable"), { NULL, 0 },
		STR_INIT("http_response_timeout") },
	[REFUSAL_UNAVAILABLE] = { 503, true, STR_INIT("JobgateUnavailable"), { NULL, 0 },
		STR_INIT("proxy_internal_response") },
	[REFUSAL_VERSION] = { 505, false, STR_INIT("JobgateBadRequest"), { NULL, 0 },
		STR_INIT("http_request_error") },
	[REFUSAL_CALLER_GONE] = { 0, false, STR_INIT("JobgateCallerGone"), { NULL, 0 }, { NULL, 0 } },
};

int
refusal_status(enum refusal r)
{
	check((unsigned)r < REFUSAL_COUNT);
	return refusals[r].status;
}

struct str
refusal_code(enum refusal r)
{
	check((unsigned)r < REFUSAL_COUNT);
	return refusals[r].code;
}

struct str
refusal_detail_code(enum refusal r)
{
	check((unsigned)r < REFUSAL_COUNT);
	return refusals[r].detail;
}

bool
refusal_is_retriable(enum refusal r)
{
	check((unsigned)r < REFUSAL_COUNT);
	return refusals[r].retriable;
}

struct str
refusal_proxy_error(enum refusal r)
{
	check((unsigned)r < REFUSAL_COUNT);
	return refusals[r].proxy_error;
}

enum refusal
refusal_from_http1(enum http1_fault fault)
{
	static const enum refusal of[] = {
		[HTTP1_OK] = REFUSAL_NONE,
		[HTTP1_SYNTAX] = REFUSAL_BAD_REQUEST,
		[HTTP1_BAD_HOST] = REFUSAL_BAD_REQUEST,
		[HTTP1_BAD_LENGTH] = REFUSAL_BAD_REQUEST,
		[HTTP1_BAD_CODING] = REFUSAL_BAD_REQUEST,
		[HTTP1_UNKNOWN_CODING] = REFUSAL_NOT_IMPLEMENTED,
		[HTTP1_UNKNOWN_METHOD] = REFUSAL_NOT_IMPLEMENTED,
		[HTTP1_BAD_VERSION] = REFUSAL_VERSION,
		[HTTP1_BAD_EXPECTATION] = REFUSAL_BAD_EXPECTATION,
		[HTTP1_TARGET_TOO_LONG] = REFUSAL_TARGET_TOO_LONG,
		[HTTP1_HEAD_TOO_LARGE] = REFUSAL_HEAD_TOO_LARGE,
		[HTTP1_BAD_CHUNK] = REFUSAL_BAD_REQUEST,
		[HTTP1_BODY_TOO_LARGE] = REFUSAL_BODY_TOO_LARGE,
		[HTTP1_BAD_BODY_METHOD] = REFUSAL_BAD_REQUEST,
	};

	check((size_t)fault < sizeof(of) / sizeof(of[0]));
	return of[fault];
}

/* Write one element of moreDetails. */
static void
write_detail(struct jsonw *w, struct str code, struct str message)
{
	jsonw_object(w, NULL);
	jsonw_string_or_null(w, "errorCode", code);
	jsonw_string_or_null(w, "message", message);
	jsonw_end_object(w);
}

void
reply_error_body(struct buf *out, enum refusal r, struct str request_id, struct str message,
    const struct reply_detail *details, size_t detail_count)
{
	struct jsonw w = { .out = out };

	jsonw_object(&w, NULL);
	jsonw_string_or_null(&w, "requestId", request_id);
	jsonw_string_or_null(&w, "errorCode", refusal_code(r));
	jsonw_string(&w, "message", message);
	jsonw_array(&w, "moreDetails");
	if (detail_count == 0 && refusal_detail_code(r).p)
		write_detail(&w, refusal_detail_code(r), message);
	for (size_t i = 0; i < detail_count; i++)
		write_detail(&w, details[i].code, details[i].message);
	jsonw_end_array(&w);
	jsonw_bool(&w, "isRetriable", refusal_is_retriable(r));
	jsonw_end_object(&w);
}

/* The phrases of IANA's registry of status codes; an upstream's other codes get their class's name. */
static const struct {
	int status;
	const char *phrase;
} phrases[] = {
	{ 100, "Continue" }, { 101, "Switching Protocols" }, { 102, "Processing" }, { 103, "Early Hints" },
	{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 203, "Non-Authoritative Information" },
	{ 204, "No Content" }, { 205, "Reset Content" }, { 206, "Partial Content" }, { 207, "Multi-Status" },
	{ 208, "Already Reported" }, { 226, "IM Used" },
	{ 300, "Multiple Choices" }, { 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" },
	{ 304, "Not Modified" }, { 305, "Use Proxy" }, { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
	{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 402, "Payment Required" }, { 403, "Forbidden" },
	{ 404, "Not Found" }, { 405, "Method Not Allowed" }, { 406, "Not Acceptable" },
	{ 407, "Proxy Authentication Required" }, { 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" },
	{ 411, "Length Required" }, { 412, "Precondition Failed" }, { 413, "Content Too Large" },
	{ 414, "URI Too Long" }, { 415, "Unsupported Media Type" }, { 416, "Range Not Satisfiable" },
	{ 417, "Expectation Failed" }, { 421, "Misdirected Request" }, { 422, "Unprocessable Content" },
	{ 423, "Locked" }, { 424, "Failed Dependency" }, { 425, "Too Early" }, { 426, "Upgrade Required" },
	{ 428, "Precondition Required" }, { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
	{ 451, "Unavailable For Legal Reasons" },
	{ 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
	{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" },
	{ 506, "Variant Also Negotiates" }, { 507, "Insufficient Storage" }, { 508, "Loop Detected" },
	{ 511, "Network Authentication Required" },
};

const char *
reply_reason(int status)
{
	static const char *const classes[] = { "Unknown", "Informational", "Successful", "Redirection", "Client Error",
		"Server Error" };

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return classes[status >= 100 && status <= 599 ? status / 100 : 0];
}
