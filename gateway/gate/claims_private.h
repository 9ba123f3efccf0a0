/* What the files of the claims share. */
#ifndef JOBGATE_GATE_CLAIMS_PRIVATE_H
#define JOBGATE_GATE_CLAIMS_PRIVATE_H

#include "gate/claims.h"

struct claims_redis;

/* ON_HEARD(arg, answer) with ANSWER NULL: the store is away. Its texts live until it returns. */
typedef void claims_heard(void *arg, const struct claim_answer *answer);

/* CONFIG is referenced. ON_STATE(arg, up, why) at each change of condition. Nothing is connected yet. */
struct claims_redis *claims_redis_new(struct loop *loop, struct resolver *resolver, struct config *config, struct str password,
    void (*on_state)(void *arg, bool up, const char *why), void *arg);
/* Whoever waits hears that the store is away. */
void claims_redis_free(struct claims_redis **redis);
/* Whether CONFIG and PASSWORD mean the same store. */
bool claims_redis_is_of(const struct claims_redis *redis, const struct config *config, struct str password);

/* ON_HEARD runs exactly once, and may run inside. */
void claims_redis_take(struct claims_redis *redis, const struct claim_ask *ask, claims_heard *on_heard, void *arg);
/* ANSWER is copied. */
void claims_redis_settle(struct claims_redis *redis, const struct claim_ask *ask, enum claim_fate fate, struct str answer);
/* How many ends were dropped untold. */
uint64_t claims_redis_untold(const struct claims_redis *redis);

#endif
