/*
 * Redis: one pipelined RESP2 connection over a bufferevent of ours; hiredis formats and parses (its async layer aborts
 * the process on one reply too many and has no time-outs: pitfalls D). On one loop's thread.
 *
 * Connects by itself and keeps trying (back-off 50 ms doubling to 2 s with jitter). On connect: AUTH, SELECT, CLIENT SETNAME, ROLE;
 * up only when ROLE says master. Each command has the time-out; when the oldest is due the connection is closed and all
 * that is under way fails. No completion runs inside redis_command.
 */
#ifndef JOBGATE_IO_REDIS_H
#define JOBGATE_IO_REDIS_H

#include "base/buf.h"
#include "io/loop.h"
#include "io/resolver.h"

struct redis;

struct redis_settings {
	struct str host;
	uint16_t port;
	int db;
	struct str username, password;	/* empty where none; copied and wiped at the end */
	int64_t timeout_us;
};

enum redis_kind { REDIS_NIL, REDIS_INT, REDIS_STRING, REDIS_ERROR, REDIS_ARRAY, REDIS_LOST /* no answer: connection gone or timed out */ };

struct redis_reply {
	enum redis_kind kind;
	int64_t integer;
	struct str string;			/* also the text of an error, or why it was lost */
	const struct redis_reply *elements;	/* of an array */
	size_t element_count;
};

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
