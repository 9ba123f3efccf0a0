/* The table of all callers' tokens, which policy_find_token reads. */
#include "rules/config_private.h"

/*
 * Only whose signature holds is looked up, and what is in the table is the configuration's, so
 * that nobody can choose texts that collide.
 */
uint64_t
config_token_hash(struct str realm, struct str principal)
{
	return str_hash_end(str_hash(str_hash(STR_HASH_BEGIN, realm), principal));
}

struct config_principal
config_token_principal(const struct config_token *token)
{
	if (token->subject.n)
		return (struct config_principal){ CONFIG_SUBJECT, token->issuer, token->subject };
	if (token->object.n)
		return (struct config_principal){ CONFIG_OBJECT, token->tenant, token->object };
	return (struct config_principal){ CONFIG_APPLICATION, token->tenant, token->application };
}

bool
config_same_principal(const struct config_principal *a, const struct config_principal *b)
{
	return a->kind == b->kind && str_eq(a->realm, b->realm) && str_eq(a->principal, b->principal);
}

/* Go to token TOKEN of CALLER; returns what config_leave takes. */
static size_t
enter_token(struct config_reader *r, const struct config_caller *caller, size_t token)
{
	size_t mark = config_enter_item(r, "callers", caller->index, caller->name);

	config_enter(r, STR("tokens"));
	config_enter_index(r, token, (struct str){ NULL, 0 });
	return mark;
}

/* Say that the token we are at stands at SLOT already. */
static void
error_token_twice(struct config_reader *r, struct config_key_slot slot)
{
	const struct config_caller *other = &r->config->callers[slot.caller - 1];

	config_error(r, "names the same principal as callers[%zu] (\"%.*s\").tokens[%u]", other->index,
	    STR_ARG(other->name), slot.key);
}

/* Put token TOKEN of CALLER into the table. */
static void
index_token(struct config_reader *r, const struct config_caller *caller, size_t token)
{
	struct config *config = r->config;
	struct config_principal principal = config_token_principal(&caller->tokens[token]);
	size_t mask = config->token_slot_count - 1, at = config_token_hash(principal.realm, principal.principal) & mask;

	for (; config->token_slots[at].caller; at = (at + 1) & mask) {
		struct config_key_slot slot = config->token_slots[at];
		struct config_principal other = config_token_principal(&config->callers[slot.caller - 1].tokens[slot.key]);

		if (config_same_principal(&other, &principal)) {
			error_token_twice(r, slot);
			return;
		}
	}
	config->token_slots[at] = (struct config_key_slot){ (uint32_t)caller->index + 1, (uint32_t)token };
}

/* The issuer of that text, or NULL. */
static const struct config_issuer *
find_issuer(const struct config *config, struct str text)
{
	for (size_t i = 0; i < config->issuer_count; i++)
		if (str_eq(config->issuers[i].issuer, text))
			return &config->issuers[i];
	return NULL;
}

/* Whether an issuer of Entra is of TENANT. */
static bool
has_tenant(const struct config *config, struct str tenant)
{
	for (size_t i = 0; i < config->issuer_count; i++)
		if (str_eq(config->issuers[i].tenant, tenant))
			return true;
	return false;
}

/* Say where no token can ever match TOKEN; true where one can. */
static bool
check_issuer(struct config_reader *r, const struct config_token *token)
{
	const struct config_issuer *issuer = find_issuer(r->config, token->issuer);
	size_t errors = r->error_count;

	if (token->issuer.n && issuer == NULL)
		config_error(r, "there is no issuer \"%.*s\" in \"issuers\"", STR_ARG(token->issuer));
	else if (token->subject.n && issuer->tenant.n)
		config_error(r, "\"issuer\" is one of Entra, whose tokens are known by \"tenant\" and \"object\" or "
		    "\"application\"");
	else if (token->tenant.n && !has_tenant(r->config, token->tenant))
		config_error(r, "there is no issuer of tenant %.*s in \"issuers\"", STR_ARG(token->tenant));
	else if (token->tenant.n && issuer && !str_eq(issuer->tenant, token->tenant))
		config_error(r, "\"issuer\" is not one of the tenant");
	return r->error_count == errors;
}

/* Check and index the tokens of CALLER. */
static void
index_caller(struct config_reader *r, const struct config_caller *caller)
{
	for (size_t i = 0; i < caller->token_count; i++) {
		const struct config_token *token = &caller->tokens[i];
		size_t mark;

		if (token->tenant.n == 0 && token->subject.n == 0)	/* wrong, which has been said */
			continue;
		mark = enter_token(r, caller, i);
		if (check_issuer(r, token))
			index_token(r, caller, i);
		config_leave(r, mark);
	}
}

void
config_index_tokens(struct config_reader *r)
{
	struct config *config = r->config;
	size_t count = 0;

	for (size_t i = 0; i < config->caller_count; i++)
		count += config->callers[i].token_count;
	for (config->token_slot_count = 4; config->token_slot_count < 2 * count;)
		config->token_slot_count *= 2;
	config->token_slots = arena_alloc(&config->arena, config->token_slot_count * sizeof(*config->token_slots));
	for (size_t i = 0; i < config->caller_count; i++)
		index_caller(r, &config->callers[i]);
}
