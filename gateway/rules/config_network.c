/* Lists of networks in the configuration. */
#include "rules/config_private.h"

#include <jansson.h>

/* Each is compared with each address that comes; whole clouds publish their ranges in a few hundred. */
#define NETWORKS_MAX 1000

/* Read one network. */
static void
read_network(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct str s = { json_string_value(value), json_string_length(value) };
	const char *why = "must be a network as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address";

	(void)i;
	if (json_is_string(value))
		why = network_parse(s, out);
	if (why)
		config_error_is(r, why, value);
}

void
config_read_networks(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct network_list *networks = out;

	(void)rule;
	/* None at all is a list that somebody emptied: it would shut everybody out, or trust nobody, by accident. */
	config_read_list(r, value, 1, NETWORKS_MAX, sizeof(*networks->list), (void **)&networks->list, &networks->count,
	    read_network);
}
