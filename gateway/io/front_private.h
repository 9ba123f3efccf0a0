/* For front*.c alone: a connection of the front and its request. */
#ifndef JOBGATE_IO_FRONT_PRIVATE_H
#define JOBGATE_IO_FRONT_PRIVATE_H

#include <sys/queue.h>

#include "io/front.h"

struct bufferevent;
struct evbuffer;
struct evhttp;
struct evhttp_connection;
struct evhttp_request;
struct evconnlistener;
struct evhttp_bound_socket;

#define FRONT_CONN_MAGIC 0x0f707c04u
#define FRONT_REQUEST_MAGIC 0x0f707e9au

/* What of a message is being read. */
enum front_reading {
	READING_HEAD,		/* also: idle, nothing of it has come yet */
	READING_BODY,
	READING_DONE,		/* the message is whole; what comes now belongs to the next */
	READING_NOTHING,	/* framing is lost or the connection is to be closed: bytes are dropped */
};

/* How far the answer is. */
enum front_answer {
	ANSWER_NONE,		/* no request yet */
	ANSWER_PENDING,		/* the owner has the request */
	ANSWER_WRITING,		/* handed to evhttp */
	ANSWER_WRITTEN,		/* in the kernel; the message's rest may still be coming */
};

struct front_request {
	unsigned magic;
	struct front_conn *conn;	/* NULL once the client is gone */
	enum http1_fault http1_fault;
	struct buf head_bytes, body;
	struct http1_chunked chunked;
	uint64_t body_left;		/* of a Content-Length body */
	bool fault_told;
	size_t listener;
	char peer[64];
	void *owner;
	struct http1_head head;		/* slices into head_bytes; last, since its fields are not cleared */
};

/* Which deadline runs. */
enum front_deadline {
	DEADLINE_NONE,		/* the owner is at work and has deadlines of its own */
	DEADLINE_IDLE,
	DEADLINE_HEAD,
	DEADLINE_BODY,
	DEADLINE_WRITE,
};

/*
 * Life: born in on_bufferevent (accept), adopted at the end of that turn, whatever else happened in it (peer and evhttp's
 * connection are known then), dead when evhttp frees its connection (on_close) or lingering ends, freed at the end of that
 * turn; what a client sent in the moment in which it went is looked at before (front_guard_posthumous). The
 * bufferevent is held by a reference of ours to the last, so that the descriptor outlives evhttp's connection for lingering.
 */
struct front_conn {
	unsigned magic;
	struct front *front;
	struct front_listener *listener;
	struct bufferevent *bev;		/* referenced */
	struct evhttp_connection *evcon;	/* evhttp's; NULL before adoption and after its death */
	struct evhttp_request *carrier;		/* evhttp's request while ANSWER_PENDING */
	struct buf raw;				/* received and not parsed */
	struct http1_scan scan;
	struct front_request *request;
	enum front_reading reading;
	enum front_answer answer;
	enum front_deadline deadline;
	bool tls, shed;
	bool proxied;				/* the header of the PROXY protocol is still to come */
	bool crlf_dropped;			/* the one empty line that may stand before a request line */
	bool paused;				/* nothing is read until the present request is answered */
	bool write_tried;			/* the present answer was written as far as the socket took it at once */
	bool continued;				/* 100 Continue was sent for the present request */
	bool closing;				/* no further request on this connection */
	bool lingering, dead, injecting;
	bool adopted;
	bool gone;				/* the client closed between two requests; what it had sent is still looked at */
	bool handshaken;			/* the TLS handshake is known to have ended; plain: behind a header of the PROXY protocol */
	struct tls_peer *certificate;		/* of the client, as last looked at; owned */
	uint64_t certificate_by;		/* the server that verified it (tls_server_number); 0: not looked at yet */
	size_t lingered_bytes;
	struct loop_timer timer;		/* the deadline of what the connection is doing */
	struct loop_hook hook;			/* work at the end of the turn */
	char peer[64];
	LIST_ENTRY(front_conn) link;
};

struct front_listener {
	struct front *front;
	struct evhttp *http;
	struct evconnlistener *listener;	/* evhttp's with BOUND; NULL once closed */
	struct evhttp_bound_socket *bound;
	size_t index;				/* in the order of front_listen */
	struct tls_server *tls;			/* borrowed */
	bool proxied;				/* connections begin with a header of the PROXY protocol */
	struct loop_timer retry;		/* re-enables accepting after descriptors ran out */
	struct front_listener *next;
	LIST_ENTRY(front_listener) link;	/* in the registry of all listeners */
};

struct front {
	struct loop *loop;
	struct front_settings settings;
	struct front_listener *listeners, **listeners_tail;
	LIST_HEAD(, front_conn) conns;
	size_t conn_count;
	bool draining;
	struct loop_timer settle;	/* ends a turn of the drain */
	unsigned settled_turns;
	struct front_conn *injecting;	/* the connection whose canonical request evhttp is parsing now */
};

/* front_conn.c */
struct front_conn *front_conn_new(struct front_listener *listener, struct bufferevent *bev);
void front_conn_kill(struct front_conn *conn);		/* close it now */
void front_conn_close(struct front_conn *conn);		/* close it; behind a written last answer it lingers */
void front_conn_sent(struct front_conn *conn);		/* its answer is in the kernel */
void front_conn_end_request(struct front_conn *conn);	/* tell the owner what it does not know, and free the request */
void front_conn_drain(struct front_conn *conn);
void front_conn_abort(struct front_conn *conn);
void front_conn_free_all(struct front *front);
void front_conn_schedule(struct front_conn *conn);

/* front_guard.c */
void front_guard_process(struct front_conn *conn);	/* parse what has come */
void front_guard_set_deadline(struct front_conn *conn);	/* for what it is doing now */
void front_guard_forget_deadline(struct front_conn *conn);	/* the next one is armed anew, be it of the same kind */
void front_guard_timeout(struct front_conn *conn);
void front_guard_posthumous(struct front_conn *conn);	/* the client has gone: show the owner whole requests that it left */
bool front_guard_must_close(const struct front_conn *conn);	/* behind an answer that is given now */

/* front_proxy.c: the PROXY protocol */
void front_proxy_begin(struct front_conn *conn);	/* its peer is known now: expect its header, or refuse it */
bool front_proxy_take(struct front_conn *conn);		/* take the header off the raw bytes; false while it is not whole, or wrong (dead) */

/* front_carrier.c: the dealings with evhttp */
void front_carrier_open(struct front_conn *conn, bool head_request);	/* make evhttp hold a request to answer */
void front_carrier_continue(struct front_conn *conn);			/* 100 Continue */
/* Write the answer now, without asking the loop whether the socket takes it; what is left is the loop's. May end the connection. */
void front_carrier_write(struct front_conn *conn);
bool front_carrier_is_handshaken(const struct front_conn *conn);	/* plain, or its TLS handshake has ended */
void front_carrier_say_close(struct front_conn *conn);			/* TLS close_notify behind what was written */
void on_carrier_request(struct evhttp_request *carrier, void *arg);

#endif
