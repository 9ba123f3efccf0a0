/*
 * Which rates of the configuration's `rules` a request is counted on, besides its identity's quota and its caller's
 * rate.
 *
 * It counts nothing itself: the buckets are the limiter's.
 */
#ifndef JOBGATE_RULES_LIMITS_H
#define JOBGATE_RULES_LIMITS_H

#include "rules/config.h"
#include "rules/route.h"

/*
 * Bit i is set where config->rate_limits[i] applies to ROUTE for IDENTITY (an index into config->identities). As in a
 * caller's `allow`, but a rule that names job types applies only to operations that name one: a read is no job of
 * that type.
 */
uint32_t limits_match(const struct config *config, size_t identity, const struct route *route);

#endif
