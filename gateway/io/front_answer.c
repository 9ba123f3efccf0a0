/* The bytes of answers: head and body in one piece, so that a short answer is one write, and one TLS record. */
#include "io/front.h"
#include "io/front_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/eight.h"

/* Most heads fit: memory is taken once. */
#define ANSWER_HEAD_BYTES 1024

/* An answer in the making. */
struct answer {
	struct buf *out;
	size_t lines;		/* ended so far */
	bool dated, framed;	/* its owner gave Date, or the body's framing */
};

/* Add one field line. */
static void
answer_add(struct answer *answer, struct str name, struct str value)
{
	char *p = buf_room(answer->out, name.n + value.n + 4);

	memcpy(p, name.p, name.n);
	p += name.n;
	*p++ = ':';
	*p++ = ' ';
	if (value.n > 0)
		memcpy(p, value.p, value.n);
	p += value.n;
	*p++ = '\r';
	*p = '\n';
	answer->out->n += name.n + value.n + 4;
	answer->lines++;
}

/* Add the owner's fields, and see which of those that every answer needs are among them. */
static void
answer_add_given(struct answer *answer, const struct http1_field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct str name = fields[i].name;

		answer_add(answer, name, fields[i].value);
		if (name.n == 4 && str_eq_nocase(name, STR("Date")))
			answer->dated = true;
		else if ((name.n == 14 && str_eq_nocase(name, STR("Content-Length"))) ||
		    (name.n == 17 && str_eq_nocase(name, STR("Transfer-Encoding"))))
			answer->framed = true;
	}
}

/* Add the date, which is formatted once a second. */
static void
answer_add_date(struct answer *answer, struct front *front)
{
	struct wall_time now = clock_now_wall();
	int64_t second = now.us / CLOCK_SECOND;

	if (second != front->date_second)
		clock_format_http(now, front->date);
	front->date_second = second;
	answer_add(answer, STR("Date"), (struct str){ front->date, CLOCK_HTTP_BYTES - 1 });
}

/* Add a body's length. */
static void
answer_add_length(struct answer *answer, size_t n)
{
	buf_add(answer->out, STR("Content-Length: "));
	buf_add_int(answer->out, (int64_t)n);
	buf_add(answer->out, STR("\r\n"));
	answer->lines++;
}

/* How many bytes of S are below a blank. */
static size_t
answer_count_controls(struct str s)
{
	size_t count = 0, at = 0;

	for (; s.n - at >= 8; at += 8)
		count += eight_count_controls(eight_load(s.p + at));
	for (; at < s.n; at++)
		count += (unsigned char)s.p[at] < ' ';
	return count;
}

/*
 * Whether HEAD, of which LINES lines were ended where they were added, has no other line end in it, nor NUL: what cannot be sent is a bug of
 * the owner. Nearly always those ends are all the control bytes in it; a value may have others, as a tab.
 */
static bool
answer_is_sound(struct str head, size_t lines)
{
	size_t ends = 0;

	if (answer_count_controls(head) == 2 * lines)
		return true;
	for (size_t i = 0; i < head.n; i++)
		ends += head.p[i] == '\r' || head.p[i] == '\n' || head.p[i] == '\0';
	return ends == 2 * lines;
}

/* Whether an answer of STATUS has a body, or would have one to another method than HEAD (RFC 9110 6.4.1). */
static bool
answer_has_body(int status)
{
	return status >= 200 && status != 204 && status != 304;
}

/* Add the head of REPLY to what CONN is to write. */
static void
answer_add_head(struct front_conn *conn, const struct front_reply *reply, bool to_head)
{
	struct buf *out = front_wire_out(conn);
	struct answer answer = { out, 0, false, false };
	size_t begin = out->n;		/* behind 100 Continue, where the socket has not taken that */

	buf_room(out, ANSWER_HEAD_BYTES);
	buf_add(out, STR("HTTP/1.1 "));
	buf_add_int(out, reply->status);
	buf_add_char(out, ' ');
	buf_add_z(out, reply->reason);
	buf_add(out, STR("\r\n"));
	answer.lines++;
	answer_add_given(&answer, reply->fields, reply->field_count);
	if (conn->closing)
		answer_add(&answer, STR("Connection"), STR("close"));
	if (!answer.dated)
		answer_add_date(&answer, conn->front);
	/* To HEAD the length is told where it is known to be one. */
	if (!answer.framed && answer_has_body(reply->status) && (!to_head || reply->body.n > 0))
		answer_add_length(&answer, reply->body.n);
	buf_add(out, STR("\r\n"));
	check(answer_is_sound(str_sub(buf_str(out), begin, out->n), answer.lines + 1));
}

void
front_answer_continue(struct front_conn *conn)
{
	conn->continued = true;
	buf_add(front_wire_out(conn), STR("HTTP/1.1 100 Continue\r\n\r\n"));
	front_wire_flush(conn);
}

void
front_answer_write(struct front_conn *conn)
{
	if (conn->answer != ANSWER_WRITING || conn->blocked || front_wire_is_written(conn))
		return;
	if (conn->raw.n > 0)
		front_wire_flush_later(conn);	/* who pipelines takes a turn for each answer: hundreds at once would hold up all others */
	else
		front_wire_flush(conn);
}

void
front_pause(struct front_request *request)
{
	struct front_conn *conn = request->conn;

	check(conn != NULL && conn->answer == ANSWER_PENDING);
	if (!conn->open)
		return;		/* posthumous */
	conn->paused = true;
	front_wire_watch(conn);
}

void
front_reply(struct front_request *request, const struct front_reply *reply)
{
	struct front_conn *conn = request->conn;
	bool to_head;

	check_magic(request, FRONT_REQUEST_MAGIC);
	check(conn != NULL && conn->answer == ANSWER_PENDING);
	conn->answer = ANSWER_WRITING;
	conn->closing = reply->close || front_guard_must_close(conn);
	if (!conn->open)
		return;		/* posthumous: on_sent says that nobody heard it */
	if (conn->closing && conn->reading != READING_DONE)
		conn->reading = READING_NOTHING;
	to_head = str_eq(request->head.method, STR("HEAD"));
	answer_add_head(conn, reply, to_head);
	if (!to_head && answer_has_body(reply->status))
		buf_add(&conn->out, reply->body);
	front_conn_schedule(conn);
}
