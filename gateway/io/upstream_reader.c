/* The response of one call, read as its bytes come in. */
#include "io/upstream_private.h"

#include <string.h>

#include "base/check.h"

/* More interim responses than any server sends for one request; without a bound they would last for ever. */
#define UPSTREAM_INTERIMS_MAX 16

/* 101 is no answer to a request that asked for no upgrade (RFC 9110 15.2.2). */
#define STATUS_SWITCHING_PROTOCOLS 101

void
upstream_reader_init(struct upstream_reader *reader, struct str method, const struct upstream_settings *settings)
{
	size_t n = method.n < sizeof(reader->method) - 1 ? method.n : sizeof(reader->method) - 1;

	memset(reader, 0, offsetof(struct upstream_reader, head.fields));
	memcpy(reader->method, method.p, n);
	reader->limits.head_bytes = settings->response_head_bytes;
	reader->body_limit = settings->response_body_bytes;
	http1_scan_init(&reader->scan, false);
}

void
upstream_reader_fini(struct upstream_reader *reader)
{
	buf_wipe(&reader->head_bytes);	/* the body, which may be a token, is there or in BODY */
	buf_wipe(&reader->body);
}

/* Note why the response cannot be used. */
static enum upstream_read
reader_fail(struct upstream_reader *reader, enum upstream_reason reason, const char *detail)
{
	reader->reason = reason;
	reader->detail = detail;
	return UPSTREAM_READ_FAULT;
}

/* The same for a fault of the grammar. */
static enum upstream_read
reader_fault(struct upstream_reader *reader, enum http1_fault fault)
{
	bool large = fault == HTTP1_HEAD_TOO_LARGE || fault == HTTP1_BODY_TOO_LARGE;

	return reader_fail(reader, large ? UPSTREAM_REASON_TOO_LARGE : UPSTREAM_REASON_MALFORMED, http1_fault_text(fault));
}

/* Parse the head of HEAD_N bytes; an interim one is dropped. DONE: HEAD is the final one. */
static enum upstream_read
reader_parse_head(struct upstream_reader *reader, size_t head_n)
{
	struct str bytes = str_sub(buf_str(&reader->head_bytes), 0, head_n);
	enum http1_fault fault = http1_parse_response(bytes, str_from(reader->method), &reader->limits, &reader->head);

	if (fault != HTTP1_OK)
		return reader_fault(reader, fault);
	if (reader->head.status == STATUS_SWITCHING_PROTOCOLS)
		return reader_fail(reader, UPSTREAM_REASON_MALFORMED, "101 Switching Protocols without a request for it");
	if (reader->head.status >= 200)
		return UPSTREAM_READ_DONE;
	if (++reader->interims > UPSTREAM_INTERIMS_MAX)
		return reader_fail(reader, UPSTREAM_REASON_MALFORMED, "too many interim responses");
	buf_drop(&reader->head_bytes, head_n);
	http1_scan_init(&reader->scan, false);
	return UPSTREAM_READ_MORE;
}

/* Prepare for the body that the head of HEAD_N bytes announces; one that is wholly here stays where it is. */
static enum upstream_read
reader_begin_body(struct upstream_reader *reader, size_t head_n, struct str *bytes)
{
	const struct http1_head *head = &reader->head;

	reader->has_head = true;
	http1_chunked_init(&reader->chunked);
	if (head->framing != HTTP1_LENGTH)
		return head->framing == HTTP1_NO_BODY ? UPSTREAM_READ_DONE : UPSTREAM_READ_MORE;
	if (head->content_length > reader->body_limit)
		return reader_fault(reader, HTTP1_BODY_TOO_LARGE);
	reader->left = head->content_length;
	if (reader->left > bytes->n)
		return UPSTREAM_READ_MORE;
	reader->whole = str_sub(buf_str(&reader->head_bytes), head_n, head_n + (size_t)reader->left);
	*bytes = str_sub(*bytes, reader->whole.n, bytes->n);
	return UPSTREAM_READ_DONE;
}

/* The length of the head that has come in one run, as most do; 0 where it has not. Whatever is wrong in it its parser finds too. */
static size_t
reader_find_head(struct str bytes)
{
	for (size_t at = 0; (at += str_find_char(str_sub(bytes, at, bytes.n), '\r')) + 4 <= bytes.n; at++)
		if (memcmp(bytes.p + at, "\r\n\r\n", 4) == 0)
			return at + 4;
	return 0;
}

/* Whether a head is complete: its length, or 0 with the fault that its first bytes have already. */
static size_t
reader_scan_head(struct upstream_reader *reader, enum http1_fault *fault)
{
	struct str bytes = buf_str(&reader->head_bytes);
	size_t head_n = reader->scan.at == 0 ? reader_find_head(bytes) : 0;

	*fault = HTTP1_OK;
	return head_n > 0 ? head_n : http1_scan_head(&reader->scan, bytes, &reader->limits, fault);
}

/* Collect heads until the final one is complete; what follows it stays in *BYTES. */
static enum upstream_read
reader_take_head(struct upstream_reader *reader, struct str *bytes)
{
	enum http1_fault fault;
	enum upstream_read parsed = UPSTREAM_READ_MORE;
	size_t head_n = 0;

	reader->begun = true;
	buf_add(&reader->head_bytes, *bytes);
	while (parsed == UPSTREAM_READ_MORE) {
		head_n = reader_scan_head(reader, &fault);
		if (fault != HTTP1_OK)
			return reader_fault(reader, fault);
		if (head_n == 0) {
			*bytes = str_sub(*bytes, bytes->n, bytes->n);
			return UPSTREAM_READ_MORE;
		}
		parsed = reader_parse_head(reader, head_n);
	}
	if (parsed == UPSTREAM_READ_FAULT)
		return parsed;
	/* What is behind the head came with the newest bytes, else the head would have been complete before. */
	*bytes = str_sub(*bytes, bytes->n - (reader->head_bytes.n - head_n), bytes->n);
	return reader_begin_body(reader, head_n, bytes);
}

/* Keep a run of the body within its bound. */
static bool
reader_keep(struct upstream_reader *reader, struct str data)
{
	if (data.n > reader->body_limit - reader->body.n)
		return false;
	buf_add(&reader->body, data);
	return true;
}

/* Take what Content-Length leaves to come. */
static enum upstream_read
reader_take_length(struct upstream_reader *reader, struct str *bytes)
{
	size_t n = bytes->n < reader->left ? bytes->n : (size_t)reader->left;

	if (!reader_keep(reader, str_sub(*bytes, 0, n)))
		return reader_fault(reader, HTTP1_BODY_TOO_LARGE);
	*bytes = str_sub(*bytes, n, bytes->n);
	reader->left -= n;
	return reader->left == 0 ? UPSTREAM_READ_DONE : UPSTREAM_READ_MORE;
}

/* Take chunks, as far as they have come. */
static enum upstream_read
reader_take_chunks(struct upstream_reader *reader, struct str *bytes)
{
	bool done = false;

	while (bytes->n > 0 && !done) {
		struct str data = { NULL, 0 };
		enum http1_fault fault = http1_chunked_next(&reader->chunked, bytes, &data, &done);

		if (fault == HTTP1_OK && !reader_keep(reader, data))
			fault = HTTP1_BODY_TOO_LARGE;
		if (fault != HTTP1_OK)
			return reader_fault(reader, fault);
	}
	return done ? UPSTREAM_READ_DONE : UPSTREAM_READ_MORE;
}

enum upstream_read
upstream_reader_feed(struct upstream_reader *reader, struct str *bytes)
{
	if (!reader->has_head) {
		enum upstream_read taken = reader_take_head(reader, bytes);

		if (taken != UPSTREAM_READ_MORE || !reader->has_head)
			return taken;
	}
	switch (reader->head.framing) {
	case HTTP1_LENGTH:
		return reader_take_length(reader, bytes);
	case HTTP1_CHUNKED:
		return reader_take_chunks(reader, bytes);
	case HTTP1_UNTIL_CLOSE:
		if (!reader_keep(reader, *bytes))
			return reader_fault(reader, HTTP1_BODY_TOO_LARGE);
		*bytes = str_sub(*bytes, bytes->n, bytes->n);
		return UPSTREAM_READ_MORE;
	case HTTP1_NO_BODY:
		break;
	}
	return UPSTREAM_READ_DONE;
}

enum upstream_read
upstream_reader_end(struct upstream_reader *reader, bool clean)
{
	if (!reader->begun)
		return reader_fail(reader, UPSTREAM_REASON_CLOSED, "closed before a response");
	if (!reader->has_head)
		return reader_fail(reader, UPSTREAM_REASON_CLOSED, "closed before the end of the response's head");
	if (reader->head.framing != HTTP1_UNTIL_CLOSE)
		return reader_fail(reader, UPSTREAM_REASON_CLOSED, "closed before the end of the response's body");
	if (!clean)
		return reader_fail(reader, UPSTREAM_REASON_CLOSED, "closed without close_notify: the body may be cut");
	return UPSTREAM_READ_DONE;
}

struct str
upstream_reader_body(const struct upstream_reader *reader)
{
	return reader->whole.p != NULL ? reader->whole : buf_str(&reader->body);
}

int64_t
upstream_reader_keep_alive_us(const struct upstream_reader *reader)
{
	const struct http1_field *field = http1_find(&reader->head, STR("keep-alive"));
	struct str rest = field ? field->value : (struct str){ NULL, 0 }, part;
	uint64_t seconds;

	while (str_next(&rest, ',', &part)) {
		part = str_trim(part);
		if (!str_starts_nocase(part, STR("timeout=")))
			continue;
		if (str_to_u64(str_sub(part, 8, part.n), &seconds) && seconds < 1000000)
			return (int64_t)seconds * CLOCK_SECOND;
	}
	return INT64_MAX;
}
