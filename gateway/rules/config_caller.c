/* Callers: names, keys, rights. */
#include "rules/config_private.h"

#include <jansson.h>

/* Ten times what the largest organisations have services; a million would be half a gigabyte of snapshot. */
#define CALLERS_MAX 100000

/* Say what stands in the place of a key's hash; never the value, which may be the key itself. */
static void
key_error(struct config_reader *r, struct str s)
{
	const char *hint = "";

	if (str_starts(s, STR("jg_")))
		hint = "; this looks like the key itself, which must not stand here";
	config_error(r, "must be the SHA-256 of the key as 64 hexadecimal digits (jobgate key new NAME prints both; "
	    "for a key of your own: printf %%s KEY | sha256sum), is a text of %zu bytes%s", s.n, hint);
}

static void
read_sha256(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct str s = { json_string_value(value), json_string_length(value) };

	(void)rule;
	if (!json_is_string(value) || !str_hex_decode(s, out, 32))
		key_error(r, s);
}

static const struct config_rule key_rules[] = {
	CONFIG_KEY("id", config_read_name, struct config_key, id, 0, 0),
	CONFIG_NEED("sha256", read_sha256, struct config_key, sha256, 0, 0),
	CONFIG_KEY("expires", config_read_date_time, struct config_key, expires, 0, 0),
	CONFIG_KEY("networks", config_read_networks, struct config_key, networks, 0, 0),
	CONFIG_END,
};

/* Read one key; without an id of its own the first 8 digits of its hash tell it from the others. */
static void
read_key(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct config_key *key = out;
	char hex[8];

	(void)i;
	config_read_object(r, value, key_rules, key);
	if (key->id.p)
		return;
	str_hex_encode(key->sha256, sizeof(hex) / 2, hex);
	key->id = arena_copy(&r->config->arena, (struct str){ hex, sizeof(hex) });
}

static void
read_keys(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_caller *caller = out;

	(void)rule;
	config_read_list(r, value, 1, CONFIG_MANY, sizeof(*caller->keys), (void **)&caller->keys, &caller->key_count,
	    read_key);
}

static const struct config_rule allow_rules[] = {
	CONFIG_ALLOW_KEYS(0),
	CONFIG_END,
};

static void
read_allow_rule(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct config_allow *allow = out;

	(void)i;
	allow->operations = CONFIG_RIGHTS_ALL;
	config_read_object(r, value, allow_rules, allow);
}

/* Read the rules; an empty list permits nothing, which is how a caller is shut out without losing its keys. */
static void
read_allow(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_caller *caller = out;

	(void)rule;
	caller->allow_given = config_read_list(r, value, 0, CONFIG_MANY, sizeof(*caller->allow),
	    (void **)&caller->allow, &caller->allow_count, read_allow_rule);
}

static void
read_location(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const char *const words[] = { "preserve", "rewrite", NULL };
	struct config_caller *caller = out;
	int word;

	(void)rule;
	if (!config_word(r, value, words, &word))
		return;
	caller->location = (enum config_location)word;
	caller->location_given = true;
}

static void
read_scopes(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const char *const words[] = { "off", "enforce", NULL };
	int word;

	(void)rule;
	if (config_word(r, value, words, &word))
		*(bool *)out = word == 1;
}

static void
read_validate(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const char *const words[] = { "enforce", "report", "off", NULL };
	int word;

	(void)rule;
	if (config_word(r, value, words, &word))
		*(enum config_validate *)out = (enum config_validate)word;
}

static void
read_other_routes(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	static const char *const words[] = { "refuse", "read", "all", NULL };
	int word;

	(void)rule;
	if (config_word(r, value, words, &word))
		*(enum config_other *)out = (enum config_other)word;
}

/* The metrics' words for callers without a name and beyond the 200th: one so called could not be told from them. */
static void
read_caller_name(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct str *name = out;

	config_read_name(r, value, rule, out);
	if (str_eq(*name, STR("unknown")) || str_eq(*name, STR("other")))
		config_error(r, "must not be \"unknown\" or \"other\", which the metrics use");
}

/* Kept aside by the caller's index: the identities are known at the end. */
static void
read_caller_identity(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_caller *caller = out;

	config_read_name(r, value, rule, &r->caller_identities[caller->index]);
}

/* Its own in place of the general ones, longer or shorter. */
static const struct config_rule caller_wait_rules[] = {
	CONFIG_KEY("max", config_read_duration, struct config_caller, wait_max_us, CONFIG_WAIT_MIN, CONFIG_WAIT_MAX),
	CONFIG_KEY("queue", config_read_int64, struct config_caller, wait_queue, CONFIG_QUEUE_MIN, CONFIG_QUEUE_MAX),
	CONFIG_END,
};

static const struct config_rule caller_rules[] = {
	CONFIG_NEED("name", read_caller_name, struct config_caller, name, 0, 0),
	{ STR_INIT("keys"), read_keys, 0, 0, 0, false, NULL },
	{ STR_INIT("tokens"), config_read_tokens, 0, 0, 0, false, NULL },
	{ STR_INIT("certificates"), config_read_certificates, 0, 0, 0, false, NULL },
	{ STR_INIT("identity"), read_caller_identity, 0, 0, 0, false, NULL },
	/* More than a thousand to one is no sharing; integers of this size keep the sums of a queue small. */
	CONFIG_KEY("weight", config_read_int64, struct config_caller, weight, 1, 1000),
	CONFIG_KEY("rate", config_read_rate, struct config_caller, rate, 0, 0),
	CONFIG_SECTION("wait", caller_wait_rules, false),
	{ STR_INIT("location"), read_location, 0, 0, 0, false, NULL },
	{ STR_INIT("allow"), read_allow, 0, 0, 0, false, NULL },
	CONFIG_KEY("validate", read_validate, struct config_caller, validate, 0, 0),
	CONFIG_KEY("scopes", read_scopes, struct config_caller, scopes_enforced, 0, 0),
	CONFIG_KEY("other_routes", read_other_routes, struct config_caller, other_routes, 0, 0),
	CONFIG_END,
};

/* Complain of a caller that nothing is known by. */
static void
check_credentials(struct config_reader *r, struct json_t *value)
{
	static const char *const kinds[] = { "keys", "tokens", "certificates" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (json_object_get(value, kinds[i]))
			return;
	if (json_is_object(value))
		config_error(r, "needs \"keys\", \"tokens\" or \"certificates\", by which it is known");
}

static void
read_caller(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct config_caller *caller = out;

	caller->index = i;
	caller->weight = 1;
	caller->scopes_enforced = true;
	r->caller_identities[i] = STR("default");
	if (json_object_get(value, "identity"))
		r->caller_identities[i] = (struct str){ NULL, 0 };
	config_read_object(r, value, caller_rules, caller);
	check_credentials(r, value);
}

void
config_read_callers(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;

	(void)rule;
	if (json_array_size(value) <= CALLERS_MAX)
		r->caller_identities = arena_alloc(&config->arena, json_array_size(value) * sizeof(struct str));
	config_read_list(r, value, 1, CALLERS_MAX, sizeof(*config->callers), (void **)&config->callers,
	    &config->caller_count, read_caller);
}
