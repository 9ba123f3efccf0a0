/* For front*.c alone: a connection of the front and its request. */
#ifndef JOBGATE_IO_FRONT_PRIVATE_H
#define JOBGATE_IO_FRONT_PRIVATE_H

#include <sys/queue.h>
#include <sys/socket.h>

#include "base/spare_bufs.h"
#include "base/spares.h"
#include "io/front.h"
#include "io/front_delivery.h"
#include "io/loop_sockets.h"

struct evconnlistener;

#define FRONT_CONN_MAGIC 0x0f707c04u
#define FRONT_REQUEST_MAGIC 0x0f707e9au

/* The most that is read at a time, and that a TLS record holds (RFC 8446 5.1). */
#define FRONT_READ_BYTES 16384

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
	ANSWER_WRITING,		/* given; it is in the connection's OUT as far as the kernel has not taken it */
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
	char peer[FRONT_PEER_BYTES];
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
 * Life: born in on_accept, open until the client goes, a deadline passes or the last answer is written (front_conn_close); then it
 * lingers, or is dead, and is freed at the end of that turn. What a client sent in the moment in which it went is looked at before
 * (front_guard_posthumous). One that goes to another front is dead here, without a descriptor (front_move_away). Where the delivery of
 * an answer is looked at, the descriptor and these bytes outlive that (front_delivery).
 */
struct front_conn {
	unsigned magic;
	int fd;					/* -1: it has gone to another front */
	size_t number;				/* by which it is known where it is to be served */
	struct front *front;
	struct front_listener *listener;
	struct ssl_st *ssl;			/* NULL: plain */
	unsigned watched;			/* what the descriptor is watched for: LOOP_SOCKET_READ, LOOP_SOCKET_WRITE */
	struct buf raw;				/* received and not parsed */
	struct buf out;				/* to be written */
	size_t out_at;				/* how many bytes of OUT the kernel has; with TLS OpenSSL keeps count */
	struct http1_scan scan;
	struct front_request *request;
	enum front_reading reading;
	enum front_answer answer;
	enum front_deadline deadline;
	LIST_HEAD(, front_watched) watchers;	/* who look at the delivery of its answers */
	bool open;				/* the client may be heard and answered */
	bool shed;
	bool proxied;				/* the header of the PROXY protocol is still to come */
	bool crlf_dropped;			/* the one empty line that may stand before a request line */
	bool paused;				/* nothing is read until the present request is answered */
	bool blocked;				/* the handshake, or what is to be written, waits until the socket takes more */
	bool broken;				/* a write has failed */
	bool heard;				/* something came since those who look at deliveries were told */
	bool continued;				/* 100 Continue was sent for the present request */
	bool closing;				/* no further request on this connection */
	bool lingering, dead;
	bool gone;				/* the client closed between two requests; what it had sent is still looked at */
	bool handshaken;			/* the TLS handshake is known to have ended; plain: behind a header of the PROXY protocol */
	struct tls_peer *certificate;		/* of the client, as last looked at; owned */
	uint64_t certificate_by;		/* the server that verified it (tls_server_number); 0: not looked at yet */
	size_t lingered_bytes;
	struct loop_timer timer;		/* the deadline of what the connection is doing */
	struct loop_hook hook;			/* work at the end of the turn */
	char peer[FRONT_PEER_BYTES];
	LIST_ENTRY(front_conn) link;
};

struct front_listener {
	struct front *front;
	struct evconnlistener *listener;	/* NULL once closed */
	size_t index;				/* in the order of front_listen */
	struct tls_server *tls;			/* borrowed */
	bool proxied;				/* connections begin with a header of the PROXY protocol */
	struct loop_timer retry;		/* re-enables accepting after descriptors ran out */
	struct front_listener *next;
};

struct front {
	struct loop *loop;
	struct front_settings settings;
	struct front_listener *listeners, **listeners_tail;
	struct loop_sockets *sockets;	/* of the connections */
	LIST_HEAD(, front_conn) conns;
	size_t conn_count;
	size_t next_number;		/* of the next one that is accepted */
	struct spares requests;		/* struct front_request */
	bool draining;
	struct loop_timer settle;	/* ends a turn of the drain */
	unsigned settled_turns;
	struct spare_bufs spares;	/* memory of heads that were answered and of answers that were written, for the next */
	int64_t date_second;		/* since 1970: when DATE was formatted */
	char date[CLOCK_HTTP_BYTES];
	char in[FRONT_READ_BYTES];	/* what was read last, of any connection; emptied before the next */
};

/* front.c */
struct front_listener *front_listener_at(struct front *front, size_t index);	/* NULL: there is none */

/* front_move.c */
bool front_move_away(struct front_conn *conn);	/* it can be read: false where it stays */

/* front_conn.c */
struct front_conn *front_conn_make(struct front_listener *listener, int fd);	/* known to the front, and not to the loop */
void front_conn_new(struct front_listener *listener, int fd, const struct sockaddr *peer, socklen_t peer_bytes);
void front_conn_kill(struct front_conn *conn);		/* close it now */
void front_conn_close(struct front_conn *conn);		/* close it; behind a written last answer it lingers */
void front_conn_receive(struct front_conn *conn, struct str bytes);	/* bytes have come */
void front_conn_end_of_input(struct front_conn *conn);			/* the client has closed its side, or broke off */
void front_conn_end_request(struct front_conn *conn);	/* tell the owner what it does not know, and free the request */
void front_conn_drain(struct front_conn *conn);
void front_conn_abort(struct front_conn *conn);
void front_conn_free_all(struct front *front);
void front_conn_schedule(struct front_conn *conn);
void front_conn_drop(struct front_conn *conn);		/* freed, and nobody looks at it any more: close the descriptor */

/* front_guard.c */
void front_guard_process(struct front_conn *conn);	/* parse what has come */
struct buf *front_guard_body(struct front_conn *conn);	/* where what comes can only belong; NULL: it is to be looked at */
void front_guard_set_deadline(struct front_conn *conn);	/* for what it is doing now */
void front_guard_forget_deadline(struct front_conn *conn);	/* the next one is armed anew, be it of the same kind */
void front_guard_timeout(struct front_conn *conn);
void front_guard_posthumous(struct front_conn *conn);	/* the client has gone: show the owner whole requests that it left */
bool front_guard_must_close(const struct front_conn *conn);	/* behind an answer that is given now */

/* front_proxy.c: the PROXY protocol */
void front_proxy_begin(struct front_conn *conn);	/* its peer is known now: expect its header, or refuse it */
bool front_proxy_take(struct front_conn *conn);		/* take the header off the raw bytes; false while it is not whole, or wrong (dead) */

/* front_wire.c: the socket and its TLS */
void front_wire_open(struct front_conn *conn);		/* CONN->fd is set: make what TLS needs, and wait for bytes */
void front_wire_watch(struct front_conn *conn);		/* wait for what the connection waits for now */
void front_wire_ready(void *conn, unsigned what);	/* its descriptor can be read, or takes more */
struct buf *front_wire_out(struct front_conn *conn);	/* what is to be written goes to its end */
/* Write what is there, as far as the socket takes it; what is left is the loop's. A write that fails makes the connection broken. */
void front_wire_flush(struct front_conn *conn);
void front_wire_flush_later(struct front_conn *conn);	/* in the next turn */
bool front_wire_is_written(const struct front_conn *conn);		/* all of it is in the kernel */
void front_wire_shutdown(struct front_conn *conn);	/* say the end (close_notify, FIN) behind what was written */
void front_wire_fini(struct front_conn *conn);		/* all but the descriptor */

/* front_delivery.c */
void front_delivery_tell(struct front_conn *conn);	/* more has come, or the client has gone */

/* front_answer.c */
void front_answer_continue(struct front_conn *conn);	/* 100 Continue */
void front_answer_write(struct front_conn *conn);	/* at the end of the turn in which it was given; may break the connection */

#endif
