/* For the upstream*.c files alone: the pool, a connection, a call, and the reader of its response. */
#ifndef JOBGATE_IO_UPSTREAM_PRIVATE_H
#define JOBGATE_IO_UPSTREAM_PRIVATE_H

#include <sys/queue.h>

#include "base/spare_bufs.h"
#include "base/spares.h"
#include "io/upstream.h"

#define UPSTREAM_MAGIC 0x75707374
#define UPSTREAM_CALL_MAGIC 0x7563616c
#define UPSTREAM_CONNECTION_MAGIC 0x75636f6e

/* The response of one call, as its bytes come in: interim responses, head, body. Pure. */
struct upstream_reader {
	char method[16];		/* of the request, for framing; longer ones are cut (only HEAD matters) */
	struct http1_limits limits;
	size_t body_limit;
	struct http1_scan scan;
	struct buf head_bytes;		/* owned; HEAD's slices, and WHOLE, point into it once has_head */
	struct str whole;		/* the body, where it came with its head; p NULL: it is in BODY */
	bool has_head;
	bool begun;			/* a byte was seen */
	unsigned interims;		/* 1xx skipped */
	struct http1_chunked chunked;
	struct buf body;		/* owned; decoded */
	uint64_t left;			/* with HTTP1_LENGTH: bytes to come */
	enum upstream_reason reason;	/* of a fault */
	const char *detail;		/* of a fault; static */
	struct http1_head head;		/* last, since its fields are not cleared */
};

enum upstream_read { UPSTREAM_READ_MORE, UPSTREAM_READ_DONE, UPSTREAM_READ_FAULT };

void upstream_reader_init(struct upstream_reader *reader, struct str method, const struct upstream_settings *settings);
void upstream_reader_fini(struct upstream_reader *reader);
/* Consume from *BYTES; on DONE what is left in it is not of this response. */
enum upstream_read upstream_reader_feed(struct upstream_reader *reader, struct str *bytes);
/* The connection ended, CLEAN with close_notify: DONE where that ends the body (RFC 9112 6.3, 9.8), else FAULT. */
enum upstream_read upstream_reader_end(struct upstream_reader *reader, bool clean);
/* The decoded body of a response that is DONE, as long as READER lives. */
struct str upstream_reader_body(const struct upstream_reader *reader);
/* What `Keep-Alive: timeout=N` of the response tells, in microseconds; INT64_MAX where it tells nothing. */
int64_t upstream_reader_keep_alive_us(const struct upstream_reader *reader);

/* The place of a connection is the list that it is in. */
enum upstream_place { UPSTREAM_OPENING, UPSTREAM_UNCLAIMED, UPSTREAM_BORROWED, UPSTREAM_IDLE, UPSTREAM_DEAD };
#define UPSTREAM_PLACES 5

struct event;
struct ssl_st;
struct upstream_opening;

struct upstream_connection {
	uint32_t magic;
	enum upstream_place place;
	TAILQ_ENTRY(upstream_connection) entry;
	struct upstream *upstream;
	struct upstream_call *call;	/* whose it is; NULL where unclaimed, in the pool and when dead */
	int fd;				/* owned; -1 before the socket */
	int error;			/* errno of what ended it; 0 where the peer closed it */
	struct ssl_st *ssl;		/* owned; NULL on plain TCP */
	TAILQ_ENTRY(upstream_connection) heard_entry;	/* those from which something was read in this turn */
	size_t heard_at, heard_n;	/* what that is, in the upstream's HEARD; N 0: nothing */
	struct event *readable;		/* from the handshake on, until the end */
	struct event *writable;		/* the same; watched only while the socket takes no more */
	struct buf output;		/* owned: a message that the socket did not take at once */
	size_t output_at;		/* so much of it was written */
	struct mono_time opened_at;
	struct mono_time idle_since;	/* the last byte of an exchange, or the handshake */
	struct mono_time idle_until;	/* in the pool */
	int64_t idle_us;		/* how long it may be idle: ours, or the upstream's where that is shorter */
	uint64_t generation;		/* of the pool when it was opened */
	struct upstream_opening *opening;	/* owned, until it is open */
	bool open;			/* the handshake is over and the peer is verified */
	bool warm;			/* it keeps its buffers between records */
	bool reused;
};

enum upstream_news { UPSTREAM_NEWS_NONE, UPSTREAM_NEWS_READY, UPSTREAM_NEWS_RESPONSE, UPSTREAM_NEWS_FAILED };

struct upstream_call {
	uint32_t magic;
	TAILQ_ENTRY(upstream_call) entry;	/* all, or the dead */
	TAILQ_ENTRY(upstream_call) told_entry;	/* those with news */
	TAILQ_ENTRY(upstream_call) unwritten_entry;	/* those with a message to write */
	struct upstream *upstream;
	struct upstream_connection *connection;	/* NULL when it has ended */
	struct upstream_hooks hooks;
	void *arg;
	enum upstream_phase phase;
	enum upstream_news news;	/* to be told at the end of the turn */
	bool ready;			/* on_ready was called */
	bool sent;			/* upstream_send was called */
	bool ended;			/* its news is the last */
	bool reused;
	bool unwritten;			/* its message waits for the turn's end */
	size_t message_at;		/* where that begins in the upstream's */
	uint64_t total_bytes;		/* of the request */
	uint64_t written_bytes;
	struct mono_time begin_by, deadline;	/* once it is sent */
	struct upstream_failure failure;	/* set once it has failed */
	struct upstream_reader reader;		/* set once it is sent, but for its buffers; last, as its head */
};

TAILQ_HEAD(upstream_connections, upstream_connection);
TAILQ_HEAD(upstream_calls, upstream_call);

struct upstream {
	uint32_t magic;
	struct loop *loop;
	struct resolver *resolver;
	struct tls_client *tls;
	struct upstream_settings settings;	/* host points to HOST */
	char *host;				/* owned */
	struct upstream_proxy proxy;		/* HOST and AUTHORIZATION are owned; PORT 0: none */
	struct upstream_connections places[UPSTREAM_PLACES];	/* idle: the most recently used first */
	size_t place_counts[UPSTREAM_PLACES];
	struct upstream_connections heard_from;
	char *heard;				/* owned, NULL before the first: what was read in this turn, wiped at its end */
	size_t heard_n;
	size_t warm_count;			/* of connections that keep their buffers */
	struct upstream_calls calls, told, unwritten, dead_calls;
	struct spares call_memory;		/* struct upstream_call */
	struct spare_bufs head_memory;		/* of responses' heads */
	struct buf message;			/* owned: those that are to be sent, one behind another; wiped then */
	size_t message_end;			/* the newest may reach so far */
	struct loop_hook hear, write, tell, reap;
	struct loop_timer look;			/* at what is due: the calls' deadlines and the ends of idleness */
	struct mono_time look_at;		/* while LOOKING: no later than the first that is due */
	bool looking;
	bool telling;
	uint64_t generation;			/* grows when the pool is dropped */
	uint64_t opened, reused, failed;
	size_t call_count;			/* in CALLS */
};

/* --- upstream.c --- */
/* Move a connection to another place; nothing else changes its lists. Dead ones are freed at the end of the turn. */
void upstream_move(struct upstream_connection *connection, enum upstream_place place);
/* Nobody waits any more for CONNECTION, which is opening: let it come into the pool, unless there are enough of those. */
void upstream_unclaim(struct upstream_connection *connection);
/* Give a connection that nobody uses any more to the pool, or close it where it may not be used again. */
void upstream_give_back(struct upstream_connection *connection, struct mono_time now);
/*
 * Something is due at DUE. One timer serves all: it is set anew only where it would come too late, and so for next to no request,
 * since what is due of the newest comes after what is due of those before it.
 */
void upstream_look_by(struct upstream *upstream, struct mono_time due);

/* --- upstream_call.c: what a connection tells its call; each may end the call and so its hold on the connection --- */
void upstream_call_opened(struct upstream_call *call);
void upstream_call_wrote(struct upstream_call *call, size_t n);
void upstream_call_take(struct upstream_call *call, struct str bytes);
/* The connection ended: CLEAN with close_notify; WHY for the log. */
void upstream_call_closed(struct upstream_call *call, bool clean, const char *why);
void upstream_call_fail(struct upstream_call *call, enum upstream_reason reason, const char *detail);
/* Whether the call's deadline has come; ends it. */
bool upstream_call_is_overdue(struct upstream_call *call, struct mono_time now);
/* Write the messages that were made, and wipe them; the hook of upstream->write. */
void upstream_write(void *upstream);
/* Tell what there is to tell; the hook of upstream->tell. */
void upstream_tell(void *upstream);
void upstream_call_free(struct upstream_call *call);

/* --- upstream_connection.c --- */
/* More than a turn's answers have, most times; what has no room is handed over at once. */
#define UPSTREAM_HEARD_BYTES 65536
/* Hand over what was read in this turn, and wipe it; the hook of upstream->hear. */
void upstream_hear(void *upstream);
struct upstream_connection *upstream_connection_open(struct upstream *upstream, struct upstream_call *call);
/*
 * Whether the peer has neither closed nor sent anything: as the loop knows it, where its turn began at SINCE or later, else by a look at
 * the socket, which takes tickets in by the way.
 */
bool upstream_connection_is_quiet(struct upstream_connection *connection, struct mono_time since);
/* Bytes that came with those just taken, already here. */
bool upstream_connection_has_more(const struct upstream_connection *connection);
/* Write MESSAGE; what the socket does not take at once is copied. May fail the call. */
void upstream_connection_write(struct upstream_connection *connection, struct str message);
/* Make it dead, to be freed at the end of the turn; POLITE sends close_notify first. */
void upstream_connection_close(struct upstream_connection *connection, bool polite);
void upstream_connection_free(struct upstream_connection *connection);

#endif
