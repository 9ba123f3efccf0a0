/*
 * Who calls and what it may do: keys and `allow` rules (contract, callers[]).
 */
#ifndef JOBGATE_RULES_POLICY_H
#define JOBGATE_RULES_POLICY_H

#include "rules/config.h"
#include "rules/route.h"

/*
 * The caller whose key has this SHA-256, or NULL; *KEY the key that matched. The hash is the secret's, so a comparison
 * by lookup shows nothing of the key; equal candidates are still compared in constant time.
 */
const struct config_caller *policy_find_key(const struct config *config, const uint8_t sha256[32],
    const struct config_key **key);

/*
 * Whether CALLER may do what ROUTE asks. Job types compare without case. A rule that names job types does not bind
 * operations without one (get, list, cancel).
 */
bool policy_permits(const struct config_caller *caller, const struct route *route);

#endif
