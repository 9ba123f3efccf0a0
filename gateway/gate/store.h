/*
 * The store of the buckets: one interface, two kinds. Embedded keeps them in memory through rules/bucket, for this
 * instance alone; Redis keeps them for all instances through rules/bucket_script. On one loop's thread.
 */
#ifndef JOBGATE_GATE_STORE_H
#define JOBGATE_GATE_STORE_H

#include "io/loop.h"
#include "io/resolver.h"
#include "rules/returning.h"
#include "rules/config.h"

struct store;

struct store_answer {
	bool ok;	/* false: the store gave no (sensible) answer; tokens it may have taken are lost */
	struct bucket_take take;
};

/*
 * ON_STATE(arg, up, why) at each change of condition, the first attempt's result included; never inside
 * store_redis_new.
 */
struct store *store_redis_new(struct loop *loop, struct resolver *resolver, const struct config *config,
    struct str password, void (*on_state)(void *arg, bool up, const char *why), void *arg);
/* Always up; on_state is not needed. */
struct store *store_embedded_new(struct loop *loop);
/* No completion runs after this, nor within. */
void store_free(struct store **store);

/* What a call wants of an identity's bucket. */
struct store_call {
	struct str identity;
	const struct quota *quota;
	int64_t count;			/* tokens; 0: look */
	int64_t waiting;		/* requests that want one here, those COUNT included */
	int64_t pause_us;		/* > 0: the upstream says that nothing may go for so long, on any instance */
	struct bucket_heard heard;
};

/*
 * False (nothing was sent, no completion) where the store is not up or has too much under way. ON_ANSWER runs exactly
 * once, never inside store_take. ANSWER lives until it returns.
 */
bool store_take(struct store *store, const struct store_call *call,
    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg);

/* How often a bucket must be looked at lest it be forgotten, in microseconds; 0: never. */
int64_t store_keep_us(const struct store *store);

bool store_is_up(const struct store *store);

/*
 * Whether the store says of itself that it may drop buckets when its memory is full (maxmemory-policy other than
 * noeviction). A change is told by on_state too. False where it does not say.
 */
bool store_evicts(const struct store *store);

#endif
