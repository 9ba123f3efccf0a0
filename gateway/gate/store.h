/*
 * The store of the buckets: one interface, two kinds. Embedded keeps them in memory through rules/bucket, for this
 * instance alone; Redis keeps them for all instances through rules/bucket.lua. On one loop's thread.
 */
#ifndef JOBGATE_GATE_STORE_H
#define JOBGATE_GATE_STORE_H

#include "io/loop.h"
#include "io/resolver.h"
#include "rules/bucket.h"
#include "rules/lost.h"
#include "rules/config.h"
#include "rules/heads.h"
#include "rules/member.h"

struct store;

/* A lost answer (rules/lost) that is looked for in the same call, for one who is ready in lane LANE of the ask: where it is found, it is not granted. */
struct store_look { uint8_t name[CLAIM_DIGEST_BYTES]; uint8_t lane; };
/* So many in a call. */
#define STORE_LOOKS_MAX 256

struct store_answer {
	bool ok;	/* false: the store gave no (sensible) answer; tokens it may have taken are lost */
	const struct bucket_ask *ask;		/* what was asked; valid until the completion returns, as is what follows */
	const struct bucket_answer *answer;
	const struct str *found;		/* of each look its text, empty where there is none; 0 of the embedded store */
	size_t found_count;
	bool known;	/* all that may be lost in the fleet is known to this process; false of the embedded store */
};

/*
 * FIRST asks IDENTITY's bucket for nothing: with that a connection is tried, until a later call has failed.
 * ON_STATE(arg, up, why) at each change of condition, the first attempt's result included; never inside
 * store_redis_new.
 */
struct store *store_redis_new(struct loop *loop, struct resolver *resolver, const struct config *config,
    struct str password, struct str identity, const struct bucket_ask *first, void (*on_state)(void *arg, bool up, const char *why), void *arg);
/* Always up; on_state is not needed. */
struct store *store_embedded_new(struct loop *loop);
/* No completion runs after this, nor within. */
void store_free(struct store **store);

/*
 * Ask IDENTITY's bucket; ASK and LOOKS are copied, its quota borrowed until the completion. False (nothing was sent, no completion) where
 * the store is not up or has too much under way. ON_ANSWER runs exactly once, never inside store_take.
 */
bool store_take(struct store *store, struct str identity, const struct bucket_ask *ask, const struct store_look *looks, size_t look_count,
    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg);

/*
 * Ask only for what store_answer's KNOWN says of IDENTITY. GLANCE is the caller's, until ON_KNOWN runs, exactly once and never inside; false
 * is also that nobody answered. False (no completion) as store_take, and from the embedded one.
 */
struct store_glance {
	const struct member_self *self;		/* who asks */
	void (*on_known)(void *arg, bool known);
	void *arg;
};
bool store_glance(struct store *store, struct str identity, struct store_glance *glance);

bool store_is_up(const struct store *store);

/*
 * Show OWN, the head of this instance's journal, to the fleet for KEEP_MS, and be told the others'. It is no part of the
 * quota: whatever comes of it, the store is as well as it was. False (no completion) where the store is not up, has too
 * much under way or is asked this already, and from the embedded one, which knows no others. ON_HEADS(arg, heads, why)
 * runs exactly once, never inside store_show; HEADS is valid until it returns, or NULL: WHY not.
 */
bool store_show(struct store *store, const struct heads_head *own, int64_t keep_ms,
    void (*on_heads)(void *arg, const struct heads *heads, const char *why), void *arg);

/*
 * Whether the store says of itself that it may drop buckets when its memory is full (maxmemory-policy other than
 * noeviction). A change is told by on_state too. False where it does not say.
 */
bool store_evicts(const struct store *store);

#endif
