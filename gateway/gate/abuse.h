/*
 * Abuse: failed authentications of all workers, counted together by their source, and how long their answers wait. Any thread.
 */
#ifndef JOBGATE_GATE_ABUSE_H
#define JOBGATE_GATE_ABUSE_H

#include "base/clock.h"
#include "rules/network.h"

struct abuse;

struct abuse *abuse_new(void);
void abuse_free(struct abuse **abuse);

/*
 * A request from ADDRESS (PEER in words, for the log) was not authenticated by what it has SHOWN, of which nothing is kept. How long its
 * answer is to wait, in microseconds. Says once a minute and source that it slows it.
 */
int64_t abuse_failure(struct abuse *abuse, const struct network_address *address, struct str peer, struct str shown, struct mono_time now);

#endif
