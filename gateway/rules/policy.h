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
 * What a token says of who shows it, once its signature holds and its claims were judged. TENANT is set for tokens of an
 * issuer of Entra alone: another issuer does not name Entra's principals.
 */
struct policy_principal {
	struct str issuer, tenant, object, application, subject;	/* p NULL where not said */
};

/*
 * The caller of whom BEARER is a token, or NULL; *TOKEN the entry that matched. Of Entra's principals the object goes
 * before the application: that one is known by all tokens issued to it, also those of its users.
 */
const struct config_caller *policy_find_token(const struct config *config, const struct policy_principal *bearer,
    const struct config_token **token);

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

/* Whether CALLER may use METHOD on routes of the API beside the scheduler's (callers[].other_routes). */
bool policy_permits_other(const struct config_caller *caller, struct str method);

/* What in ALLOW does not cover what ROUTE asks ("operations", "workspace", "items", "job_types"), or NULL. */
const char *policy_mismatch(const struct config_allow *allow, const struct route *route);

#endif
