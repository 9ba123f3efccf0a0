/* Objects and lists of the configuration: the walk through the tables. */
#include "rules/config_private.h"

#include <jansson.h>

/* Whether KEY may stand in any object without a meaning: `comment`, and `$schema` at the top (config_rules has it). */
static bool
config_is_comment(struct str key)
{
	return str_eq(key, STR("comment"));
}

static const struct config_rule *
config_rule_find(const struct config_rule *rules, struct str key)
{
	for (; rules->name.p; rules++)
		if (str_eq(rules->name, key))
			return rules;
	return NULL;
}

/* Read one member that a rule exists for. */
static void
config_read_member(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *base)
{
	size_t mark = config_enter(r, rule->name);

	rule->read(r, value, rule, (char *)base + rule->offset);
	config_leave(r, mark);
}

/* Say that a required member is not there. */
static void
config_error_missing(struct config_reader *r, const struct config_rule *rule)
{
	size_t mark = config_enter(r, rule->name);

	config_error(r, "is missing");
	config_leave(r, mark);
}

void
config_read_object(struct config_reader *r, struct json_t *value, const struct config_rule *rules, void *base)
{
	const char *key;
	struct json_t *member;

	if (!json_is_object(value)) {
		config_error_is(r, "must be an object", value);
		return;
	}
	json_object_foreach(value, key, member)
		if (config_rule_find(rules, str_from(key)) == NULL && !config_is_comment(str_from(key)))
			config_error_unknown(r, str_from(key), rules);
	for (; rules->name.p; rules++) {
		member = json_object_get(value, rules->name.p);
		if (member)
			config_read_member(r, member, rules, base);
		else if (rules->required)
			config_error_missing(r, rules);
	}
}

void
config_read_section(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	config_read_object(r, value, rule->members, out);
}

/* The member "name" of an element, to show where we are; empty where it has none. */
static struct str
config_element_name(struct json_t *element)
{
	return str_from(json_string_value(json_object_get(element, "name")));
}

bool
config_read_list(struct config_reader *r, struct json_t *value, size_t min, size_t max, size_t size, void **out,
    size_t *count, void (*read)(struct config_reader *r, struct json_t *value, void *out, size_t i))
{
	size_t n = json_array_size(value);
	char *elements;

	if (!json_is_array(value) || n < min) {
		config_error_is(r, min ? "must be a list of at least one" : "must be a list", value);
		return false;
	}
	if (n > max) {
		config_error(r, "must be a list of at most %zu, has %zu", max, n);
		return false;
	}
	elements = arena_alloc(&r->config->arena, n * size);
	*out = elements;
	*count = n;
	for (size_t i = 0; i < n; i++) {
		struct json_t *element = json_array_get(value, i);
		size_t mark = config_enter_index(r, i, config_element_name(element));

		read(r, element, elements + i * size, i);
		config_leave(r, mark);
	}
	return true;
}
