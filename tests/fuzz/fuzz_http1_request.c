/*
 * Requests: the scan says the same however the bytes are cut, and what the parser passes is unambiguous.
 */
#include "fuzz.h"

#include <string.h>

#include "base/check.h"
#include "base/http1.h"
#include "base/http1_bytes.h"

static const struct http1_limits limits = { .head_bytes = 4096, .target_bytes = 512 };

/* Whether S lies in HEAD. */
static bool
is_within(struct str s, struct str head)
{
	return s.n == 0 || (s.p >= head.p && s.p + s.n <= head.p + head.n);
}

/* Scan in pieces whose size goes with the input; as soon as there is a result it must be the one of the whole. */
static void
check_pieces(struct str bytes, size_t length, enum http1_fault fault)
{
	size_t step = 1 + bytes.n % 7, slow_length = 0, n = 0;
	enum http1_fault slow_fault = HTTP1_OK;
	struct http1_scan scan;

	http1_scan_init(&scan, true);
	while (n < bytes.n && slow_length == 0 && slow_fault == HTTP1_OK) {
		n = n + step < bytes.n ? n + step : bytes.n;
		slow_length = http1_scan_head(&scan, str_sub(bytes, 0, n), &limits, &slow_fault);
	}
	check(slow_length == length);
	/* A later byte may add a fault of another name to a line that is too long already. */
	check((slow_fault == HTTP1_OK) == (fault == HTTP1_OK));
}

/* The promises about a request that passed. */
static void
check_passed(struct str head, const struct http1_head *out)
{
	size_t lengths = http1_count(out, STR("Content-Length")), codings = http1_count(out, STR("Transfer-Encoding"));

	check(out->field_count <= HTTP1_FIELDS_MAX && lengths + codings <= 1);
	check((out->framing == HTTP1_CHUNKED) == (codings == 1) && (out->framing == HTTP1_LENGTH) == (lengths == 1));
	check(out->content_length <= INT64_MAX && (lengths == 1 || out->content_length == 0));
	check(out->target.n > 0 && out->target.n <= limits.target_bytes && is_within(out->target, head));
	check(http1_is_token(out->method) && is_within(out->method, head));
	check(out->minor == 0 || http1_count(out, STR("Host")) == 1);
	check(!out->keep_alive || out->minor > 0);
	for (size_t i = 0; i < out->target.n; i++)
		check(http1_byte_is(out->target.p[i], HTTP1_BYTE_VISIBLE) && out->target.p[i] != '#');
	for (size_t i = 0; i < out->field_count; i++) {
		check(http1_is_token(out->fields[i].name) && is_within(out->fields[i].name, head));
		check(http1_is_value(out->fields[i].value) && is_within(out->fields[i].value, head));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data, size };
	static struct http1_head out;
	struct http1_scan scan;
	enum http1_fault fault;
	size_t length;

	http1_scan_init(&scan, true);
	length = http1_scan_head(&scan, bytes, &limits, &fault);
	check(length <= size && (length == 0 || fault == HTTP1_OK));
	check_pieces(bytes, length, fault);
	if (length > 0 && http1_parse_request(str_sub(bytes, 0, length), &limits, &out) == HTTP1_OK)
		check_passed(str_sub(bytes, 0, length), &out);
	/* The parser alone, on whatever it is: it passes nothing that the scan would not. */
	if (http1_parse_request(bytes, &limits, &out) == HTTP1_OK)
		check(length == size);
	return 0;
}
