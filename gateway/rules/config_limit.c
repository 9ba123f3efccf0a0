/* The list `rules`: rates for what goes to a workspace, an item or a job type. */
#include "rules/config_private.h"

/* Keep the identity's name aside by the rule's place: the identities are known at the end. */
static void
read_limit_identity(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_limit *limit = out;

	limit->identity_given = true;
	config_read_name(r, value, rule, &r->limit_identities[limit - r->config->rate_limits]);
}

static const struct config_rule limit_rules[] = {
	CONFIG_NEED("name", config_read_name, struct config_limit, name, 0, 0),
	{ STR_INIT("identity"), read_limit_identity, 0, 0, 0, false, NULL },
	CONFIG_ALLOW_KEYS(offsetof(struct config_limit, match)),
	CONFIG_NEED("rate", config_read_rate, struct config_limit, rate, 0, 0),
	CONFIG_END,
};

/* Read one rule; what it does not name it matches. */
static void
read_limit(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct config_limit *limit = out;

	(void)i;
	limit->match.operations = CONFIG_RIGHTS_ALL;
	config_read_object(r, value, limit_rules, limit);
}

void
config_read_limits(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;

	(void)rule;
	config_read_list(r, value, 0, CONFIG_LIMITS_MAX, sizeof(*config->rate_limits), (void **)&config->rate_limits,
	    &config->rate_limit_count, read_limit);
}
