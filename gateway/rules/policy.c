/* Who calls and what it may do. */
#include "rules/policy.h"

#include "rules/config_private.h"

const struct config_caller *
policy_find_key(const struct config *config, const uint8_t sha256[32], const struct config_key **key)
{
	size_t mask = config->key_slot_count - 1;

	for (size_t at = config_key_hash(sha256) & mask; config->key_slots[at].caller; at = (at + 1) & mask) {
		const struct config_key_slot *slot = &config->key_slots[at];
		const struct config_caller *caller = &config->callers[slot->caller - 1];

		if (str_same_secret(caller->keys[slot->key].sha256, sha256, 32)) {
			*key = &caller->keys[slot->key];
			return caller;
		}
	}
	return NULL;
}

/* The caller of PRINCIPAL whose token's issuer is ISSUER where it names one. */
static const struct config_caller *
policy_find_principal(const struct config *config, const struct config_principal *principal, struct str issuer,
    const struct config_token **token)
{
	size_t mask = config->token_slot_count - 1;
	size_t at = config_token_hash(principal->realm, principal->principal) & mask;

	if (principal->realm.n == 0 || principal->principal.n == 0)
		return NULL;
	for (; config->token_slots[at].caller; at = (at + 1) & mask) {
		const struct config_caller *caller = &config->callers[config->token_slots[at].caller - 1];
		const struct config_token *entry = &caller->tokens[config->token_slots[at].key];
		struct config_principal other = config_token_principal(entry);

		if (!config_same_principal(&other, principal))
			continue;
		if (entry->issuer.n && !str_eq(entry->issuer, issuer))
			return NULL;
		*token = entry;
		return caller;
	}
	return NULL;
}

const struct config_caller *
policy_find_token(const struct config *config, const struct policy_principal *bearer, const struct config_token **token)
{
	struct config_principal object = { CONFIG_OBJECT, bearer->tenant, bearer->object };
	struct config_principal application = { CONFIG_APPLICATION, bearer->tenant, bearer->application };
	struct config_principal subject = { CONFIG_SUBJECT, bearer->issuer, bearer->subject };
	const struct config_caller *caller;

	if (bearer->tenant.n == 0)
		return policy_find_principal(config, &subject, bearer->issuer, token);
	caller = policy_find_principal(config, &object, bearer->issuer, token);
	return caller ? caller : policy_find_principal(config, &application, bearer->issuer, token);
}

/* The entry for what stands in a certificate, or NULL. */
static const struct config_certificate_slot *
find_certificate(const struct config *config, struct str match)
{
	size_t mask = config->certificate_slot_count - 1;

	for (size_t at = config_certificate_hash(match) & mask; config->certificate_slots[at].caller; at = (at + 1) & mask) {
		const struct config_certificate_slot *slot = &config->certificate_slots[at];

		if (str_eq(config->callers[slot->caller - 1].certificates[slot->certificate].match, match))
			return slot;
	}
	return NULL;
}

const struct config_caller *
policy_find_certificate(const struct config *config, struct str names, const uint8_t spki_sha256[32],
    const struct config_certificate **certificate, bool *conflict)
{
	char spki[5 + 64] = "SPKI:";
	struct str match = { spki, sizeof(spki) };
	const struct config_caller *caller = NULL;

	*conflict = false;
	str_hex_encode(spki_sha256, 32, spki + 5);
	do {
		const struct config_certificate_slot *slot = match.n ? find_certificate(config, match) : NULL;

		if (slot == NULL)
			continue;
		*conflict = *conflict || (caller && caller != &config->callers[slot->caller - 1]);
		if (caller == NULL)
			*certificate = &config->callers[slot->caller - 1].certificates[slot->certificate];
		caller = &config->callers[slot->caller - 1];
	} while (str_next(&names, '\n', &match));
	return *conflict ? NULL : caller;
}

/* Whether ITEM is one of the rule's; both are in lower case. */
static bool
covers_item(const struct config_allow *allow, struct str item)
{
	for (size_t i = 0; i < allow->item_count; i++)
		if (str_eq(allow->items[i], item))
			return true;
	return allow->item_count == 0;
}

/* Whether JOB_TYPE is one of the rule's; an operation without one is not bound. */
static bool
covers_job_type(const struct config_allow *allow, struct str job_type)
{
	if (job_type.p == NULL)
		return true;
	for (size_t i = 0; i < allow->job_type_count; i++)
		if (str_eq_nocase(allow->job_types[i], job_type))
			return true;
	return allow->job_type_count == 0;
}

const char *
policy_mismatch(const struct config_allow *allow, const struct route *route)
{
	if ((allow->operations & 1u << operation_right(route->operation)) == 0)
		return "operations";
	if (allow->workspace.n && !str_eq(allow->workspace, route->workspace))
		return "workspace";
	if (!covers_item(allow, route->item))
		return "items";
	return covers_job_type(allow, route->job_type) ? NULL : "job_types";
}

bool
policy_covers(const struct config_allow *allow, const struct route *route)
{
	return policy_mismatch(allow, route) == NULL;
}

bool
policy_permits_other(const struct config_caller *caller, struct str method)
{
	if (caller->other_routes == CONFIG_OTHER_READ)
		return str_eq(method, STR("GET")) || str_eq(method, STR("HEAD"));
	return caller->other_routes == CONFIG_OTHER_ALL;
}

bool
policy_permits(const struct config_caller *caller, const struct route *route)
{
	if (!caller->allow_given)
		return true;
	for (size_t i = 0; i < caller->allow_count; i++)
		if (policy_covers(&caller->allow[i], route))
			return true;
	return false;
}
