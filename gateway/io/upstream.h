/*
 * Upstream: an HTTP/1.1 client over verified TLS with a pool of connections; one per worker, on its loop's thread
 * alone. A proxy may be asked for a tunnel (CONNECT); TLS is verified through it from end to end, and nothing of a
 * request is ever told to it. Plain TCP is for fetches from endpoints of the own machine (fetch.h), never for requests.
 *
 * A call borrows a connection first (on_ready), is told what to send later (upstream_send), and ends with exactly one
 * of on_response and on_failed, or none after upstream_cancel. No completion runs inside the function that caused it.
 * The module never sends a request twice and never follows a redirect: what happened is told, gate/ decides. Every
 * byte of the request that was handed to the kernel is counted (RFC 9110 9.2.2: no automatic retry of what may have
 * been processed).
 *
 * Phases with absolute deadlines: resolve+connect+tunnel+TLS (connect_timeout), then the call's own deadline. Responses are
 * parsed by base/http1: 1xx skipped, framing strict, size bounded; a connection returns to the pool only after a
 * clean end (complete response, keep-alive, no byte left over, request fully written).
 */
#ifndef JOBGATE_IO_UPSTREAM_H
#define JOBGATE_IO_UPSTREAM_H

#include "base/buf.h"
#include "base/http1.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/tls.h"

struct upstream;
struct upstream_call;

/* Port 0: none. AUTHORIZATION is the value of Proxy-Authorization, empty where the proxy asks for none. */
struct upstream_proxy { struct str host; uint16_t port; struct str authorization; };

struct upstream_settings {
	struct str host;		/* to connect to */
	uint16_t port;
	struct upstream_proxy proxy;	/* copied */
	int64_t connect_timeout_us;	/* resolve, connect, tunnel and TLS together */
	int64_t idle_timeout_us;	/* a pooled connection is closed after it */
	size_t response_head_bytes;	/* 64 KiB */
	size_t response_body_bytes;	/* 8 MiB */
};

enum upstream_phase { UPSTREAM_RESOLVE, UPSTREAM_CONNECT, UPSTREAM_TUNNEL, UPSTREAM_TLS, UPSTREAM_READY, UPSTREAM_WRITE, UPSTREAM_WAIT, UPSTREAM_READ };

enum upstream_reason {
	UPSTREAM_REASON_RESOLVE,	/* the name has no address */
	UPSTREAM_REASON_REFUSED,	/* TCP refused or unreachable, at every address */
	UPSTREAM_REASON_TIMEOUT,	/* the phase's or the call's deadline */
	UPSTREAM_REASON_PROXY,		/* the proxy has given no tunnel */
	UPSTREAM_REASON_TLS,		/* handshake failed or the peer is not who it should be */
	UPSTREAM_REASON_LATE,		/* the turn came to its write only when it was not to be begun any more */
	UPSTREAM_REASON_CLOSED,		/* the connection ended before a whole response */
	UPSTREAM_REASON_MALFORMED,	/* not HTTP/1.1, or framing that cannot be trusted */
	UPSTREAM_REASON_TOO_LARGE,	/* head or body over the bound */
};
const char *upstream_phase_name(enum upstream_phase phase);
const char *upstream_reason_name(enum upstream_reason reason);

struct upstream_failure {
	enum upstream_phase phase;
	enum upstream_reason reason;
	uint64_t written_bytes;		/* of the request, handed to the kernel: 0 means it was certainly not received */
	bool reused;			/* the connection came from the pool */
	char detail[160];		/* a sentence for the log: "certificate has expired", "Connection refused" */
};

struct upstream_response {
	const struct http1_head *head;	/* slices into memory valid until the callback returns */
	struct str body;		/* the same; decoded of chunks */
	uint64_t written_bytes;
};

struct upstream_hooks {
	void (*on_ready)(void *arg);		/* a verified connection is borrowed; upstream_send may follow, at once or later */
	void (*on_response)(void *arg, const struct upstream_response *response);
	void (*on_failed)(void *arg, const struct upstream_failure *failure);	/* also while ready: the borrowed connection was closed by the peer */
};

/* TLS and RESOLVER are borrowed and outlive it. TLS NULL: plain TCP, and no proxy. */
struct upstream *upstream_new(struct loop *loop, struct resolver *resolver, struct tls_client *tls,
    const struct upstream_settings *settings);
/* Cancels what is open (no completions) and closes all connections. */
void upstream_free(struct upstream **upstream);

/* Close the pooled connections and let none be pooled that are borrowed now: after a reload of settings or trust. */
void upstream_drop_pool(struct upstream *upstream);

/* New connections take these from now on, as after a reload. */
void upstream_set_timeouts(struct upstream *upstream, int64_t connect_us, int64_t idle_us);

/* New connections go through PROXY (copied) from now on; where it is another, the pool is dropped. */
void upstream_set_proxy(struct upstream *upstream, const struct upstream_proxy *proxy);

/*
 * New connections use TLS from now on; the pool is dropped. The old one may be freed once this returns (each SSL
 * holds its context).
 */
void upstream_replace_tls(struct upstream *upstream, struct tls_client *tls);

/*
 * Borrow a connection: the most recently used of the pool that is still readable-free, else a new one. FRESH: a new
 * one in any case.
 */
struct upstream_call *upstream_borrow(struct upstream *upstream, bool fresh, const struct upstream_hooks *hooks, void *arg);

/*
 * Where the message of CALL, which is ready, is made: append a head with its body, ROOM bytes at the most, and upstream_send. What
 * is there before is others'. The memory does not grow in between, and so leaves no copy of a credential.
 */
struct buf *upstream_message(struct upstream_call *call, size_t room);

/*
 * Send what was appended to upstream_message on the borrowed connection, at the end of the turn, and wipe it. METHOD decides
 * the response's framing. Nothing of it is written that was not begun by BEGIN_BY
 * (UPSTREAM_REASON_LATE). DEADLINE ends the call with UPSTREAM_REASON_TIMEOUT. Must follow on_ready, once. A
 * connection found dead before the first byte ends in on_failed with written_bytes 0.
 */
void upstream_send(struct upstream_call *call, struct str method, struct mono_time begin_by, struct mono_time deadline);

/* Bytes of the request handed to the kernel so far. */
uint64_t upstream_written(const struct upstream_call *call);

/*
 * End a call without completion: unsent, its connection goes back to the pool, once it is open; sent, it is closed. Also
 * the way to free an ended call.
 */
void upstream_cancel(struct upstream_call **call);

/* For metrics and readyz. */
struct upstream_counts { uint64_t opened, reused, failed; size_t idle, busy, calls; };	/* calls: not cancelled yet */
struct upstream_counts upstream_counts(const struct upstream *upstream);

#endif
