/* The guard: every byte of a client is parsed here, strictly, and only here. */
#include "io/front.h"
#include "io/front_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* A refused request's body is read and dropped up to this size to keep its connection; beyond, closing is cheaper. */
#define FRONT_DISCARD_BYTES_MAX (1 << 20)

/* What comes with a head and is copied for it; what is more stays where it is, and the head is copied. */
#define FRONT_REST_BYTES_MAX 1024

/* Fields in a head (contract, "Requests"). */
#define FRONT_FIELDS_MAX 100

/* Make the request object of what comes next. */
static struct front_request *
guard_request_new(struct front_conn *conn)
{
	struct front_request *request = spares_take(&conn->front->requests);

	memset(request, 0, offsetof(struct front_request, head.fields));	/* which are 4 KB, and set where they are counted */
	request->magic = FRONT_REQUEST_MAGIC;
	request->conn = conn;
	request->listener = conn->listener->index;
	memcpy(request->peer, conn->peer, sizeof(request->peer));
	conn->request = request;
	return request;
}

/* Refuse what cannot be trusted: nothing behind it is read, the answer closes. */
static void
guard_fault(struct front_conn *conn, enum front_fault fault, enum http1_fault http1_fault)
{
	const struct front_hooks *hooks = &conn->front->settings.hooks;
	struct front_request *request = conn->request;

	conn->reading = READING_NOTHING;
	conn->closing = true;
	buf_clear(&conn->raw);
	if (request == NULL)
		request = guard_request_new(conn);
	if (conn->answer == ANSWER_NONE)
		conn->answer = ANSWER_PENDING;
	if (conn->answer == ANSWER_WRITTEN) {
		front_conn_close(conn);
	} else if (conn->answer == ANSWER_PENDING && !request->fault_told) {
		request->fault_told = true;
		request->http1_fault = http1_fault;
		hooks->on_fault(conn->front->settings.arg, request, fault);
	}
}

/*
 * Take the first N raw bytes as the request's head. Where little is behind them the memory goes along and that is copied: most
 * often it is a short body, which takes its memory along in turn.
 */
static void
guard_take_head(struct front_conn *conn, struct front_request *request, size_t n)
{
	struct str head = str_sub(buf_str(&conn->raw), 0, n), rest = str_sub(buf_str(&conn->raw), n, conn->raw.n);

	if (rest.n > FRONT_REST_BYTES_MAX) {
		buf_add(&request->head_bytes, head);
		buf_drop(&conn->raw, n);
		return;
	}
	request->head_bytes = buf_take(&conn->raw);
	request->head_bytes.n = n;
	buf_add(&conn->raw, rest);
}

/* Take the first N raw bytes as the request's head and parse them. */
static enum http1_fault
guard_parse_head(struct front_conn *conn, struct front_request *request, size_t n)
{
	const struct front_limits *limits = &conn->front->settings.limits;
	struct http1_limits grammar = { limits->head_bytes, limits->target_bytes };
	enum http1_fault fault;

	guard_take_head(conn, request, n);
	fault = http1_parse_request(buf_str(&request->head_bytes), &grammar, &request->head);
	if (fault == HTTP1_OK && request->head.field_count > FRONT_FIELDS_MAX)
		fault = HTTP1_HEAD_TOO_LARGE;
	if (fault == HTTP1_OK && request->head.framing == HTTP1_LENGTH && request->head.content_length > limits->body_bytes)
		fault = HTTP1_BODY_TOO_LARGE;
	return fault;
}

/* Tell the owner that the body is whole. */
static void
guard_body_done(struct front_conn *conn)
{
	conn->reading = READING_DONE;
	if (conn->answer == ANSWER_PENDING)
		conn->front->settings.hooks.on_body(conn->front->settings.arg, conn->request);
}

/* Begin a well-formed request: show it to the owner, then let its body come. */
static void
guard_begin(struct front_conn *conn, struct front_request *request)
{
	struct http1_head *head = &request->head;
	bool has_body = head->framing == HTTP1_CHUNKED || (head->framing == HTTP1_LENGTH && head->content_length > 0);

	conn->answer = ANSWER_PENDING;
	conn->reading = has_body ? READING_BODY : READING_DONE;
	conn->continued = conn->paused = false;
	request->body_left = head->framing == HTTP1_LENGTH ? head->content_length : 0;
	http1_chunked_init(&request->chunked);
	conn->front->settings.hooks.on_request(conn->front->settings.arg, request);
	if (!has_body)
		guard_body_done(conn);
	else if (conn->answer == ANSWER_PENDING && !conn->paused && head->expect_continue && conn->raw.n == 0 && conn->open)
		front_answer_continue(conn);
}

/* Read a head; true when there is more to do. */
static bool
guard_read_head(struct front_conn *conn)
{
	const struct front_limits *limits = &conn->front->settings.limits;
	struct http1_limits grammar = { limits->head_bytes, limits->target_bytes };
	enum http1_fault fault = HTTP1_OK;
	struct front_request *request;
	size_t n;

	if (!conn->crlf_dropped && conn->scan.at == 0 && str_starts(buf_str(&conn->raw), STR("\r\n"))) {
		buf_drop(&conn->raw, 2);	/* RFC 9112 2.2 */
		conn->crlf_dropped = true;
	}
	if (conn->raw.n == 0 || (!conn->crlf_dropped && conn->scan.at == 0 && str_eq(buf_str(&conn->raw), STR("\r"))))
		return false;
	n = http1_scan_head(&conn->scan, buf_str(&conn->raw), &grammar, &fault);
	if (n == 0 && fault == HTTP1_OK)
		return false;
	request = guard_request_new(conn);
	if (fault == HTTP1_OK)
		fault = guard_parse_head(conn, request, n);
	if (fault != HTTP1_OK)
		guard_fault(conn, FRONT_FAULT_SYNTAX, fault);
	else
		guard_begin(conn, request);
	return true;
}

/* Refuse a body that N more bytes would make too large; the limit may have been lowered under it by a reload. */
static bool
guard_fits(struct front_conn *conn, uint64_t n)
{
	size_t limit = conn->front->settings.limits.body_bytes, have = conn->request->body.n;

	if (conn->answer != ANSWER_PENDING || (have <= limit && n <= limit - have))
		return true;
	guard_fault(conn, FRONT_FAULT_SYNTAX, HTTP1_BODY_TOO_LARGE);
	return false;
}

/* Keep a run of the body, or drop it where the answer was given already. */
static bool
guard_keep(struct front_conn *conn, struct str data)
{
	if (!guard_fits(conn, data.n))
		return false;
	if (conn->answer == ANSWER_PENDING)
		buf_add(&conn->request->body, data);
	return true;
}

struct buf *
front_guard_body(struct front_conn *conn)
{
	struct front_request *request = conn->request;
	bool known = conn->open && conn->reading == READING_BODY && request->head.framing == HTTP1_LENGTH && conn->raw.n == 0;
	uint64_t limit = conn->front->settings.limits.body_bytes;

	if (!known || conn->answer != ANSWER_PENDING || request->body.n > limit || request->body_left > limit - request->body.n)
		return NULL;
	return &request->body;
}

/* Read a body that its length frames. */
static bool
guard_read_length(struct front_conn *conn)
{
	struct front_request *request = conn->request;
	size_t n = conn->raw.n < request->body_left ? conn->raw.n : (size_t)request->body_left;
	bool wanted = conn->answer == ANSWER_PENDING;

	if (!guard_fits(conn, n))
		return true;
	if (wanted && n == conn->raw.n && request->body.p == NULL) {
		request->body = buf_take(&conn->raw);
	} else {
		if (wanted)
			buf_add(&request->body, str_sub(buf_str(&conn->raw), 0, n));
		buf_drop(&conn->raw, n);
	}
	request->body_left -= n;
	if (request->body_left > 0)
		return false;
	guard_body_done(conn);
	return true;
}

/* Read a chunked body; trailers are dropped. */
static bool
guard_read_chunked(struct front_conn *conn)
{
	struct str in = buf_str(&conn->raw), data;
	bool done = false;

	while (in.n > 0 && !done) {
		enum http1_fault fault = http1_chunked_next(&conn->request->chunked, &in, &data, &done);

		if (fault != HTTP1_OK) {
			guard_fault(conn, FRONT_FAULT_SYNTAX, fault);
			return true;
		}
		/* A chunk that says itself that it will be too large is not waited for. */
		if (!guard_keep(conn, data) || !guard_fits(conn, conn->request->chunked.left))
			return true;
	}
	buf_drop(&conn->raw, conn->raw.n - in.n);
	if (done)
		guard_body_done(conn);
	return done;
}

/* Read on as far as a body's bytes go; true when another step may follow. */
static bool
guard_read_body(struct front_conn *conn)
{
	return conn->request->head.framing == HTTP1_CHUNKED ? guard_read_chunked(conn) : guard_read_length(conn);
}

/* A message has ended: the next may begin. */
static void
guard_expect_head(struct front_conn *conn)
{
	conn->reading = READING_HEAD;
	conn->crlf_dropped = false;
	http1_scan_init(&conn->scan, true);
}

/* The message is whole: once its answer is in the kernel too, the next may begin. */
static bool
guard_next(struct front_conn *conn)
{
	if (conn->answer != ANSWER_WRITTEN)
		return false;
	if (conn->closing) {
		front_conn_close(conn);
		return false;
	}
	front_conn_end_request(conn);
	guard_expect_head(conn);
	front_guard_forget_deadline(conn);
	if (conn->raw.n == 0)
		spare_bufs_give(&conn->front->spares, &conn->raw);	/* an idle connection keeps no buffer */
	return true;
}

/* Read the header of the PROXY protocol in front of everything else; true when there is more to do. */
static bool
guard_read_proxy(struct front_conn *conn)
{
	if (conn->ssl || !front_proxy_take(conn))
		return false;
	conn->handshaken = true;
	front_guard_forget_deadline(conn);	/* the header's; the head has one of its own */
	return true;
}

/* Read on as far as the bytes go; true when another step may follow. */
static bool
guard_step(struct front_conn *conn)
{
	if (conn->proxied)
		return guard_read_proxy(conn);
	switch (conn->reading) {
	case READING_HEAD:
		if (conn->shed) {
			guard_fault(conn, FRONT_FAULT_OVERLOAD, HTTP1_OK);
			return false;
		}
		return guard_read_head(conn);
	case READING_BODY:
		return guard_read_body(conn);
	case READING_DONE:
		return guard_next(conn);
	case READING_NOTHING:
		buf_clear(&conn->raw);
		if (conn->answer == ANSWER_WRITTEN)
			front_conn_close(conn);
		return false;
	}
	return false;
}

void
front_guard_process(struct front_conn *conn)
{
	while (!conn->dead && conn->open && guard_step(conn))
		continue;
	if (!conn->dead && conn->open)
		front_guard_set_deadline(conn);
}

/*
 * A peer may say all and close in one breath: with TLS the close can come to us before the bytes, and what is pipelined behind a pending
 * request nobody has looked at. Whole requests get their ending; one that is cut is none.
 */
void
front_guard_posthumous(struct front_conn *conn)
{
	if (conn->proxied && !guard_read_proxy(conn))
		return;
	if (conn->reading == READING_DONE)
		guard_expect_head(conn);
	while (!conn->closing && conn->reading == READING_HEAD && guard_read_head(conn)) {
		if (conn->reading == READING_BODY)
			guard_read_body(conn);
		front_conn_end_request(conn);
		if (conn->reading == READING_DONE)
			guard_expect_head(conn);
	}
}

/* Which deadline belongs to what the connection does now. */
static enum front_deadline
guard_deadline(const struct front_conn *conn)
{
	if (conn->answer == ANSWER_WRITING)
		return DEADLINE_WRITE;
	if (conn->reading == READING_BODY)
		return DEADLINE_BODY;
	if (conn->answer == ANSWER_PENDING)
		return DEADLINE_NONE;
	/* A handshake has no more time than a head. */
	return conn->raw.n > 0 || !conn->handshaken ? DEADLINE_HEAD : DEADLINE_IDLE;
}

void
front_guard_set_deadline(struct front_conn *conn)
{
	const struct front_limits *limits = &conn->front->settings.limits;
	enum front_deadline deadline = guard_deadline(conn);
	int64_t us = deadline == DEADLINE_WRITE ? limits->write_timeout_us
	    : deadline == DEADLINE_BODY		? limits->body_timeout_us
	    : deadline == DEADLINE_HEAD		? limits->head_timeout_us
						: limits->idle_timeout_us;

	if (deadline == conn->deadline)
		return;	/* absolute: a byte more is no time more */
	conn->deadline = deadline;
	if (deadline == DEADLINE_NONE)
		loop_timer_clear(&conn->timer);
	else
		loop_timer_at(&conn->timer, mono_add(loop_now(conn->front->loop), us));
}

void
front_guard_forget_deadline(struct front_conn *conn)
{
	conn->deadline = DEADLINE_NONE;
	loop_timer_clear(&conn->timer);
}

void
front_guard_timeout(struct front_conn *conn)
{
	bool refuse = conn->deadline == DEADLINE_HEAD ? conn->handshaken
						      : conn->deadline == DEADLINE_BODY && conn->answer == ANSWER_PENDING;

	if (refuse && conn->open)
		guard_fault(conn, FRONT_FAULT_TIMEOUT, HTTP1_OK);
	else
		conn->dead = true;
}

const struct http1_head *
front_head(const struct front_request *request)
{
	return &request->head;
}

enum http1_fault
front_http1_fault(const struct front_request *request)
{
	return request->http1_fault;
}

struct buf *
front_body(struct front_request *request)
{
	return &request->body;
}

struct str
front_peer(const struct front_request *request)
{
	return str_from(request->peer);
}

size_t
front_listener_index(const struct front_request *request)
{
	return request->listener;
}

void
front_set_owner(struct front_request *request, void *owner)
{
	request->owner = owner;
}

void *
front_owner(const struct front_request *request)
{
	return request->owner;
}

/* Whether the connection must end behind an answer that is given now. */
bool
front_guard_must_close(const struct front_conn *conn)
{
	const struct front_request *request = conn->request;

	if (conn->closing || conn->front->draining || !request->head.keep_alive)
		return true;
	if (conn->reading != READING_BODY)
		return false;
	/* It may never send the body that it asked to be called for (RFC 9110 10.1.1), or too much of it. */
	return (request->head.expect_continue && !conn->continued) || request->body_left > FRONT_DISCARD_BYTES_MAX;
}
