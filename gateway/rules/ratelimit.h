/*
 * RateLimit-Policy and RateLimit of a refusal (draft-ietf-httpapi-ratelimit-headers-10): Lists of Items whose value is a
 * String, the name of the identity. They never promise more than can be served.
 */
#ifndef JOBGATE_RULES_RATELIMIT_H
#define JOBGATE_RULES_RATELIMIT_H

#include "rules/config.h"

/* Append "NAME";q=N;w=SECONDS: how many calls of all callers together a window has for sure. */
void ratelimit_policy(struct buf *out, const struct config_identity *identity);

/* Append "NAME";r=0;t=AFTER_S: nothing is left, and when to come back. */
void ratelimit_exhausted(struct buf *out, const struct config_identity *identity, int64_t after_s);

#endif
