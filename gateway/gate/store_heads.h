/*
 * The heads of the fleet's journals in Redis: one script call on the limiter's own connection, once a minute or so. Its
 * answer, whatever it is, says nothing of the buckets. On one loop's thread; private to gate/store.
 */
#ifndef JOBGATE_GATE_STORE_HEADS_H
#define JOBGATE_GATE_STORE_HEADS_H

#include "io/redis.h"
#include "rules/heads.h"

/* Part of its store: a call under way is forgotten with the connection. */
struct store_heads {
	struct redis *redis;		/* borrowed */
	struct str prefix;		/* borrowed */
	bool busy;			/* a call is under way */
	bool evaluated;			/* the text was sent: no second time */
	struct heads_head own;
	int64_t keep_ms;
	void (*on_heads)(void *arg, const struct heads *heads, const char *why);
	void *arg;
};

void store_heads_init(struct store_heads *heads, struct redis *redis, struct str prefix);

/* As store_show. */
bool store_heads_show(struct store_heads *heads, const struct heads_head *own, int64_t keep_ms,
    void (*on_heads)(void *arg, const struct heads *heads, const char *why), void *arg);

#endif
