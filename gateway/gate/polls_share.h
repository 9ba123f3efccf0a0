/*
 * Kept answers in a Redis that instances share: a connection of its own, so that nothing of it holds the limiter up,
 * and its failures are nobody's but the polls'. On one loop's thread.
 */
#ifndef JOBGATE_GATE_POLLS_SHARE_H
#define JOBGATE_GATE_POLLS_SHARE_H

#include "gate/poll_table.h"
#include "io/redis.h"
#include "rules/config.h"

struct polls_share;

/* A number that the script gives, in decimal digits. */
#define POLLS_NUMBER_BYTES 24
/* A token's hash in hexadecimal digits. */
#define POLLS_HEX_BYTES (2 * POLL_DIGEST_BYTES)

/* STORE is copied as far as it is needed; ON_STATE as redis_new has it. */
struct polls_share *polls_share_new(struct loop *loop, struct resolver *resolver, const struct config_store *store,
    struct str password,
    void (*on_state)(void *arg, bool up, const char *why), void *arg);
/* Calls under way end as lost, within this. */
void polls_share_free(struct polls_share **share);

bool polls_share_is_up(const struct polls_share *share);

/*
 * Have the script do OP with ARGUMENTS behind the time that things are kept (rules/poll.lua). False (no completion)
 * where there is no connection, or too much under way. ON_REPLY runs exactly once, never inside this; an error is told
 * as it came.
 */
bool polls_share_call(struct polls_share *share, const struct poll_id *id, const char *op, int64_t keep_us,
    const struct str *arguments,
    size_t count, void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg);

/*
 * Ask how full the server is: ON_REPLY is told INFO's section of memory. It runs at most once, and not after
 * polls_share_free.
 */
void polls_share_memory(struct polls_share *share, void (*on_reply)(void *arg, const struct redis_reply *reply),
    void *arg);

/* Remove entries, whatever is said to that. */
#define POLLS_SHARE_BATCH 100
void polls_share_remove(struct polls_share *share, const struct poll_id *ids, size_t count);

#endif
