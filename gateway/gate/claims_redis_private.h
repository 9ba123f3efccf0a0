/*
 * Claims in Redis, inside: claims_redis.c has the connection and the claims that are asked for, claims_redis_tell.c what
 * the store is told: ends of claims, and lost answers, which are also looked for there.
 */
#ifndef JOBGATE_GATE_CLAIMS_REDIS_PRIVATE_H
#define JOBGATE_GATE_CLAIMS_REDIS_PRIVATE_H

#include <sys/queue.h>

#include "gate/claims_private.h"
#include "io/redis.h"
#include "rules/claim_script.h"

/* The connection has room for 1024 commands: three of each claim, where the script has to be loaded, one of each end. */
#define CLAIMS_ASKED_MAX 200
#define CLAIMS_TELLING_MAX 400

struct redis_claim {
	TAILQ_ENTRY(redis_claim) link;		/* in the list of its state */
	struct claims_redis *redis;
	struct claim_ask ask;
	claims_heard *on_heard;
	void *arg;
	int pending;				/* replies to come */
	bool evaluated, answered;
	struct claim_answer answer;		/* its text is kept's */
	struct buf kept;
};

TAILQ_HEAD(redis_claims, redis_claim);

/* An end, or (key not empty) a lost answer that is written. */
struct redis_end {
	TAILQ_ENTRY(redis_end) link;
	struct buf key, mark, who;	/* of a lost answer, and its mark's; its text is answer */
	struct claims_redis *redis;
	uint8_t name[CLAIM_DIGEST_BYTES];
	char id[CLAIM_ID_BYTES];
	enum claim_fate fate;
	struct buf answer;
	int64_t keep_us;
	struct mono_time made;
	bool sent, evaluated;
};

TAILQ_HEAD(redis_ends, redis_end);

/* A lost answer that is looked for: the question is under way. */
struct redis_look {
	LIST_ENTRY(redis_look) link;
	claims_looked *on_found;
	void *arg;
};

struct claims_redis {
	struct loop *loop;
	struct resolver *resolver;
	struct config *config;			/* a reference: the store's settings */
	struct buf password;
	void (*on_state)(void *arg, bool up, const char *why);
	void (*on_told)(void *arg);
	void *arg;
	struct redis *redis;			/* NULL: nobody has asked for anything yet */
	bool told, told_up;
	bool replicated;			/* there were replicas on this connection */
	int64_t replicas;			/* as last heard */
	bool waiting_under_way, freeing;
	struct redis_claims queued, asked, gathered, waiting;
	LIST_HEAD(, redis_look) looks;
	struct redis_ends ends;
	size_t asked_count, end_count;
	size_t telling_count;			/* ends that are sent */
	uint64_t untold;
};

/* --- claims_redis.c --- */

/* Begin to connect. */
void claims_redis_open(struct claims_redis *redis);
/* Send the script to NAME's key with COUNT arguments: by its digest, or whole. */
bool claims_redis_send(struct claims_redis *redis, struct arena *arena, bool whole, const uint8_t *name,
    const struct str *arguments, size_t count, void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg);
/* Send the claims that have waited for the connection, or for room on it. */
void claims_redis_send_queued(struct claims_redis *redis);
/* Nothing is sent for a claim that is given back while it waits for its connection; false where none of that id does. */
bool claims_redis_unqueue(struct claims_redis *redis, const char id[CLAIM_ID_BYTES]);

/* --- claims_redis_tell.c --- */

/* Send the ends that were not, in their order. */
void claims_redis_flush(struct claims_redis *redis);
/* Forget all that was to be told, and tell who looks that the store is away. */
void claims_redis_drop_ends(struct claims_redis *redis);

#endif
