/*
 * The reader of responses: each case whole, in single bytes, and cut at every place; then mutated ones for the
 * sanitizers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/upstream_private.h"

static const struct upstream_settings settings = { .response_head_bytes = 1024, .response_body_bytes = 64 };

enum { DONE = UPSTREAM_READ_DONE, MORE = UPSTREAM_READ_MORE, CLOSED = 100, MALFORMED, TOO_LARGE };

struct reader_case {
	const char *name, *method;
	struct str bytes;
	int want;		/* after all bytes and, where END, the end of the connection */
	int status;
	const char *body;
	size_t rest;		/* bytes left over */
	enum { END_NONE, END_CLEAN, END_DIRTY } end;
};

#define OK_HEAD "HTTP/1.1 200 OK\r\n"

static const struct reader_case cases[] = {
	{ "length", "GET", STR_INIT(OK_HEAD "Content-Length: 5\r\n\r\nhello"), DONE, 200, "hello", 0, END_NONE },
	{ "no body at all", "POST", STR_INIT("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"), DONE, 202, "", 0, END_NONE },
	{ "chunks and trailers", "GET", STR_INIT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"),
	    DONE, 200, "abcde", 0, END_NONE },
	{ "interim responses", "GET", STR_INIT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
	    OK_HEAD "Content-Length: 1\r\n\r\nx"), DONE, 200, "x", 0, END_NONE },
	{ "101", "GET", STR_INIT("HTTP/1.1 101 Switching Protocols\r\n\r\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "two responses", "GET", STR_INIT(OK_HEAD "Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n"), DONE, 200, "x", 19, END_NONE },
	{ "204 with a body", "GET", STR_INIT("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody"), DONE, 204, "", 4, END_NONE },
	{ "304", "GET", STR_INIT("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"), DONE, 304, "", 0, END_NONE },
	{ "HEAD", "HEAD", STR_INIT(OK_HEAD "Content-Length: 5\r\n\r\n"), DONE, 200, "", 0, END_NONE },
	{ "HEAD with a body", "HEAD", STR_INIT(OK_HEAD "Content-Length: 5\r\n\r\nhello"), DONE, 200, "", 5, END_NONE },
	{ "until close, clean", "GET", STR_INIT(OK_HEAD "\r\nhello"), DONE, 200, "hello", 0, END_CLEAN },
	{ "until close, dirty", "GET", STR_INIT(OK_HEAD "\r\nhello"), CLOSED, 0, NULL, 0, END_DIRTY },
	{ "until close, keep-alive said", "GET", STR_INIT(OK_HEAD "Connection: keep-alive\r\n\r\nhello"), DONE, 200, "hello", 0, END_CLEAN },
	{ "until close, open", "GET", STR_INIT(OK_HEAD "\r\nhello"), MORE, 0, NULL, 0, END_NONE },
	{ "nothing, closed", "GET", STR_INIT(""), CLOSED, 0, NULL, 0, END_CLEAN },
	{ "head cut", "GET", STR_INIT("HTTP/1.1 200 OK\r\nContent"), CLOSED, 0, NULL, 0, END_CLEAN },
	{ "short body", "GET", STR_INIT(OK_HEAD "Content-Length: 6\r\n\r\nhello"), CLOSED, 0, NULL, 0, END_CLEAN },
	{ "chunks cut", "GET", STR_INIT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), CLOSED, 0, NULL, 0, END_CLEAN },
	{ "only an interim response", "GET", STR_INIT("HTTP/1.1 100 Continue\r\n\r\n"), CLOSED, 0, NULL, 0, END_CLEAN },
	{ "two lengths", "GET", STR_INIT(OK_HEAD "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "length and chunked", "GET", STR_INIT(OK_HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
	    MALFORMED, 0, NULL, 0, END_NONE },
	{ "NUL in a value", "GET", STR_INIT(OK_HEAD "Location: /a\0b\r\n\r\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "NUL in a name", "GET", STR_INIT(OK_HEAD "Loc\0ation: /a\r\n\r\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "status of ten digits", "GET", STR_INIT("HTTP/1.1 9999999999 OK\r\n\r\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "status 600", "GET", STR_INIT("HTTP/1.1 600 OK\r\n\r\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "garbage", "GET", STR_INIT("SSH-2.0-OpenSSH_9.2\r\n\r\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "bare LF", "GET", STR_INIT("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "fold", "GET", STR_INIT(OK_HEAD "A: b\r\n c\r\n\r\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "bad chunk", "GET", STR_INIT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "gzip coding", "GET", STR_INIT(OK_HEAD "Transfer-Encoding: gzip\r\n\r\nabc"), MALFORMED, 0, NULL, 0, END_CLEAN },
	{ "length over the bound", "GET", STR_INIT(OK_HEAD "Content-Length: 65\r\n\r\n"), TOO_LARGE, 0, NULL, 0, END_NONE },
	{ "length of 20 digits", "GET", STR_INIT(OK_HEAD "Content-Length: 99999999999999999999\r\n\r\n"), MALFORMED, 0, NULL, 0, END_NONE },
	{ "chunks over the bound", "GET", STR_INIT(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n28\r\n"
	    "0123456789012345678901234567890123456789\r\n28\r\n0123456789012345678901234567890123456789\r\n0\r\n\r\n"),
	    TOO_LARGE, 0, NULL, 0, END_NONE },
};

/* Feed BYTES in pieces of at most STEP; the result as the cases write it, what is left over in *REST. */
static int
run(struct upstream_reader *reader, const struct reader_case *c, size_t step, size_t *rest)
{
	enum upstream_read got = UPSTREAM_READ_MORE;

	*rest = 0;
	for (size_t at = 0; at < c->bytes.n && got == UPSTREAM_READ_MORE; at += step) {
		struct str piece = str_sub(c->bytes, at, at + step);
		char *own = malloc(piece.n);	/* so that the sanitizer sees what outlives its piece */

		assert_non_null(own);
		memcpy(own, piece.p, piece.n);
		piece.p = own;
		got = upstream_reader_feed(reader, &piece);
		*rest = piece.n + (c->bytes.n > at + step ? c->bytes.n - at - step : 0);
		free(own);
	}
	if (got == UPSTREAM_READ_MORE && c->end != END_NONE)
		got = upstream_reader_end(reader, c->end == END_CLEAN);
	if (got != UPSTREAM_READ_FAULT)
		return (int)got;
	assert_non_null(reader->detail);
	return reader->reason == UPSTREAM_REASON_CLOSED ? CLOSED : reader->reason == UPSTREAM_REASON_TOO_LARGE ? TOO_LARGE : MALFORMED;
}

static void
test_cases_in_pieces_of_every_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct reader_case *c = &cases[i];

		for (size_t step = 1; step <= c->bytes.n + 1; step++) {
			struct upstream_reader reader;
			size_t rest;
			int got;

			upstream_reader_init(&reader, str_from(c->method), &settings);
			got = run(&reader, c, step, &rest);
			if (got != c->want)
				fail_msg("%s in pieces of %zu: %d, wanted %d (%s)", c->name, step, got, c->want,
				    reader.detail ? reader.detail : "");
			if (got == DONE) {
				assert_int_equal(reader.head.status, c->status);
				assert_true(str_eq(upstream_reader_body(&reader), str_from(c->body)));
				assert_int_equal(rest, c->rest);
			}
			upstream_reader_fini(&reader);
		}
	}
}

static void
test_a_head_without_end_is_refused_at_its_bound(void **state)
{
	struct upstream_reader reader;
	char line[] = "A: 0123456789\r\n";
	struct str piece = STR(OK_HEAD);
	size_t fed = 0;

	(void)state;
	upstream_reader_init(&reader, STR("GET"), &settings);
	while (upstream_reader_feed(&reader, &piece) == UPSTREAM_READ_MORE) {
		piece = str_from(line);
		fed += piece.n;
		assert_true(fed < 2048);
	}
	assert_int_equal(reader.reason, UPSTREAM_REASON_TOO_LARGE);
	upstream_reader_fini(&reader);
}

static void
test_interim_responses_without_end_are_refused(void **state)
{
	struct upstream_reader reader;
	enum upstream_read got = UPSTREAM_READ_MORE;
	int fed = 0;

	(void)state;
	upstream_reader_init(&reader, STR("GET"), &settings);
	for (; got == UPSTREAM_READ_MORE && fed < 100; fed++) {
		struct str piece = STR("HTTP/1.1 102 Processing\r\n\r\n");

		got = upstream_reader_feed(&reader, &piece);
	}
	assert_int_equal(got, UPSTREAM_READ_FAULT);
	assert_int_equal(fed, 17);
	upstream_reader_fini(&reader);
}

static void
test_keep_alive_is_learned(void **state)
{
	static const struct { const char *field; int64_t seconds; } rows[] = {
		{ "Keep-Alive: timeout=5, max=100", 5 }, { "keep-alive: max=3 , Timeout=120", 120 }, { "X: y", -1 },
		{ "Keep-Alive: timeout=", -1 }, { "Keep-Alive: timeout=-1", -1 }, { "Keep-Alive: timeout=99999999999", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct upstream_reader reader;
		struct buf bytes = BUF_EMPTY;
		struct str piece;

		buf_printf(&bytes, OK_HEAD "Content-Length: 0\r\n%s\r\n\r\n", rows[i].field);
		piece = buf_str(&bytes);
		upstream_reader_init(&reader, STR("GET"), &settings);
		assert_int_equal(upstream_reader_feed(&reader, &piece), UPSTREAM_READ_DONE);
		assert_true(upstream_reader_keep_alive_us(&reader) ==
		    (rows[i].seconds < 0 ? INT64_MAX : rows[i].seconds * CLOCK_SECOND));
		upstream_reader_fini(&reader);
		buf_fini(&bytes);
	}
}

/* Mutated cases in random pieces: nothing to expect but the bounds, and that the sanitizers stay silent. */
static void
test_mutations(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct reader_case c = cases[(unsigned)rand_r(&seed) % (sizeof(cases) / sizeof(cases[0]))];
		struct upstream_reader reader;
		char *own = malloc(c.bytes.n + 1);
		size_t rest;

		assert_non_null(own);
		memcpy(own, c.bytes.p, c.bytes.n);
		for (int n = rand_r(&seed) % 4; n > 0 && c.bytes.n > 0; n--)
			own[(size_t)rand_r(&seed) % c.bytes.n] = (char)rand_r(&seed);
		c.bytes.p = own;
		upstream_reader_init(&reader, str_from(c.method), &settings);
		run(&reader, &c, 1 + (size_t)rand_r(&seed) % 40, &rest);
		assert_true(upstream_reader_body(&reader).n <= settings.response_body_bytes);
		upstream_reader_fini(&reader);
		free(own);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases_in_pieces_of_every_size),
		cmocka_unit_test(test_a_head_without_end_is_refused_at_its_bound),
		cmocka_unit_test(test_interim_responses_without_end_are_refused),
		cmocka_unit_test(test_keep_alive_is_learned),
		cmocka_unit_test(test_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
