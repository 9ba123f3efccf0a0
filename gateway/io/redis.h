/*
 * Redis: one pipelined RESP2 connection over a bufferevent of ours, plain or TLS; hiredis formats and parses (its async
 * layer aborts the process on one reply too many and has no time-outs: pitfalls D). On one loop's thread.
 *
 * Connects by itself and keeps trying (back-off 50 ms doubling to 1 s with jitter). On connect: AUTH, SELECT, CLIENT SETNAME, ROLE;
 * up only when ROLE says master, or where a managed kind knows no ROLE. Each command has the time-out; when the oldest is
 * due the connection is closed and all that is under way fails. An idle connection is kept by a PING every 10 s (managed
 * kinds cut what is idle for 10 minutes). No completion runs inside redis_command.
 *
 * With Sentinels every attempt first asks one of them where the primary is, and ROLE must confirm it. A Sentinel whose
 * word led nowhere is asked last the next time. One that demands a password gets the same that the primary gets.
 */
#ifndef JOBGATE_IO_REDIS_H
#define JOBGATE_IO_REDIS_H

#include "base/buf.h"
#include "io/loop.h"
#include "io/resolver.h"

struct redis;

struct redis_endpoint { struct str host; uint16_t port; };	/* host: a name or a numeric address, without brackets */

/* Everything is copied. */
struct redis_settings {
	struct str host;		/* of the server; not used with Sentinels */
	uint16_t port;
	const struct redis_endpoint *sentinels;
	size_t sentinel_count;		/* 0: none */
	struct str service;		/* the primary's name among Sentinels */
	bool tls;			/* verified for HOST, by name or address; not with Sentinels */
	struct str ca_file;		/* empty: the system's; read anew for a connection once it has changed */
	int db;
	struct str username, password;	/* empty where none; wiped at the end */
	int64_t timeout_us;
	int64_t idle_us;		/* a PING after so long without a word; 0: 10 s */
};

enum redis_kind { REDIS_NIL, REDIS_INT, REDIS_STRING, REDIS_ERROR, REDIS_ARRAY, REDIS_LOST /* no answer: connection gone or timed out */ };

struct redis_reply {
	enum redis_kind kind;
	int64_t integer;
	struct str string;			/* also the text of an error, or why it was lost */
	const struct redis_reply *elements;	/* of an array */
	size_t element_count;
};

/*
 * Does the error say that this server is no (working) primary, so that the connection is of no use? It is closed then,
 * after the completion.
 */
bool redis_reply_disowns(const struct redis_reply *reply);

/* ON_STATE(arg, up, why) at each change of condition, WHY a sentence; on the loop, never inside redis_new. */
struct redis *redis_new(struct loop *loop, struct resolver *resolver, const struct redis_settings *settings,
    void (*on_state)(void *arg, bool up, const char *why), void *arg);
void redis_free(struct redis **redis);	/* no completions */

bool redis_is_up(const struct redis *redis);

/*
 * Send one command of COUNT arguments; false (nothing sent, no completion) where the connection is not up or 1024 are under way. ON_REPLY
 * runs exactly once; REPLY lives until it returns.
 */
bool redis_command(struct redis *redis, const struct str *arguments, size_t count,
    void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg);

#endif
