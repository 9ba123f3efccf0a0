/*
 * A connection of fabricsim: TLS, strict HTTP/1.1, one request after the other.
 *
 *   HEAD -> BODY -> (request complete: quota, fault, execution, ledger line) -> WAIT (latency) -> WRITE -> HEAD
 *
 * A callback marks a connection dead; conn_settle, the last line of each callback, frees it.
 */
#include "sim_server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"

#define CONN_MAGIC 0x51c0551eu
/* Larger than jobgate's own limits, so that its limits are what a test meets. */
#define CONN_HEAD_BYTES 131072
#define CONN_BODY_BYTES (16u << 20)
/* A slow answer of some 500 bytes takes five seconds. */
#define CONN_SLOW_US 10000

enum conn_state { CONN_HEAD, CONN_BODY, CONN_WAIT, CONN_WRITE };

struct sim_conn {
	unsigned magic;
	struct sim_server *server;
	struct sim_conn *next, **link;	/* in server->conns */
	struct bufferevent *bev;	/* owned, with SSL and socket */
	struct event *timer;		/* latency, slowness */
	uint64_t number;
	enum conn_state state;
	struct http1_scan scan;
	struct buf head_bytes;		/* what HEAD's slices point into */
	struct http1_head head;
	struct http1_chunked chunked;
	struct buf body;
	struct sim_fault fault;
	struct buf answer;
	size_t slow_at;			/* bytes of a slow answer that went out */
	bool close_after, dead, reset;
};

static const struct http1_limits conn_limits = { CONN_HEAD_BYTES, CONN_HEAD_BYTES };

/* Begin to read the next request. */
static void
conn_goto_head(struct sim_conn *c)
{
	c->state = CONN_HEAD;
	http1_scan_init(&c->scan, true);
	buf_clear(&c->head_bytes);
	buf_clear(&c->body);
	buf_clear(&c->answer);
	memset(&c->head, 0, sizeof(c->head));
	c->fault = (struct sim_fault){ SIM_FAULT_NONE, 0 };
}

/* Write the request to the ledger. */
static void
conn_record(struct sim_conn *c, int status, const char *fault, bool complete)
{
	struct sim_ledger_entry entry = { .time = clock_now_wall(), .connection = c->number, .head = &c->head,
		.body = buf_str(&c->body), .status = status, .fault = fault, .complete = complete };

	sim_ledger_write(c->server->ledger, &entry);
}

/* End the connection: with a reset, or with close_notify and FIN. */
static void
conn_end(struct sim_conn *c, bool reset)
{
	c->dead = true;
	c->reset = reset;
}

/* Have on_timer called after US microseconds. */
static void
conn_wait(struct sim_conn *c, int64_t us)
{
	struct timeval delay = { us / CLOCK_SECOND, us % CLOCK_SECOND };

	check(event_add(c->timer, &delay) == 0);
}

/* Hand the answer to the socket, as the fault wants it. */
static void
conn_send(struct sim_conn *c)
{
	size_t n = c->answer.n;

	c->state = CONN_WRITE;
	if (c->fault.kind == SIM_FAULT_SLOW) {
		c->slow_at = 0;
		conn_wait(c, CONN_SLOW_US);
		return;
	}
	if (c->fault.kind == SIM_FAULT_HALF)
		n /= 2;
	(void)bufferevent_write(c->bev, c->answer.p, n);
}

/* Put garbage, hints or a second answer where the answer stands. */
static void
conn_spoil(struct sim_conn *c)
{
	static const char hints[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
	static const char garbage[] = "\x16\x00\xff no HTTP \x00 at all\r\n\r\nLocation: /nowhere\r\n\r\n";
	static const char extra[] = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Extra: 1\r\n\r\nNOT FOR YOU!";
	struct buf whole = BUF_EMPTY;

	if (c->fault.kind == SIM_FAULT_GARBAGE) {
		buf_clear(&c->answer);
		buf_add(&c->answer, (struct str){ garbage, sizeof(garbage) - 1 });
	} else if (c->fault.kind == SIM_FAULT_EXTRA) {
		buf_add_z(&c->answer, extra);
	} else if (c->fault.kind == SIM_FAULT_HINTS) {
		buf_add_z(&whole, hints);
		buf_add(&whole, buf_str(&c->answer));
		buf_fini(&c->answer);
		c->answer = buf_take(&whole);
	}
}

/* How long this request's answer is held back. */
static int64_t
conn_latency(struct sim_conn *c)
{
	const struct http1_field *field = http1_find(&c->head, STR("X-Fabricsim-Latency"));
	uint64_t ms;

	if (field != NULL && str_to_u64(field->value, &ms) && ms < 3600000)
		return (int64_t)ms * 1000;
	return c->server->options.latency_us;
}

/* Whose request it is for the quota. */
static struct str
conn_identity(struct sim_conn *c)
{
	const struct http1_field *field = http1_find(&c->head, STR("Authorization"));

	return field != NULL ? field->value : STR("");
}

/* Decide and, where that is so, execute the complete request. */
static void
conn_decide(struct sim_conn *c, struct sim_reply *reply)
{
	struct sim_server *s = c->server;
	struct wall_time now = clock_now_wall();
	int64_t wait_us = sim_quota_take(s->quota, conn_identity(c), clock_now_mono());

	if (wait_us > 0) {
		c->fault = (struct sim_fault){ SIM_FAULT_NONE, 0 };
		sim_reply_blocked(reply, wait_us, now);
		return;
	}
	if (sim_fault_executes(c->fault))
		sim_api_answer(&s->api, &c->head, buf_str(&c->body), now, reply);
	if (c->fault.kind == SIM_FAULT_STATUS) {
		sim_reply_restart(reply);
		sim_reply_fault(reply, c->fault.status, c->server->options.fault_retry_after, now);
	}
}

/* Tell whether nothing that counts as an answer goes out. */
static bool
conn_is_mute(struct sim_fault fault)
{
	return fault.kind == SIM_FAULT_DROP || fault.kind == SIM_FAULT_STALL || fault.kind == SIM_FAULT_GARBAGE ||
	    fault.kind == SIM_FAULT_HALF;
}

/* Answer the complete request, or do what the fault says. */
static void
conn_execute(struct sim_conn *c)
{
	struct sim_reply reply;
	int64_t latency_us = conn_latency(c);

	sim_reply_init(&reply, &c->server->random);
	conn_decide(c, &reply);
	conn_record(c, conn_is_mute(c->fault) ? 0 : reply.status, sim_fault_name(c->fault), true);
	sim_reply_write(&reply, clock_now_wall(), str_eq(c->head.method, STR("HEAD")), &c->answer);
	sim_reply_fini(&reply);
	conn_spoil(c);
	c->close_after = !c->head.keep_alive || c->fault.kind == SIM_FAULT_CLOSE || c->fault.kind == SIM_FAULT_HALF;
	c->state = CONN_WAIT;
	if (c->fault.kind == SIM_FAULT_STALL)
		return;
	if (latency_us > 0)
		conn_wait(c, latency_us);
	else if (c->fault.kind == SIM_FAULT_DROP)
		conn_end(c, true);
	else
		conn_send(c);
}

/* Refuse what is no HTTP request. */
static void
conn_refuse(struct sim_conn *c, const char *why)
{
	struct sim_reply reply;

	sim_reply_init(&reply, &c->server->random);
	sim_reply_field(&reply, "Connection", "close");
	sim_reply_error(&reply, 400, "BadRequest", why, false);
	conn_record(c, 400, why, false);
	buf_clear(&c->answer);
	sim_reply_write(&reply, clock_now_wall(), false, &c->answer);
	sim_reply_fini(&reply);
	c->close_after = true;
	conn_send(c);
}

/* Choose the fault of the request whose head is here: its own wish, or the dice. */
static void
conn_choose_fault(struct sim_conn *c)
{
	const struct http1_field *field = http1_find(&c->head, STR("X-Fabricsim-Fault"));

	if (field == NULL || !sim_fault_from(field->value, &c->fault))
		c->fault = sim_fault_choose(&c->server->options.faults, c->head.method);
}

/* Read a head as far as it is here; true where another step can follow. */
static bool
conn_read_head(struct sim_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	enum http1_fault fault = HTTP1_OK;
	size_t available = evbuffer_get_length(in), n;
	struct str bytes;

	if (available == 0)
		return false;
	bytes = (struct str){ (const char *)evbuffer_pullup(in, -1), available };
	n = http1_scan_head(&c->scan, bytes, &conn_limits, &fault);
	if (n == 0 && fault == HTTP1_OK)
		return false;
	if (n > 0) {
		buf_add(&c->head_bytes, str_sub(bytes, 0, n));
		(void)evbuffer_drain(in, n);
		fault = http1_parse_request(buf_str(&c->head_bytes), &conn_limits, &c->head);
	}
	if (fault != HTTP1_OK) {
		conn_refuse(c, http1_fault_text(fault));
		return false;
	}
	conn_choose_fault(c);
	if (c->fault.kind == SIM_FAULT_EARLY_CLOSE) {
		conn_record(c, 0, sim_fault_name(c->fault), c->head.framing == HTTP1_NO_BODY);
		conn_end(c, false);
		return false;
	}
	if (c->head.expect_continue)
		(void)bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	http1_chunked_init(&c->chunked);
	c->state = CONN_BODY;
	return true;
}

/* Take what is here of a chunked body; true at its end. */
static bool
conn_read_chunks(struct sim_conn *c, struct str in, size_t *taken, enum http1_fault *fault)
{
	struct str rest = in, data;
	bool done = false;

	while (rest.n > 0 && !done) {
		*fault = http1_chunked_next(&c->chunked, &rest, &data, &done);
		if (*fault != HTTP1_OK)
			return false;
		buf_add(&c->body, data);
	}
	*taken = in.n - rest.n;
	return done;
}

/* Read a body as far as it is here; true where another step can follow. */
static bool
conn_read_body(struct sim_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	size_t available = evbuffer_get_length(in), taken = 0;
	struct str bytes = { available > 0 ? (const char *)evbuffer_pullup(in, -1) : "", available };
	enum http1_fault fault = HTTP1_OK;
	bool done = true;

	if (c->head.framing == HTTP1_CHUNKED) {
		done = conn_read_chunks(c, bytes, &taken, &fault);
	} else if (c->head.framing == HTTP1_LENGTH && c->head.content_length <= CONN_BODY_BYTES) {
		taken = (size_t)c->head.content_length - c->body.n;
		if (taken > available)
			taken = available;
		buf_add(&c->body, str_sub(bytes, 0, taken));
		done = c->body.n == c->head.content_length;
	} else if (c->head.framing == HTTP1_LENGTH) {
		fault = HTTP1_BODY_TOO_LARGE;
	}
	if (c->body.n > CONN_BODY_BYTES)
		fault = HTTP1_BODY_TOO_LARGE;
	if (fault != HTTP1_OK) {
		conn_refuse(c, http1_fault_text(fault));
		return false;
	}
	(void)evbuffer_drain(in, taken);
	if (done)
		conn_execute(c);
	return done;
}

/* Do what the bytes that are here permit. */
static void
conn_run(struct sim_conn *c)
{
	bool more = true;

	while (more && !c->dead) {
		if (c->state == CONN_HEAD)
			more = conn_read_head(c);
		else if (c->state == CONN_BODY)
			more = conn_read_body(c);
		else
			more = false;
	}
}

/* Free the connection where it died in this callback. */
static void
conn_settle(struct sim_conn *c)
{
	if (c->dead)
		sim_conn_free(&c);
}

/* Take bytes. */
static void
on_read(struct bufferevent *bev, void *arg)
{
	struct sim_conn *c = arg;

	(void)bev;
	check_magic(c, CONN_MAGIC);
	conn_run(c);
	conn_settle(c);
}

/* Go on where all that was written is gone. */
static void
on_written(struct bufferevent *bev, void *arg)
{
	struct sim_conn *c = arg;

	(void)bev;
	check_magic(c, CONN_MAGIC);
	if (c->state != CONN_WRITE || (c->fault.kind == SIM_FAULT_SLOW && c->slow_at < c->answer.n))
		return;
	if (c->close_after) {
		conn_end(c, false);
	} else {
		conn_goto_head(c);
		conn_run(c);
	}
	conn_settle(c);
}

/* Note that the peer is gone, and what it left unfinished. */
static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct sim_conn *c = arg;

	check_magic(c, CONN_MAGIC);
	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)))
		return;
	if (c->state == CONN_BODY)
		conn_record(c, 0, "the connection ended within the body", false);
	else if (c->state == CONN_HEAD && evbuffer_get_length(bufferevent_get_input(bev)) > 0)
		conn_record(c, 0, "the connection ended within the head", false);
	conn_end(c, false);
	conn_settle(c);
}

/* End the latency, or send the next byte of a slow answer. */
static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sim_conn *c = arg;

	(void)fd;
	(void)what;
	check_magic(c, CONN_MAGIC);
	if (c->state == CONN_WAIT && c->fault.kind == SIM_FAULT_DROP) {
		conn_end(c, true);
	} else if (c->state == CONN_WAIT) {
		conn_send(c);
	} else {
		(void)bufferevent_write(c->bev, c->answer.p + c->slow_at, 1);
		if (++c->slow_at < c->answer.n)
			conn_wait(c, CONN_SLOW_US);
	}
	conn_settle(c);
}

/* Serve an accepted socket. */
void
sim_conn_new(struct sim_server *s, evutil_socket_t fd)
{
	struct sim_conn *c = calloc(1, sizeof(*c));
	SSL *ssl = SSL_new(s->tls);

	check(c != NULL && ssl != NULL);
	c->magic = CONN_MAGIC;
	c->server = s;
	c->number = ++s->connections;
	c->timer = evtimer_new(s->base, on_timer, c);
	c->bev = bufferevent_openssl_socket_new(s->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	check(c->timer != NULL && c->bev != NULL);
	c->next = s->conns;
	if (c->next != NULL)
		c->next->link = &c->next;
	c->link = &s->conns;
	s->conns = c;
	conn_goto_head(c);
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	(void)bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* Close: with a reset where one is due, else with close_notify. */
static void
conn_close_socket(struct sim_conn *c)
{
	struct linger at_once = { 1, 0 };
	SSL *ssl = bufferevent_openssl_get_ssl(c->bev);

	if (c->reset)
		(void)setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	else if (SSL_is_init_finished(ssl))
		(void)SSL_shutdown(ssl);
	bufferevent_free(c->bev);
}

/* End a connection and free it. */
void
sim_conn_free(struct sim_conn **conn)
{
	struct sim_conn *c = *conn;

	check_magic(c, CONN_MAGIC);
	conn_close_socket(c);
	event_free(c->timer);
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	buf_fini(&c->head_bytes);
	buf_fini(&c->body);
	buf_fini(&c->answer);
	c->magic = 0;
	free(c);
	*conn = NULL;
}
