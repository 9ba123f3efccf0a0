/* Chunked coding: the first byte is how the rest is cut; body, end and fault must not depend on it. */
#include "fuzz.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/http1.h"

struct result {
	struct buf body;
	enum http1_fault fault;
	bool done;
	size_t taken;
};

/* Decode in pieces of STEP bytes. */
static struct result
decode(struct str bytes, size_t step)
{
	struct result r = { .body = BUF_EMPTY };
	struct http1_chunked c;

	http1_chunked_init(&c);
	while (r.taken < bytes.n && !r.done && r.fault == HTTP1_OK) {
		struct str piece = str_sub(bytes, r.taken, r.taken + step), data;
		size_t before = piece.n;

		r.fault = http1_chunked_next(&c, &piece, &data, &r.done);
		check(piece.n < before);
		r.taken += before - piece.n;
		buf_add(&r.body, data);
	}
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data, size };
	struct result whole, pieces;

	if (size == 0)
		return 0;
	bytes = str_sub(bytes, 1, size);
	whole = decode(bytes, bytes.n);
	pieces = decode(bytes, 1 + data[0] % 16);
	check(whole.fault == pieces.fault && whole.done == pieces.done && whole.taken == pieces.taken);
	check(str_eq(buf_str(&whole.body), buf_str(&pieces.body)));
	check(whole.body.n <= bytes.n && !(whole.done && whole.fault != HTTP1_OK));
	buf_fini(&whole.body);
	buf_fini(&pieces.body);
	return 0;
}
