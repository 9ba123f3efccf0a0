/* For whom a proxy asks. */
#include "rules/forwarded.h"

/* Take the last element of a list off its end. */
static struct str
take_last(struct str *list)
{
	size_t at = list->n;
	struct str last;

	while (at > 0 && list->p[at - 1] != ',')
		at--;
	last = str_trim(str_sub(*list, at, list->n));
	*list = at > 0 ? str_sub(*list, 0, at - 1) : (struct str){ NULL, 0 };
	return last;
}

/* What one field's value tells. */
enum told { TOLD_NOTHING, TOLD_CLIENT, TOLD_PROXIES, TOLD_NONSENSE };

/* Read VALUE from its end, until a hop is none of TRUSTED. */
static enum told
read_hops(struct str value, const struct network_list *trusted, struct network_address *address, struct str *host)
{
	do {
		struct str hop = take_last(&value);

		if (!network_parse_hop(hop, address, host))
			return TOLD_NONSENSE;
		if (!network_any_holds(trusted, address))
			return TOLD_CLIENT;
	} while (value.p);
	return TOLD_PROXIES;
}

enum forwarded
forwarded_client(const struct http1_head *head, const struct network_list *trusted, struct network_address *address,
    struct str *host)
{
	struct network_address found;
	enum told told = TOLD_NOTHING;
	struct str text;

	for (size_t i = head->field_count; i-- > 0;) {
		if (!str_eq_nocase(head->fields[i].name, STR("X-Forwarded-For")))
			continue;
		told = read_hops(head->fields[i].value, trusted, &found, &text);
		if (told != TOLD_PROXIES)
			break;
	}
	if (told == TOLD_NOTHING)
		return FORWARDED_ABSENT;
	if (told == TOLD_NONSENSE)
		return FORWARDED_UNREADABLE;
	*address = found;
	*host = text;
	return FORWARDED_CLIENT;
}
