/*
 * Front: listeners, the guard, and answers. One per loop; nothing in it is shared.
 *
 * The connections are the front's own, socket, TLS and all: what comes is read at most once a turn from each, and parsed at the end of
 * the turn by the guard with base/http1, the only parser there is. An answer is made by front_reply and written at the end of the turn,
 * in one piece as far as the socket takes it; the loop writes the rest. Refusals of malformed bytes take the same way out
 * as every other answer, on plain and on TLS listeners alike.
 *
 * One request is in flight per connection; pipelined ones wait and are served in order. Deadlines are absolute: head, body, idle, write.
 * A client that hangs up is noticed at any time; one that half-closes counts as gone while its request is pending.
 *
 * Completions: for each request on_request or on_fault comes first; then at most one on_body or on_fault; then the
 * owner answers by front_reply exactly once, or on_gone says that there is nobody to answer. After on_gone or on_sent the request is freed.
 * A client that says all and closes in one breath is shown too: on_request (on_fault), on_body where the body is whole, and on_gone
 * (or on_sent, not delivered) follow each other at once.
 */
#ifndef JOBGATE_IO_FRONT_H
#define JOBGATE_IO_FRONT_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/http1.h"
#include "io/loop.h"
#include "io/tls.h"

struct front;
struct front_request;

enum front_fault {
	FRONT_FAULT_SYNTAX,	/* see front_http1_fault */
	FRONT_FAULT_TIMEOUT,	/* head or body came too slowly */
	FRONT_FAULT_OVERLOAD,	/* over the limit of connections */
};

/* A plain connection on its way from one front to another with the same listeners; FD is owned. */
#define FRONT_PEER_BYTES 64
struct front_moved {
	int fd;
	size_t listener, number;
	char peer[FRONT_PEER_BYTES];
};

struct front_hooks {
	/* A head is whole and well-formed; its body follows unless it is answered now. */
	void (*on_request)(void *arg, struct front_request *request);
	/* The body is whole (also where there is none). Never inside on_request. */
	void (*on_body)(void *arg, struct front_request *request);
	/* Malformed, slow or shed; the connection will be closed behind the answer. After on_request where the head was good. */
	void (*on_fault)(void *arg, struct front_request *request, enum front_fault fault);
	/* The client is gone and was not answered. */
	void (*on_gone)(void *arg, struct front_request *request);
	/* The answer was handed to the kernel (DELIVERED) or the client went while it was written. */
	void (*on_sent)(void *arg, struct front_request *request, bool delivered);
	/* Whether PEER may say for whom it connects; asked on listeners of proxies alone (front_set_proxied). May be NULL without such. */
	bool (*is_proxy)(void *arg, size_t listener, struct str peer);
	/*
	 * A request begins on plain connection NUMBER, and nothing of it has been read: whether another front is to have the connection.
	 * NULL: none moves. If so on_leave follows, where the last answer is known to have arrived; false: it stays.
	 */
	bool (*leaves)(void *arg, size_t number);
	bool (*on_leave)(void *arg, const struct front_moved *moved);
};

struct front_limits {
	size_t connections;	/* beyond them connections are accepted and shed */
	size_t head_bytes, target_bytes, body_bytes;
	int64_t head_timeout_us, body_timeout_us, idle_timeout_us, write_timeout_us;
};

struct front_settings {
	struct front_limits limits;
	struct front_hooks hooks;
	void *arg;
	size_t number, number_step;	/* of its first connection, and from one to the next */
	atomic_size_t *connections;	/* borrowed: those of all fronts that share the limit; NULL: the limit is this front's */
};

/* A listening socket with SO_REUSEPORT for one of several fronts; -1 with a sentence in ERROR. PORT 0 picks a free one and stores it. */
int front_bind(struct str host, uint16_t *port, struct buf *error);
/* Whether somebody else listens on the address already (SO_REUSEPORT would share it in silence); a sentence in ERROR. */
bool front_address_taken(struct str host, uint16_t port, struct buf *error);

struct front *front_new(struct loop *loop, const struct front_settings *settings);

/* Accept on FD (from front_bind; owned from now on). TLS NULL: plain; else borrowed until front_free or front_set_tls. */
void front_listen(struct front *front, int fd, struct tls_server *tls);
/* New connections of listener INDEX (in the order of front_listen) take TLS from now on. */
void front_set_tls(struct front *front, size_t index, struct tls_server *tls);

/*
 * New connections of listener INDEX begin with a header of the PROXY protocol, version 2, before TLS too, and their peer is the client
 * that it names. Who does not send one, or is no proxy by the hook, is closed without a byte. It has head_timeout_us for it, TLS included.
 */
void front_set_proxied(struct front *front, size_t index, bool proxied);

/*
 * Serve a connection that has left another front, beginning with the bytes that wait in its socket; its descriptor is closed where
 * there is no such listener.
 */
void front_take(struct front *front, const struct front_moved *moved);

void front_set_limits(struct front *front, const struct front_limits *limits);

/* Accept what waits already, then close the listeners; close idle connections, and every other one behind its answer. */
void front_drain(struct front *front);
/* Time is up: close every connection that is not being answered; pending requests are answered first by their owner. */
void front_abort(struct front *front);
/* Whether no request is pending and no answer being written. */
bool front_is_quiet(const struct front *front);

/* Close everything; pending requests end with on_gone. */
void front_free(struct front **front);

/* --- a request --- */
const struct http1_head *front_head(const struct front_request *request);	/* as far as it was understood after a fault */
enum http1_fault front_http1_fault(const struct front_request *request);
struct buf *front_body(struct front_request *request);				/* may be taken */
struct str front_peer(const struct front_request *request);			/* "127.0.0.1:40312", "[::1]:40312" */
size_t front_listener_index(const struct front_request *request);		/* where it came in, in the order of front_listen */
/*
 * What the client's certificate says; NULL on a plain listener and where it has shown none. The front's, until the request is answered
 * or gone. Verified by the authorities that the listener has now.
 */
const struct tls_peer *front_certificate(struct front_request *request);
void front_set_owner(struct front_request *request, void *owner);
void *front_owner(const struct front_request *request);

/*
 * Read nothing more from the client before its answer is written. For a refusal that is given late: who has sent all and closed its
 * side is to hear it, and would else count as gone. In on_request alone; who breaks off meanwhile is noticed when it is answered.
 */
void front_pause(struct front_request *request);

struct front_reply {
	int status;
	const char *reason;			/* a standard phrase; the upstream's own is never relayed */
	const struct http1_field *fields;	/* in order, spelled so; no Connection, Date, Content-Length of their own unless given by the upstream */
	size_t field_count;
	struct str body;			/* to HEAD its length is told alone */
	bool close;				/* the connection ends behind this answer */
};
/* Answer; everything in REPLY is copied. Never calls back inside. */
void front_reply(struct front_request *request, const struct front_reply *reply);

#endif
