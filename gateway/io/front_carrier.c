/* The carrier: evhttp holds the connection and writes the answers; its parser sees only what is made here. */
#include "io/front.h"
#include "io/front_private.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "io/loop_event.h"

/* Most answers' fields fit: memory is taken once. */
#define CARRIER_HEAD_BYTES 512
/* The most that a TLS record holds (RFC 8446 5.1). */
#define CARRIER_RECORD_BYTES 16384

/* evhttp has parsed the canonical request: keep the object that the answer will be sent with. */
void
on_carrier_request(struct evhttp_request *carrier, void *arg)
{
	struct front *front = arg;

	check(front->injecting != NULL && front->injecting->carrier == NULL);
	front->injecting->carrier = carrier;
}

/*
 * Put one canonical request into evhttp's input and let it be parsed at once. The method is told because it decides about
 * the answer's body; everything else of the client's request is none of evhttp's business.
 */
void
front_carrier_open(struct front_conn *conn, bool head_request)
{
	struct evbuffer *input = bufferevent_get_input(conn->bev);
	const char *line = head_request ? "HEAD / HTTP/1.1\r\n\r\n" : "GET / HTTP/1.1\r\n\r\n";
	bufferevent_data_cb on_read;
	bufferevent_event_cb on_event;
	void *arg;

	check(conn->carrier == NULL && evbuffer_get_length(input) == 0);
	if (conn->evcon == NULL)
		return;		/* posthumous: there is nothing to carry */
	bufferevent_getcb(conn->bev, &on_read, NULL, &on_event, &arg);
	check(on_read != NULL && arg == conn->evcon);
	conn->injecting = true;
	conn->front->injecting = conn;
	evbuffer_unfreeze(input, 0);	/* a socket bufferevent freezes the end of its input between reads */
	check(evbuffer_add(input, line, strlen(line)) == 0);
	if (!conn->tls)
		evbuffer_freeze(input, 0);
	on_read(conn->bev, arg);
	conn->front->injecting = NULL;
	conn->injecting = false;
	check(conn->carrier != NULL);
	/*
	 * evhttp stops reading while a request is pending, which hides hang-ups, and its read callback ends the process when bytes
	 * come now (pitfalls A.6): read on, without it. Its write callback would end the answer before it began.
	 */
	bufferevent_setcb(conn->bev, NULL, NULL, on_event, arg);
	bufferevent_enable(conn->bev, EV_READ);
}

void
front_carrier_continue(struct front_conn *conn)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

	conn->continued = true;
	bufferevent_write(conn->bev, line, sizeof(line) - 1);
	bufferevent_enable(conn->bev, EV_WRITE);
}

void
front_pause(struct front_request *request)
{
	struct front_conn *conn = request->conn;

	check(conn != NULL && conn->answer == ANSWER_PENDING);
	if (conn->evcon == NULL)
		return;		/* posthumous */
	conn->paused = true;
	bufferevent_disable(conn->bev, EV_READ);
}

/* The answer is in the kernel. */
static void
on_complete(struct evhttp_request *carrier, void *arg)
{
	struct front_conn *conn = arg;

	(void)carrier;
	check_magic(conn, FRONT_CONN_MAGIC);
	front_conn_sent(conn);
	front_conn_schedule(conn);
}

/*
 * The same as loop_write_now with TLS, where the answer fits into one record: libevent would make one of its head and one of its body.
 * Where SSL_write says not yet, libevent tries the same bytes again.
 */
static bool
carrier_write_record(struct front_conn *conn)
{
	struct evbuffer *output = bufferevent_get_output(conn->bev);
	size_t n = evbuffer_get_length(output);
	int written;

	if (n == 0 || n > CARRIER_RECORD_BYTES || !front_carrier_is_handshaken(conn))
		return false;
	ERR_clear_error();
	written = SSL_write(bufferevent_openssl_get_ssl(conn->bev), evbuffer_pullup(output, -1), (int)n);
	ERR_clear_error();
	return written == (int)n && evbuffer_drain(output, n) == 0;
}

void
front_carrier_write(struct front_conn *conn)
{
	bufferevent_data_cb on_written;
	void *arg;

	if (conn->answer != ANSWER_WRITING || conn->write_tried || conn->evcon == NULL)
		return;
	if (conn->raw.n > 0)
		return;		/* who pipelines takes a turn of the loop for each answer: hundreds at once would hold up all others */
	conn->write_tried = true;
	if (!(conn->tls ? carrier_write_record(conn) : loop_write_now(conn->bev)))
		return;
	bufferevent_getcb(conn->bev, NULL, &on_written, NULL, &arg);
	check(on_written != NULL && arg == conn->evcon);
	on_written(conn->bev, arg);
}

bool
front_carrier_is_handshaken(const struct front_conn *conn)
{
	return !conn->proxied && (!conn->tls || SSL_is_init_finished(bufferevent_openssl_get_ssl(conn->bev)));
}

void
front_carrier_say_close(struct front_conn *conn)
{
	/* Behind half an answer it would call that a whole one (RFC 8446 6.1). */
	if (!conn->tls || !front_carrier_is_handshaken(conn) || evbuffer_get_length(bufferevent_get_output(conn->bev)) > 0)
		return;
	SSL_shutdown(bufferevent_openssl_get_ssl(conn->bev));
	ERR_clear_error();
}

const struct tls_peer *
front_certificate(struct front_request *request)
{
	struct front_conn *conn = request->conn;
	struct tls_server *server;

	if (conn == NULL || !conn->tls)
		return NULL;
	server = conn->listener->tls;
	if (conn->certificate_by != tls_server_number(server)) {
		tls_peer_free(&conn->certificate);
		conn->certificate = tls_server_peer(server, bufferevent_openssl_get_ssl(conn->bev));
		conn->certificate_by = tls_server_number(server);
	}
	return conn->certificate;
}

/* Whether evhttp looks for a field of that name in what it is given: to add what is missing, or to close. */
static bool
carrier_is_looked_for(struct str name)
{
	return str_eq_nocase(name, STR("Date")) || str_eq_nocase(name, STR("Content-Length")) ||
	    str_eq_nocase(name, STR("Connection")) || str_eq_nocase(name, STR("Transfer-Encoding"));
}

/* How many fields from FIELDS on evhttp may have as one: it prints what it has and looks for a few by name. */
static size_t
carrier_run_length(const struct http1_field *fields, size_t count)
{
	size_t n = 1;

	if (carrier_is_looked_for(fields[0].name))
		return n;
	while (n < count && !carrier_is_looked_for(fields[n].name))
		n++;
	return n;
}

/* Append a part of a field; one that cannot be sent is a bug of the caller. */
static void
carrier_put(struct buf *out, struct str part)
{
	check(str_find_char(part, '\n') == part.n && str_find_char(part, '\r') == part.n && str_find_char(part, '\0') == part.n);
	buf_add(out, part);
}

/*
 * Add COUNT fields to the answer as one field of evhttp's, whose value goes on with the lines of the others: evhttp takes three
 * pieces of memory for each, and prints it by printf. evhttp_add_header takes no line ends, so the list is extended here; evhttp
 * frees what is in it.
 */
static void
carrier_add_run(struct evkeyvalq *headers, const struct http1_field *fields, size_t count)
{
	struct evkeyval *one = calloc(1, sizeof(*one));
	struct buf name = BUF_EMPTY, value = BUF_EMPTY;

	check(one != NULL);
	buf_room(&name, fields[0].name.n + 1);
	carrier_put(&name, fields[0].name);
	buf_add_char(&name, '\0');
	buf_room(&value, CARRIER_HEAD_BYTES);
	for (size_t i = 0; i < count; i++) {
		if (i > 0) {
			buf_add(&value, STR("\r\n"));
			carrier_put(&value, fields[i].name);
			buf_add(&value, STR(": "));
		}
		carrier_put(&value, fields[i].value);
	}
	buf_add_char(&value, '\0');
	one->key = name.p;
	one->value = value.p;
	TAILQ_INSERT_TAIL(headers, one, next);
}

/* Add one field to the answer. */
static void
carrier_add_field(struct evkeyvalq *headers, struct str name, struct str value)
{
	carrier_add_run(headers, &(struct http1_field){ name, value }, 1);
}

/* Put the answer's body, or to HEAD what its length would be, into the carrier. */
static void
carrier_add_body(struct evhttp_request *carrier, struct str body)
{
	char length[24];

	if (body.n == 0)
		return;
	if (evhttp_request_get_command(carrier) != EVHTTP_REQ_HEAD) {
		check(evbuffer_add(evhttp_request_get_output_buffer(carrier), body.p, body.n) == 0);
		return;
	}
	snprintf(length, sizeof(length), "%zu", body.n);
	carrier_add_field(evhttp_request_get_output_headers(carrier), STR("Content-Length"), str_from(length));
}

void
front_reply(struct front_request *request, const struct front_reply *reply)
{
	struct front_conn *conn = request->conn;
	struct evhttp_request *carrier;
	struct evkeyvalq *headers;

	check_magic(request, FRONT_REQUEST_MAGIC);
	check(conn != NULL && conn->answer == ANSWER_PENDING);
	conn->answer = ANSWER_WRITING;
	/* What stands before it, 100 Continue, may be half in a record already. */
	conn->write_tried = conn->tls && evbuffer_get_length(bufferevent_get_output(conn->bev)) > 0;
	conn->closing = reply->close || front_guard_must_close(conn);
	carrier = conn->carrier;
	conn->carrier = NULL;
	if (carrier == NULL) {
		check(conn->evcon == NULL);
		return;		/* posthumous: on_sent says that nobody heard it */
	}
	headers = evhttp_request_get_output_headers(carrier);
	for (size_t i = 0, n; i < reply->field_count; i += n) {
		n = carrier_run_length(&reply->fields[i], reply->field_count - i);
		carrier_add_run(headers, &reply->fields[i], n);
	}
	if (conn->closing) {
		carrier_add_field(headers, STR("Connection"), STR("close"));
		if (conn->reading != READING_DONE)
			conn->reading = READING_NOTHING;
	}
	carrier_add_body(carrier, reply->body);
	evhttp_request_set_on_complete_cb(carrier, on_complete, conn);
	evhttp_send_reply(carrier, reply->status, reply->reason, NULL);
	if (conn->paused)
		bufferevent_disable(conn->bev, EV_READ);	/* it has enabled both, and would read the end before it writes */
	front_conn_schedule(conn);
}
