/* What the files of the claims share. */
#ifndef JOBGATE_GATE_CLAIMS_PRIVATE_H
#define JOBGATE_GATE_CLAIMS_PRIVATE_H

#include "gate/claims.h"

struct claims_redis;

/* ON_HEARD(arg, answer) with ANSWER NULL: the store is away. Its texts live until it returns. */
typedef void claims_heard(void *arg, const struct claim_answer *answer);

/* CONFIG is referenced. ON_STATE(arg, up, why) at each change of condition, ON_TOLD(arg) where the last end was told. Nothing is connected yet. */
struct claims_redis *claims_redis_new(struct loop *loop, struct resolver *resolver, struct config *config, struct str password,
    void (*on_state)(void *arg, bool up, const char *why), void (*on_told)(void *arg), void *arg);
/* Whoever waits hears that the store is away. */
void claims_redis_free(struct claims_redis **redis);
/* Whether CONFIG and PASSWORD mean the same store. */
bool claims_redis_is_of(const struct claims_redis *redis, const struct config *config, struct str password);

/* REDIS is new: it takes over what FROM has not told yet, where the keys are the same; FROM is of no use then but to be freed. */
void claims_redis_inherit(struct claims_redis *redis, struct claims_redis *from);

/* ON_HEARD runs exactly once, and may run inside. */
void claims_redis_take(struct claims_redis *redis, const struct claim_ask *ask, claims_heard *on_heard, void *arg);
/* ANSWER is copied. */
void claims_redis_settle(struct claims_redis *redis, const struct claim_ask *ask, enum claim_fate fate, struct str answer);
/* Write TEXT for KEEP_US, in its order among the ends, and mark that WHO (lost_mark_key) remembers it. All are copied. */
void claims_redis_publish(struct claims_redis *redis, struct str tag, const uint8_t *name, struct str text, int64_t keep_us, struct str who);
/* ON_FOUND(arg, away, text) runs exactly once, and may run inside. */
typedef void claims_looked(void *arg, bool away, struct str text);
void claims_redis_look(struct claims_redis *redis, struct str tag, const uint8_t *name, claims_looked *on_found, void *arg);
/* Whether there are ends that the store was not told of yet, as far as is known. */
bool claims_redis_has_ends(const struct claims_redis *redis);
/* How many ends were dropped untold. */
uint64_t claims_redis_untold(const struct claims_redis *redis);

#endif
