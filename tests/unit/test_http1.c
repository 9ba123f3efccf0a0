/* base/http1: heads and framing, as standards and the known smuggling tricks have them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/http1.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct http1_limits limits = { .head_bytes = 32768, .target_bytes = 8192 };

/* Scan a whole message's head at once and parse what was found; the first fault of the two. */
static enum http1_fault
read_request(struct str bytes, struct http1_head *head)
{
	struct http1_scan scan;
	enum http1_fault fault;
	size_t n;

	memset(head, 0, sizeof *head);
	http1_scan_init(&scan, true);
	n = http1_scan_head(&scan, bytes, &limits, &fault);
	if (fault != HTTP1_OK)
		return fault;
	assert_int_not_equal(n, 0);
	return http1_parse_request(str_sub(bytes, 0, n), &limits, head);
}

/* A request as text: faults, and where there is none, framing. */
struct request_case {
	const char *name;
	struct str bytes;
	enum http1_fault fault;
	enum http1_framing framing;
	uint64_t length;
};

#define LINES(lit) STR_INIT(lit "\r\n")
#define GET(fields) STR_INIT("GET /v1 HTTP/1.1\r\nHost: a\r\n" fields "\r\n")
#define POST(fields) STR_INIT("POST /v1 HTTP/1.1\r\nHost: a\r\n" fields "\r\n")
#define LINE(line) STR_INIT(line "\r\nHost: a\r\n\r\n")

static const struct request_case start_lines[] = {
	{ "plain", LINE("GET /v1 HTTP/1.1"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "1.0 needs no Host", STR_INIT("GET /v1 HTTP/1.0\r\n\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "1.2 is 1.1", LINE("GET /v1 HTTP/1.2"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "absolute-form", LINE("GET http://a/v1 HTTP/1.1"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "absolute-form, https, case", LINE("GET HTTPS://a:8443/v1?x HTTP/1.1"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "OPTIONS *", LINE("OPTIONS * HTTP/1.1"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "two slashes are target.c's business", LINE("GET //evil/x HTTP/1.1"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "GET *", LINE("GET * HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "authority-form", LINE("GET evil:443 HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "relative", LINE("GET foo/bar HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "other scheme", LINE("GET ftp://a/ HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "space in target", LINE("GET /a b HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "two spaces", LINE("GET  /g HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "two spaces before version", LINE("GET /g  HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "trailing space", LINE("GET /g HTTP/1.1 "), HTTP1_SYNTAX, 0, 0 },
	{ "leading space", LINE(" GET /g HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "tab for space", LINE("GET\t/g HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "fragment", LINE("GET /g#f HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "control in target", LINE("GET /g\x01 HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "8 bit in target", LINE("GET /g\xc3\xa4 HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "DEL in target", LINE("GET /g\x7f HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "HTTP/0.9", STR_INIT("GET /\r\n\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "no target", LINE("GET HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "bare CR", LINE("GET /\r HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "bare LF", STR_INIT("GET / HTTP/1.1\nHost: a\n\n"), HTTP1_SYNTAX, 0, 0 },
	{ "CR CR LF", STR_INIT("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "empty line first", STR_INIT("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "NUL behind the version", LINE("GET / HTTP/1.1\0"), HTTP1_SYNTAX, 0, 0 },
	{ "TLS ClientHello", STR_INIT("\x16\x03\x01"), HTTP1_SYNTAX, 0, 0 },
	{ "other protocol", LINE("GET / FOO/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "http in lower case", LINE("GET / http/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "HTTP/2 preface", STR_INIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HTTP1_BAD_VERSION, 0, 0 },
	{ "HTTP/2.0", LINE("GET / HTTP/2.0"), HTTP1_BAD_VERSION, 0, 0 },
	{ "HTTP/0.9 said", LINE("GET / HTTP/0.9"), HTTP1_BAD_VERSION, 0, 0 },
	{ "HTTP/1.10", LINE("GET / HTTP/1.10"), HTTP1_BAD_VERSION, 0, 0 },
	{ "HTTP/1.1000", LINE("GET / HTTP/1.1000"), HTTP1_BAD_VERSION, 0, 0 },
	{ "HTTP/+1.-1", LINE("GET / HTTP/+1.-1"), HTTP1_BAD_VERSION, 0, 0 },
	{ "HTTP/1", LINE("GET / HTTP/1"), HTTP1_BAD_VERSION, 0, 0 },
	{ "CONNECT", LINE("CONNECT a:443 HTTP/1.1"), HTTP1_UNKNOWN_METHOD, 0, 0 },
	{ "TRACE", LINE("TRACE / HTTP/1.1"), HTTP1_UNKNOWN_METHOD, 0, 0 },
	{ "lower case", LINE("get / HTTP/1.1"), HTTP1_UNKNOWN_METHOD, 0, 0 },
	{ "unknown", LINE("BREW / HTTP/1.1"), HTTP1_UNKNOWN_METHOD, 0, 0 },
	{ "method no token", LINE("GE(T / HTTP/1.1"), HTTP1_SYNTAX, 0, 0 },
	{ "endless method", STR_INIT("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), HTTP1_UNKNOWN_METHOD, 0, 0 },
};

static const struct request_case field_lines[] = {
	{ "HTAB and obs-text in a value", GET("X:\ta\tb\xe4 \r\n"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "empty value", GET("X:\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "space before colon", GET("X : a\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "fold", GET("X: a\r\n b\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "fold by tab", GET("X: a\r\n\tb\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "folded Transfer-Encoding", POST("Transfer-Encoding:\r\n chunked\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "space before the first field", LINES("GET / HTTP/1.1\r\n Host: a\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "empty name", GET(": a\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "no colon", GET("X\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "space in name", GET("X Y: a\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "8 bit in name", GET("X\xe4: a\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "NUL in value", GET("X: a\0b\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "line that begins with NUL", GET("\0X: a\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "bare CR in value", GET("X: a\rb\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "bare LF in fields", GET("X: a\nY: b\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "bare LF as empty line", STR_INIT("GET / HTTP/1.1\r\nHost: a\r\n\nX"), HTTP1_SYNTAX, 0, 0 },
	{ "VT in value", GET("X: a\vb\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "DEL in value", GET("X: a\x7f\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "no Host", LINES("GET / HTTP/1.1\r\n"), HTTP1_BAD_HOST, 0, 0 },
	{ "no Host on 1.2", LINES("GET / HTTP/1.2\r\n"), HTTP1_BAD_HOST, 0, 0 },
	{ "two Hosts", GET("host: a\r\n"), HTTP1_BAD_HOST, 0, 0 },
	{ "two Hosts on 1.0", LINES("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n"), HTTP1_BAD_HOST, 0, 0 },
	{ "empty Host", LINES("GET / HTTP/1.1\r\nHost:\r\n"), HTTP1_BAD_HOST, 0, 0 },
	{ "Host with user", LINES("GET / HTTP/1.1\r\nHost: u@a\r\n"), HTTP1_BAD_HOST, 0, 0 },
	{ "Host with path", LINES("GET / HTTP/1.1\r\nHost: a/b\r\n"), HTTP1_BAD_HOST, 0, 0 },
	{ "Host list", LINES("GET / HTTP/1.1\r\nHost: a, b\r\n"), HTTP1_BAD_HOST, 0, 0 },
	{ "Host with port and IPv6", LINES("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "absolute-form needs a Host too", LINES("GET http://a/ HTTP/1.1\r\n"), HTTP1_BAD_HOST, 0, 0 },
	{ "Expect", POST("Content-Length: 1\r\nExpect: 100-Continue\r\n"), HTTP1_OK, HTTP1_LENGTH, 1 },
	{ "other Expect", POST("Expect: 200-ok\r\n"), HTTP1_BAD_EXPECTATION, 0, 0 },
	{ "empty Expect", POST("Expect:\r\n"), HTTP1_BAD_EXPECTATION, 0, 0 },
	{ "two Expects", POST("Expect: 100-continue\r\nExpect: 100-continue\r\n"), HTTP1_BAD_EXPECTATION, 0, 0 },
	{ "Expect on 1.0", LINES("POST / HTTP/1.0\r\nExpect: x\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "Upgrade is a field like others", GET("Upgrade: h2c\r\nConnection: upgrade\r\n"), HTTP1_OK, HTTP1_NO_BODY,
	    0 },
	/* Faults are told in this order: syntax, framing, semantics. */
	{ "syntax before Host", LINES("GET / HTTP/1.1\r\nX\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "framing before method", LINES("BREW / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n"), HTTP1_BAD_LENGTH, 0,
	    0 },
	{ "framing before Expect", POST("Content-Length: x\r\nExpect: y\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
};

static const struct request_case framings[] = {
	{ "POST without body", POST(""), HTTP1_OK, HTTP1_NO_BODY, 0 },
	{ "length", POST("Content-Length: 3\r\n"), HTTP1_OK, HTTP1_LENGTH, 3 },
	{ "length 0", POST("content-length: 0\r\n"), HTTP1_OK, HTTP1_LENGTH, 0 },
	{ "largest", POST("Content-Length: 9223372036854775807\r\n"), HTTP1_OK, HTTP1_LENGTH, INT64_MAX },
	{ "over INT64", POST("Content-Length: 9223372036854775808\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "over UINT64", POST("Content-Length: 100000000000000000000\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "empty", POST("Content-Length:\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "sign", POST("Content-Length: +3\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "minus", POST("Content-Length: -1\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "hex", POST("Content-Length: 0x3\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "fraction", POST("Content-Length: 3.0\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "inner space", POST("Content-Length: 3 3\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "list", POST("Content-Length: 3, 3\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "list of zeros", POST("Content-Length: 0, 0\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "repeated, equal", POST("Content-Length: 3\r\nContent-Length: 3\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "repeated, different", POST("Content-Length: 3\r\nContent-Length: 4\r\n"), HTTP1_BAD_LENGTH, 0, 0 },
	{ "space before colon", POST("Content-Length : 3\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "chunked", POST("Transfer-Encoding: chunked\r\n"), HTTP1_OK, HTTP1_CHUNKED, 0 },
	{ "chunked, case", POST("TRANSFER-ENCODING: \t Chunked \r\n"), HTTP1_OK, HTTP1_CHUNKED, 0 },
	{ "with length", POST("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), HTTP1_BAD_CODING, 0, 0 },
	{ "with length, other order", POST("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), HTTP1_BAD_CODING, 0,
	    0 },
	{ "twice", POST("Transfer-Encoding: chunked, chunked\r\n"), HTTP1_BAD_CODING, 0, 0 },
	{ "two lines", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), HTTP1_BAD_CODING, 0, 0 },
	{ "not last", POST("Transfer-Encoding: chunked, gzip\r\n"), HTTP1_BAD_CODING, 0, 0 },
	{ "not last, lines", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), HTTP1_BAD_CODING, 0,
	    0 },
	{ "empty coding", POST("Transfer-Encoding:\r\n"), HTTP1_BAD_CODING, 0, 0 },
	{ "empty element", POST("Transfer-Encoding: ,chunked\r\n"), HTTP1_BAD_CODING, 0, 0 },
	{ "comma behind", POST("Transfer-Encoding: chunked,\r\n"), HTTP1_BAD_CODING, 0, 0 },
	{ "gzip, chunked", POST("Transfer-Encoding: gzip, chunked\r\n"), HTTP1_UNKNOWN_CODING, 0, 0 },
	{ "gzip", POST("Transfer-Encoding: gzip\r\n"), HTTP1_UNKNOWN_CODING, 0, 0 },
	{ "identity", POST("Transfer-Encoding: identity\r\n"), HTTP1_UNKNOWN_CODING, 0, 0 },
	{ "xchunked", POST("Transfer-Encoding: xchunked\r\n"), HTTP1_UNKNOWN_CODING, 0, 0 },
	{ "parameter", POST("Transfer-Encoding: chunked;q=1\r\n"), HTTP1_UNKNOWN_CODING, 0, 0 },
	{ "quoted", POST("Transfer-Encoding: \"chunked\"\r\n"), HTTP1_UNKNOWN_CODING, 0, 0 },
	{ "VT", POST("Transfer-Encoding: \vchunked\r\n"), HTTP1_SYNTAX, 0, 0 },
	{ "on 1.0", LINES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n"), HTTP1_BAD_CODING, 0, 0 },
	{ "GET with length", GET("Content-Length: 1\r\n"), HTTP1_BAD_BODY_METHOD, 0, 0 },
	{ "GET with chunks", GET("Transfer-Encoding: chunked\r\n"), HTTP1_BAD_BODY_METHOD, 0, 0 },
	{ "GET with length 0", GET("Content-Length: 0\r\n"), HTTP1_OK, HTTP1_LENGTH, 0 },
	{ "HEAD with length", LINES("HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"), HTTP1_BAD_BODY_METHOD, 0,
	    0 },
	{ "DELETE with length", LINES("DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"), HTTP1_OK, HTTP1_LENGTH,
	    9 },
	{ "TRACE with length", LINES("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"), HTTP1_UNKNOWN_METHOD, 0,
	    0 },
};

/* Compare one table with the parser. */
static void
check_requests(const struct request_case *cases, size_t count)
{
	static struct http1_head head;

	for (size_t i = 0; i < count; i++) {
		enum http1_fault fault = read_request(cases[i].bytes, &head);

		if (fault != cases[i].fault)
			fail_msg("%s: fault %d (%s), not %d", cases[i].name, fault, http1_fault_text(fault),
			    cases[i].fault);
		if (fault == HTTP1_OK && (head.framing != cases[i].framing || head.content_length != cases[i].length))
			fail_msg("%s: framing %d of %ju", cases[i].name, head.framing, (uintmax_t)head.content_length);
	}
}

static void
test_requests(void **state)
{
	(void)state;
	check_requests(start_lines, COUNT(start_lines));
	check_requests(field_lines, COUNT(field_lines));
	check_requests(framings, COUNT(framings));
}

/* Where a head arrives byte by byte the scan says what it says of the whole. */
static void
test_scan_is_incremental(void **state)
{
	static const struct { const struct request_case *cases; size_t count; } tables[] = {
		{ start_lines, COUNT(start_lines) }, { field_lines, COUNT(field_lines) },
		{ framings, COUNT(framings) } };

	(void)state;
	for (size_t t = 0; t < COUNT(tables); t++)
		for (size_t i = 0; i < tables[t].count; i++) {
			struct str bytes = tables[t].cases[i].bytes;
			struct http1_scan whole, slow;
			enum http1_fault fault, slow_fault = HTTP1_OK;
			size_t length, slow_length = 0;

			http1_scan_init(&whole, true);
			http1_scan_init(&slow, true);
			length = http1_scan_head(&whole, bytes, &limits, &fault);
			for (size_t n = 0; n <= bytes.n && slow_fault == HTTP1_OK && slow_length == 0; n++)
				slow_length = http1_scan_head(&slow, str_sub(bytes, 0, n), &limits, &slow_fault);
			if (length != slow_length || fault != slow_fault)
				fail_msg("%s: %zu/%d at once, %zu/%d slowly", tables[t].cases[i].name, length, fault,
				    slow_length, slow_fault);
		}
}

/* Build "METHOD /aaa... HTTP/1.1" with FIELDS fields of VALUE bytes each. */
static void
build_request(struct buf *b, size_t target, size_t fields, size_t value)
{
	buf_clear(b);
	buf_add_z(b, "GET /");
	for (size_t i = 1; i < target; i++)
		buf_add_char(b, 'a');
	buf_add_z(b, " HTTP/1.1\r\nHost: a\r\n");
	for (size_t i = 1; i < fields; i++) {
		buf_printf(b, "X-%zu: ", i);
		for (size_t j = 0; j < value; j++)
			buf_add_char(b, 'v');
		buf_add_z(b, "\r\n");
	}
	buf_add_z(b, "\r\n");
}

static void
test_limits(void **state)
{
	static const struct { size_t target, fields, value; enum http1_fault fault; } cases[] = {
		{ 8192, 1, 0, HTTP1_OK }, { 8193, 1, 0, HTTP1_TARGET_TOO_LONG }, { 40000, 1, 0, HTTP1_TARGET_TOO_LONG },
		{ 10, 128, 10, HTTP1_OK }, { 10, 129, 10, HTTP1_HEAD_TOO_LARGE },
		{ 10, 5, 10000, HTTP1_HEAD_TOO_LARGE },
		{ 10, 4, 10000, HTTP1_OK } };
	static struct http1_head head;
	struct buf b = BUF_EMPTY;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		build_request(&b, cases[i].target, cases[i].fields, cases[i].value);
		assert_int_equal(read_request(buf_str(&b), &head), cases[i].fault);
	}
	buf_fini(&b);
}

/* Scan BYTES one by one; the fault, and how many bytes it took to find it. */
static enum http1_fault
scan_slowly(struct str bytes, size_t *taken)
{
	struct http1_scan scan;
	enum http1_fault fault = HTTP1_OK;
	size_t n = 0;

	http1_scan_init(&scan, true);
	while (n < bytes.n && fault == HTTP1_OK && http1_scan_head(&scan, str_sub(bytes, 0, ++n), &limits, &fault) == 0)
		;
	*taken = n;
	return fault;
}

/* A line, a target or a head without end is refused as soon as its bound is passed, not at its end. */
static void
test_limits_while_waiting(void **state)
{
	struct buf b = BUF_EMPTY;
	size_t taken;

	(void)state;
	build_request(&b, 100000, 1, 0);
	assert_int_equal(scan_slowly(buf_str(&b), &taken), HTTP1_TARGET_TOO_LONG);
	assert_int_equal(taken, strlen("GET ") + 8193);
	build_request(&b, 8192, 1, 0);
	assert_int_equal(scan_slowly(buf_str(&b), &taken), HTTP1_OK);
	build_request(&b, 10, 2, 100000);
	assert_int_equal(scan_slowly(buf_str(&b), &taken), HTTP1_HEAD_TOO_LARGE);
	assert_int_equal(taken, limits.head_bytes);
	buf_clear(&b);
	for (size_t i = 0; i < 100; i++)
		buf_add_char(&b, 'A');
	assert_int_equal(scan_slowly(buf_str(&b), &taken), HTTP1_UNKNOWN_METHOD);
	assert_int_equal(taken, HTTP1_METHOD_BYTES_MAX + 1);
	buf_fini(&b);
}

/* A head of exactly the limit passes; what comes behind it does not count. */
static void
test_limit_is_exact(void **state)
{
	struct str text = STR("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody bytes");
	size_t length = text.n - strlen("body bytes");
	struct http1_limits exact = { .head_bytes = length, .target_bytes = 1 };
	struct http1_scan scan;
	enum http1_fault fault;

	(void)state;
	http1_scan_init(&scan, true);
	assert_int_equal(http1_scan_head(&scan, text, &exact, &fault), length);
	assert_int_equal(fault, HTTP1_OK);
	exact.head_bytes--;
	http1_scan_init(&scan, true);
	assert_int_equal(http1_scan_head(&scan, text, &exact, &fault), 0);
	assert_int_equal(fault, HTTP1_HEAD_TOO_LARGE);
}

static void
test_fields(void **state)
{
	static struct http1_head head;

	(void)state;
	assert_int_equal(read_request(STR("POST /x?y HTTP/1.1\r\nHOST: a:1\r\nX-A: 1\r\nx-a:2 \r\nContent-Length: 0\r\n"
	    "List: a , B\r\nLIST: c\r\nExpect: 100-continue\r\n\r\nrest"), &head), HTTP1_OK);
	assert_true(str_eq(head.method, STR("POST")));
	assert_true(str_eq(head.target, STR("/x?y")));
	assert_int_equal(head.minor, 1);
	assert_int_equal(head.field_count, 7);
	assert_true(str_eq(head.fields[0].name, STR("HOST")));
	assert_true(str_eq(http1_find(&head, STR("X-a"))->value, STR("1")));
	assert_true(str_eq(head.fields[2].value, STR("2")));
	assert_null(http1_find(&head, STR("X-B")));
	assert_int_equal(http1_count(&head, STR("X-A")), 2);
	assert_true(http1_list_has(&head, STR("list"), STR("b")));
	assert_true(http1_list_has(&head, STR("list"), STR("C")));
	assert_false(http1_list_has(&head, STR("list"), STR("d")));
	/* Nothing would follow a 100 here: no body is announced. */
	assert_false(head.expect_continue);
	assert_int_equal(read_request(STR("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
	    "Expect: 100-CONTINUE\r\n\r\n"), &head), HTTP1_OK);
	assert_true(head.expect_continue);
	assert_int_equal(read_request(STR("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"),
	    &head),
	    HTTP1_OK);
	assert_false(head.expect_continue);
}

/* On a fault the record still knows what was asked. */
static void
test_fault_keeps_request_line(void **state)
{
	static struct http1_head head;

	(void)state;
	assert_int_equal(read_request(STR("POST /x HTTP/1.0\r\nContent-Length: x\r\n\r\n"), &head), HTTP1_BAD_LENGTH);
	assert_true(str_eq(head.method, STR("POST")));
	assert_true(str_eq(head.target, STR("/x")));
	assert_int_equal(head.minor, 0);
	assert_false(head.keep_alive);
}

static void
test_keep_alive(void **state)
{
	static const struct { struct str bytes; bool alive; } cases[] = {
		{ GET(""), true }, { GET("Connection: close\r\n"), false }, { GET("Connection: Close\r\n"), false },
		{ GET("Connection: x, close\r\n"), false }, { GET("connection: close , x\r\n"), false },
		{ GET("Connection: keep-alive\r\nConnection: CLOSE\r\n"), false },
		{ GET("Connection: closed\r\n"), true },
		{ GET("Connection: keep-alive\r\n"), true }, { GET("Connection:\r\n"), true },
		{ STR_INIT("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), false },
		{ STR_INIT("GET / HTTP/1.0\r\n\r\n"), false },
	};
	static struct http1_head head;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(read_request(cases[i].bytes, &head), HTTP1_OK);
		assert_int_equal(head.keep_alive, cases[i].alive);
	}
}

struct response_case {
	const char *name, *method;
	struct str bytes;
	enum http1_fault fault;
	enum http1_framing framing;
	uint64_t length;
	bool keep_alive;
};

#define ANSWER(line, fields) STR_INIT("HTTP/1.1 " line "\r\n" fields "\r\n")

static const struct response_case responses[] = {
	{ "202", "POST", ANSWER("202 Accepted", "Content-Length: 0\r\n"), HTTP1_OK, HTTP1_LENGTH, 0, true },
	{ "length", "GET", ANSWER("200 OK", "Content-Length: 12\r\n"), HTTP1_OK, HTTP1_LENGTH, 12, true },
	{ "chunked", "GET", ANSWER("200 OK", "Transfer-Encoding: chunked\r\n"), HTTP1_OK, HTTP1_CHUNKED, 0, true },
	{ "close", "GET", ANSWER("200 OK", "Content-Length: 1\r\nConnection: x, Close\r\n"), HTTP1_OK, HTTP1_LENGTH, 1,
	    false },
	{ "until close", "GET", ANSWER("200 OK", ""), HTTP1_OK, HTTP1_UNTIL_CLOSE, 0, false },
	{ "until close, keep-alive said", "GET", ANSWER("200 OK", "Connection: keep-alive\r\n"), HTTP1_OK,
	    HTTP1_UNTIL_CLOSE, 0, false },
	{ "empty reason", "GET", ANSWER("200 ", "Content-Length: 1\r\n"), HTTP1_OK, HTTP1_LENGTH, 1, true },
	{ "no reason, no space", "GET", ANSWER("200", "Content-Length: 1\r\n"), HTTP1_OK, HTTP1_LENGTH, 1, true },
	{ "obs-text reason", "GET", ANSWER("200 \xe4\tx", "Content-Length: 1\r\n"), HTTP1_OK, HTTP1_LENGTH, 1, true },
	{ "HEAD", "HEAD", ANSWER("200 OK", "Content-Length: 12\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0, true },
	{ "HEAD without framing", "HEAD", ANSWER("200 OK", ""), HTTP1_OK, HTTP1_NO_BODY, 0, true },
	{ "204", "DELETE", ANSWER("204 No Content", ""), HTTP1_OK, HTTP1_NO_BODY, 0, true },
	{ "204 that announces a body", "DELETE", ANSWER("204 x", "Content-Length: 5\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0,
	    false },
	{ "204 chunked", "GET", ANSWER("204 x", "Transfer-Encoding: chunked\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0, false },
	{ "304 with the length of a 200", "GET", ANSWER("304 x", "Content-Length: 5\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0,
	    true },
	{ "100", "POST", ANSWER("100 Continue", ""), HTTP1_OK, HTTP1_NO_BODY, 0, true },
	{ "103", "POST", ANSWER("103 Early Hints", "Link: x\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0, true },
	{ "101", "POST", ANSWER("101 Switching", "Upgrade: x\r\n"), HTTP1_OK, HTTP1_NO_BODY, 0, false },
	{ "1.0", "GET", STR_INIT("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"), HTTP1_OK, HTTP1_LENGTH, 1, false },
	{ "1.0 keep-alive", "GET", STR_INIT("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n"),
	    HTTP1_OK, HTTP1_LENGTH, 1, true },
	{ "1.0 chunked", "GET", STR_INIT("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), HTTP1_BAD_CODING, 0,
	    0, false },
	{ "two lengths", "GET", ANSWER("200 OK", "Content-Length: 1\r\nContent-Length: 2\r\n"), HTTP1_BAD_LENGTH, 0, 0,
	    false },
	{ "two equal", "GET", ANSWER("200 OK", "Content-Length: 1\r\nContent-Length: 1\r\n"), HTTP1_BAD_LENGTH, 0, 0,
	    false },
	{ "bad length", "GET", ANSWER("200 OK", "Content-Length: 1x\r\n"), HTTP1_BAD_LENGTH, 0, 0, false },
	{ "length and chunked", "GET", ANSWER("200 OK", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
	    HTTP1_BAD_CODING, 0, 0, false },
	{ "the same on HEAD", "HEAD", ANSWER("200 OK", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
	    HTTP1_BAD_CODING, 0, 0, false },
	{ "gzip coding", "GET", ANSWER("200 OK", "Transfer-Encoding: gzip, chunked\r\n"), HTTP1_UNKNOWN_CODING, 0, 0,
	    false },
	{ "status 99", "GET", ANSWER("099 x", ""), HTTP1_SYNTAX, 0, 0, false },
	{ "status 600", "GET", ANSWER("600 x", ""), HTTP1_SYNTAX, 0, 0, false },
	{ "status overflow", "GET", ANSWER("9999999999 x", ""), HTTP1_SYNTAX, 0, 0, false },
	{ "two digits", "GET", ANSWER("20 x", ""), HTTP1_SYNTAX, 0, 0, false },
	{ "two spaces", "GET", ANSWER(" 200 x", ""), HTTP1_SYNTAX, 0, 0, false },
	{ "2.0", "GET", STR_INIT("HTTP/2.0 200 OK\r\n\r\n"), HTTP1_BAD_VERSION, 0, 0, false },
	{ "ICY", "GET", STR_INIT("ICY 200 OK\r\n\r\n"), HTTP1_SYNTAX, 0, 0, false },
	{ "HTML without head", "GET", STR_INIT("<html>\r\n\r\n"), HTTP1_SYNTAX, 0, 0, false },
	{ "TLS alert", "GET", STR_INIT("\x15\x03\x03"), HTTP1_SYNTAX, 0, 0, false },
	{ "space before colon", "GET", ANSWER("200 OK", "Content-Length : 1\r\n"), HTTP1_SYNTAX, 0, 0, false },
	{ "fold", "GET", ANSWER("200 OK", "X: a\r\n b\r\n"), HTTP1_SYNTAX, 0, 0, false },
	{ "bare LF", "GET", STR_INIT("HTTP/1.1 200 OK\nContent-Length: 1\n\n"), HTTP1_SYNTAX, 0, 0, false },
	{ "NUL in Location", "GET", ANSWER("202 x", "Location: /a\0b\r\n"), HTTP1_SYNTAX, 0, 0, false },
};

static void
test_responses(void **state)
{
	static struct http1_head head;

	(void)state;
	for (size_t i = 0; i < COUNT(responses); i++) {
		const struct response_case *c = &responses[i];
		struct http1_scan scan;
		enum http1_fault fault;
		size_t n;

		http1_scan_init(&scan, false);
		n = http1_scan_head(&scan, c->bytes, &limits, &fault);
		if (fault == HTTP1_OK)
			fault = http1_parse_response(str_sub(c->bytes, 0, n), str_from(c->method), &limits, &head);
		if (fault != c->fault)
			fail_msg("%s: fault %d (%s)", c->name, fault, http1_fault_text(fault));
		if (fault == HTTP1_OK && (head.framing != c->framing || head.content_length != c->length ||
		    head.keep_alive != c->keep_alive))
			fail_msg("%s: framing %d of %ju, alive %d", c->name, head.framing,
			    (uintmax_t)head.content_length,
			    head.keep_alive);
	}
}

/* The parser does not lean on the scan: whatever is cut off or put in, it reads no further and says so. */
static void
test_parse_alone(void **state)
{
	struct str text = STR("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
	static struct http1_head head;

	(void)state;
	for (size_t n = 0; n < text.n; n++) {
		char *copy = malloc(n + 1);	/* of its own, so that the sanitizer sees one byte too far */

		memcpy(copy, text.p, n);
		assert_int_equal(http1_parse_request((struct str){ copy, n }, &limits, &head), HTTP1_SYNTAX);
		free(copy);
	}
	assert_int_equal(http1_parse_request(text, &limits, &head), HTTP1_OK);
	assert_int_equal(http1_parse_request(STR("GET / HTTP/1.1\r\nHost: a\r\n\r\nX"), &limits, &head), HTTP1_SYNTAX);
}

static void
test_authority(void **state)
{
	static const struct { struct str s; bool is; } cases[] = {
		{ STR_INIT("a"), true }, { STR_INIT("api.fabric.microsoft.com"), true },
		{ STR_INIT("a:443"), true }, { STR_INIT("127.0.0.1:8080"), true }, { STR_INIT("[::1]"), true },
		{ STR_INIT("[::1]:1"), true }, { STR_INIT("a:"), true }, { STR_INIT("a_b~c-"), true },
		{ STR_INIT("[::ffff:127.0.0.1]:65535"), true }, { STR_INIT(""), false }, { STR_INIT(":80"), false },
		{ STR_INIT("a:80x"), false }, { STR_INIT("a:65536"), false }, { STR_INIT("a:000080"), false },
		{ STR_INIT("a:b:1"), false }, { STR_INIT("u@a"), false }, { STR_INIT("a/b"), false },
		{ STR_INIT("a b"), false }, { STR_INIT("a,b"), false }, { STR_INIT("a%20"), false },
		{ STR_INIT("a?"), false }, { STR_INIT("[::1"), false }, { STR_INIT("[]"), false },
		{ STR_INIT("[:]"), false }, { STR_INIT("[::1]x"), false }, { STR_INIT("[fe80::1%25lo]"), false },
		{ STR_INIT("[v1.a]"), false }, { STR_INIT("::1"), false }, { STR_INIT("a\\b"), false },
		{ STR_INIT("[127.0.0.1]"), false }, { STR_INIT("[::1\0]"), false }, { STR_INIT("["), false },
		{ STR_INIT("]"), false },
	};
	char name[257];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (http1_is_authority(cases[i].s) != cases[i].is)
			fail_msg("%.*s", STR_ARG(cases[i].s));
	memset(name, 'a', sizeof name);
	assert_true(http1_is_authority((struct str){ name, 255 }));
	assert_false(http1_is_authority((struct str){ name, 256 }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests), cmocka_unit_test(test_scan_is_incremental),
		cmocka_unit_test(test_limits), cmocka_unit_test(test_limits_while_waiting),
		cmocka_unit_test(test_limit_is_exact), cmocka_unit_test(test_fields),
		cmocka_unit_test(test_fault_keeps_request_line), cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_responses), cmocka_unit_test(test_parse_alone),
		cmocka_unit_test(test_authority),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
