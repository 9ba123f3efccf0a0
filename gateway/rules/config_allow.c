/* What a rule is for: workspace, items, job types and operations; "*" is the same as an absent field. */
#include "rules/config_private.h"

#include <jansson.h>

#include "rules/uuid.h"

/* Fabric's job types are words of up to 30 letters; a longer one is a mistake. */
#define JOB_TYPE_MAX 128

/* Whether VALUE is "*": the same as an absent field. */
static bool
is_any(struct json_t *value)
{
	return str_eq((struct str){ json_string_value(value), json_string_length(value) }, STR("*"));
}

/* Read a UUID into *OUT in lower case. */
static void
read_uuid(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct str s = { json_string_value(value), json_string_length(value) };

	(void)i;
	if (json_is_string(value) && uuid_is(s))
		*(struct str *)out = config_lower(r, s);
	else
		config_error_is(r, "must be a UUID (8-4-4-4-12 hexadecimal digits)", value);
}

void
config_read_workspace(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_allow *allow = out;

	(void)rule;
	if (!is_any(value))
		read_uuid(r, value, &allow->workspace, 0);
}

void
config_read_items(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_allow *allow = out;

	(void)rule;
	if (!is_any(value))
		config_read_list(r, value, 1, CONFIG_MANY, sizeof(*allow->items), (void **)&allow->items,
		    &allow->item_count, read_uuid);
}

/* Read a job type: letters, digits, '-', '_' and '.', as Fabric's are. */
static void
read_job_type(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct str s;

	(void)i;
	if (!config_text(r, value, 1, JOB_TYPE_MAX, &s))
		return;
	for (size_t at = 0; at < s.n; at++) {
		char c = str_lower(s.p[at]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.') {
			config_error_is(r, "must be a job type, as \"RunNotebook\" (for all of them, leave the list out)",
			    value);
			return;
		}
	}
	*(struct str *)out = arena_copy(&r->config->arena, s);
}

void
config_read_job_types(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_allow *allow = out;

	(void)rule;
	if (!is_any(value))
		config_read_list(r, value, 1, CONFIG_MANY, sizeof(*allow->job_types), (void **)&allow->job_types,
		    &allow->job_type_count, read_job_type);
}

/* Read a right as its bit. */
static void
read_right(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct str s = { json_string_value(value), json_string_length(value) };
	enum operation_right right;

	(void)i;
	if (json_is_string(value) && operation_right_from(s, &right))
		*(unsigned *)out = 1u << right;
	else
		config_error_is(r, "must be \"run\", \"read\", \"cancel\" or \"schedule\"", value);
}

void
config_read_operations(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_allow *allow = out;
	unsigned *rights = NULL, all = 0;
	size_t count = 0;

	(void)rule;
	if (is_any(value))
		return;
	config_read_list(r, value, 1, CONFIG_MANY, sizeof(*rights), (void **)&rights, &count, read_right);
	for (size_t i = 0; i < count; i++)
		all |= rights[i];
	allow->operations = all;	/* 0 where the list is wrong, which is an error by now */
}
