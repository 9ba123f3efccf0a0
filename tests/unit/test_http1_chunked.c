/* base/http1_chunked: bodies in chunks, and all that other decoders have let pass. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/http1.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct chunk_case { const char *name; struct str in; struct str body; size_t rest; enum http1_fault fault; bool done; };

static const struct chunk_case chunk_cases[] = {
	{ "plain", STR_INIT("3\r\nabc\r\n0\r\n\r\n"), STR_INIT("abc"), 0, HTTP1_OK, true },
	{ "two, and the next message", STR_INIT("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nGET "),
	    STR_INIT("abc0123456789"), 4, HTTP1_OK, true },
	{ "empty", STR_INIT("0\r\n\r\n"), STR_INIT(""), 0, HTTP1_OK, true },
	{ "leading zeros", STR_INIT("0003\r\nabc\r\n000\r\n\r\n"), STR_INIT("abc"), 0, HTTP1_OK, true },
	{ "extension", STR_INIT("3;x=y\r\nabc\r\n0;z=\"a b\"\r\n\r\n"), STR_INIT("abc"), 0, HTTP1_OK, true },
	{ "trailers", STR_INIT("1\r\na\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n"), STR_INIT("a"), 0, HTTP1_OK, true },
	{ "CRLF in data", STR_INIT("4\r\n\r\n\r\n\r\n0\r\n\r\n"), STR_INIT("\r\n\r\n"), 0, HTTP1_OK, true },
	{ "unfinished", STR_INIT("5\r\nabc"), STR_INIT("abc"), 0, HTTP1_OK, false },
	{ "unfinished end", STR_INIT("1\r\na\r\n0\r\n"), STR_INIT("a"), 0, HTTP1_OK, false },
	{ "no size", STR_INIT("\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "0x", STR_INIT("0x3\r\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "sign", STR_INIT("+3\r\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "minus", STR_INIT("-3\r\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "space first", STR_INIT(" 3\r\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "space behind", STR_INIT("3 \r\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "space before extension", STR_INIT("3 ;x\r\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "NUL behind size", STR_INIT("3\0\r\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "control in extension", STR_INIT("3;\x01\r\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "LF in extension", STR_INIT("3;a\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "CR alone in extension", STR_INIT("3;a\rb\r\nabc\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "bare LF", STR_INIT("3\nabc\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "empty line between", STR_INIT("3\r\nabc\r\n\r\n0\r\n\r\n"), STR_INIT("abc"), 0, HTTP1_BAD_CHUNK, false },
	{ "no CRLF behind data", STR_INIT("3\r\nabcd\r\n"), STR_INIT("abc"), 0, HTTP1_BAD_CHUNK, false },
	{ "LF behind data", STR_INIT("3\r\nabc\n0\r\n\r\n"), STR_INIT("abc"), 0, HTTP1_BAD_CHUNK, false },
	{ "largest", STR_INIT("7fffffffffffffff\r\na"), STR_INIT("a"), 0, HTTP1_OK, false },
	{ "over INT64", STR_INIT("8000000000000000\r\na"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "overflow", STR_INIT("10000000000000003\r\nabc"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "zeros without end", STR_INIT("00000000000000003\r\nabc"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "trailer fold", STR_INIT("0\r\nX: y\r\n z\r\n\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "trailer without colon", STR_INIT("0\r\nX\r\n\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "trailer, space before colon", STR_INIT("0\r\nX : y\r\n\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "trailer without name", STR_INIT("0\r\n: y\r\n\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "NUL in trailer", STR_INIT("0\r\nX: \0\r\n\r\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "bare LF at the end", STR_INIT("0\r\n\n"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
	{ "CR alone at the end", STR_INIT("0\r\n\rX"), STR_INIT(""), 0, HTTP1_BAD_CHUNK, false },
};

/* Feed IN to the decoder in pieces of STEP bytes; what was not taken of the whole is *REST. */
static enum http1_fault
decode(struct str in, size_t step, struct buf *body, bool *done, size_t *rest)
{
	struct http1_chunked c;
	enum http1_fault fault = HTTP1_OK;
	size_t at = 0;

	http1_chunked_init(&c);
	*done = false;
	while (at < in.n && !*done && fault == HTTP1_OK) {
		struct str piece = str_sub(in, at, at + step), before = piece;

		while (piece.n > 0 && !*done && fault == HTTP1_OK) {
			struct str data;

			fault = http1_chunked_next(&c, &piece, &data, done);
			buf_add(body, data);
		}
		at += before.n - piece.n;
	}
	*rest = in.n - at;
	return fault;
}

static void
test_chunked(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(chunk_cases); i++)
		for (size_t step = 1; step <= chunk_cases[i].in.n; step++) {
			const struct chunk_case *c = &chunk_cases[i];
			struct buf body = BUF_EMPTY;
			size_t rest;
			bool done;
			enum http1_fault fault = decode(c->in, step, &body, &done, &rest);

			if (fault != c->fault || done != c->done || !str_eq(buf_str(&body), c->body) ||
			    (fault == HTTP1_OK && rest != c->rest))
				fail_msg("%s by %zu: fault %d, done %d, \"%.*s\", rest %zu", c->name, step, fault, done,
				    STR_ARG(buf_str(&body)), rest);
			buf_fini(&body);
		}
}

/* Build a body of COUNT one-byte chunks with extensions of EXTENSION bytes, and a trailer of TRAILER bytes. */
static enum http1_fault
decode_dropped(size_t count, size_t extension, size_t trailer)
{
	struct buf in = BUF_EMPTY, body = BUF_EMPTY;
	enum http1_fault fault;
	size_t rest;
	bool done;

	for (size_t i = 0; i < count; i++) {
		buf_add_z(&in, "1;");
		for (size_t j = 0; j < extension; j++)
			buf_add_char(&in, 'x');
		buf_add_z(&in, "\r\na\r\n");
	}
	buf_add_z(&in, "0\r\n");
	for (size_t j = 0; j < trailer; j++)
		buf_add_char(&in, j == 1 ? ':' : 'x');
	buf_add_z(&in, trailer ? "\r\n\r\n" : "\r\n");
	fault = decode(buf_str(&in), in.n, &body, &done, &rest);
	assert_int_equal(fault == HTTP1_OK, done);
	buf_fini(&in);
	buf_fini(&body);
	return fault;
}

/* What is dropped is bounded: an extension, and all extensions and trailers of a body. */
static void
test_chunked_bounds(void **state)
{
	(void)state;
	assert_int_equal(decode_dropped(1, 256, 0), HTTP1_OK);
	assert_int_equal(decode_dropped(1, 257, 0), HTTP1_BAD_CHUNK);
	assert_int_equal(decode_dropped(32, 256, 0), HTTP1_OK);
	assert_int_equal(decode_dropped(33, 256, 0), HTTP1_BAD_CHUNK);
	assert_int_equal(decode_dropped(0, 0, 8000), HTTP1_OK);
	assert_int_equal(decode_dropped(0, 0, 8193), HTTP1_BAD_CHUNK);
	assert_int_equal(decode_dropped(3000, 0, 0), HTTP1_OK);
}

/* A fault lasts, and a finished body takes nothing more. */
static void
test_chunked_ends(void **state)
{
	struct http1_chunked c;
	struct str in = STR("x"), data;
	bool done;

	(void)state;
	http1_chunked_init(&c);
	assert_int_equal(http1_chunked_next(&c, &in, &data, &done), HTTP1_BAD_CHUNK);
	in = STR("0\r\n\r\n");
	assert_int_equal(http1_chunked_next(&c, &in, &data, &done), HTTP1_BAD_CHUNK);
	http1_chunked_init(&c);
	in = STR("0\r\n\r\nrest");
	assert_int_equal(http1_chunked_next(&c, &in, &data, &done), HTTP1_OK);
	assert_true(done);
	assert_int_equal(http1_chunked_next(&c, &in, &data, &done), HTTP1_OK);
	assert_true(done);
	assert_true(str_eq(in, STR("rest")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_chunked), cmocka_unit_test(test_chunked_bounds),
		cmocka_unit_test(test_chunked_ends) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
