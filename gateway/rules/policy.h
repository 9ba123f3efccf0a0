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
 * The caller that a verified certificate names, with *CERTIFICATE the entry that matched; NULL where it names none. NAMES has a newline
 * behind each ("DNS:a.example\n"), SPKI_SHA256 is of its key. *CONFLICT: it names several callers, and so none.
 */
const struct config_caller *policy_find_certificate(const struct config *config, struct str names, const uint8_t spki_sha256[32],
    const struct config_certificate **certificate, bool *conflict);

/*
 * Whether what ROUTE asks is all within what ALLOW names. Job types compare without case. A rule that names job types
 * does not bind operations without one (get, list, cancel).
 */
bool policy_covers(const struct config_allow *allow, const struct route *route);

/* Whether CALLER may do what ROUTE asks: one of its rules covers it, or it has none. */
bool policy_permits(const struct config_caller *caller, const struct route *route);

#endif
