/* What no single value of the configuration shows: what depends on others, what must differ. */
#include "rules/config_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/proxy.h"

struct name_place {
	struct str name;
	size_t index;
};

/* By name, then by place. */
static int
name_place_compare(const void *a, const void *b)
{
	const struct name_place *x = a, *y = b;
	size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
	int order = n ? memcmp(x->name.p, y->name.p, n) : 0;

	if (order == 0)
		order = x->name.n < y->name.n ? -1 : x->name.n > y->name.n;
	if (order == 0)
		order = x->index < y->index ? -1 : 1;
	return order;
}

/* The names of COUNT elements of SIZE bytes, each of which begins with its name (or id), in order. */
static struct name_place *
sorted_names(struct config_reader *r, const void *elements, size_t size, size_t count)
{
	struct name_place *places = arena_alloc(&r->config->arena, count * sizeof(*places));

	for (size_t i = 0; i < count; i++)
		places[i] = (struct name_place){ *(const struct str *)((const char *)elements + i * size), i };
	qsort(places, count, sizeof(*places), name_place_compare);
	return places;
}

/* Complain of each element that has the name of one before, which FIELD is; the path is at their list. */
static void
check_unique(struct config_reader *r, const void *elements, size_t size, size_t count, const char *field)
{
	struct name_place *places = sorted_names(r, elements, size, count);
	size_t list = r->path.n, first = 0;

	for (size_t i = 1; i < count; i++) {
		if (!str_eq(places[i].name, places[first].name)) {
			first = i;
			continue;
		}
		if (places[i].name.n == 0)	/* could not be read */
			continue;
		config_enter_index(r, places[i].index, places[i].name);
		config_enter(r, str_from(field));
		config_error(r, "is taken by %.*s[%zu]", (int)list, r->path.p, places[first].index);
		config_leave(r, list);
	}
}

_Static_assert(offsetof(struct config_identity, name) == 0 && offsetof(struct config_caller, name) == 0 &&
    offsetof(struct config_limit, name) == 0 && offsetof(struct config_key, id) == 0 &&
    offsetof(struct config_issuer, issuer) == 0 && offsetof(struct config_token, id) == 0 &&
    offsetof(struct config_certificate, id) == 0,
    "check_unique reads a name at the beginning");

/* The same for the list KEY at the top. */
static void
check_names(struct config_reader *r, const char *key, const void *elements, size_t size, size_t count)
{
	size_t mark = config_enter(r, str_from(key));

	check_unique(r, elements, size, count, "name");
	config_leave(r, mark);
}

/* No issuer may stand twice: a token says its issuer, and that must tell its keys. */
static void
check_issuers(struct config_reader *r)
{
	size_t mark = config_enter(r, STR("issuers"));

	check_unique(r, r->config->issuers, sizeof(*r->config->issuers), r->config->issuer_count, "issuer");
	config_leave(r, mark);
}

/* Complain of the tokens of CALLER that have the id of one of its keys. */
static void
check_token_ids(struct config_reader *r, const struct config_caller *caller)
{
	struct name_place *keys = sorted_names(r, caller->keys, sizeof(*caller->keys), caller->key_count);
	struct name_place *tokens = sorted_names(r, caller->tokens, sizeof(*caller->tokens), caller->token_count);
	size_t list = r->path.n;

	for (size_t k = 0, t = 0; k < caller->key_count && t < caller->token_count;) {
		if (!str_eq(keys[k].name, tokens[t].name)) {
			struct name_place key = { keys[k].name, 0 }, token = { tokens[t].name, 0 };

			*(name_place_compare(&key, &token) < 0 ? &k : &t) += 1;
			continue;
		}
		config_enter_index(r, tokens[t].index, (struct str){ NULL, 0 });
		config_enter(r, STR("id"));
		config_error(r, "\"%.*s\" is taken by keys[%zu]", STR_ARG(tokens[t].name), keys[k].index);
		config_leave(r, list);
		t++;
	}
}

/* Complain of each certificate that has the id of a key; the path is at their list. There are few of them. */
static void
check_certificate_ids(struct config_reader *r, const struct config_caller *caller)
{
	size_t list = r->path.n;

	for (size_t i = 0; i < caller->certificate_count; i++)
		for (size_t k = 0; k < caller->key_count; k++) {
			if (!str_eq(caller->certificates[i].id, caller->keys[k].id) || caller->keys[k].id.n == 0)
				continue;
			config_enter_index(r, i, caller->certificates[i].id);
			config_enter(r, STR("id"));
			config_error(r, "is taken by the caller's keys[%zu]", k);
			config_leave(r, list);
		}
}

/* Records name what identified a caller by its id, so one caller's ids must differ. */
static void
check_key_ids(struct config_reader *r, const struct config_caller *caller)
{
	size_t caller_mark = config_enter_item(r, "callers", caller->index, caller->name), mark;

	mark = config_enter(r, STR("keys"));
	check_unique(r, caller->keys, sizeof(*caller->keys), caller->key_count, "id");
	config_leave(r, mark);
	mark = config_enter(r, STR("tokens"));
	check_unique(r, caller->tokens, sizeof(*caller->tokens), caller->token_count, "id");
	check_token_ids(r, caller);
	config_leave(r, mark);
	mark = config_enter(r, STR("certificates"));
	check_unique(r, caller->certificates, sizeof(*caller->certificates), caller->certificate_count, "id");
	check_certificate_ids(r, caller);
	config_leave(r, mark);
	config_leave(r, caller_mark);
}

/* Complain of a key of upstream. */
static void
config_error_upstream(struct config_reader *r, const char *key, const char *text)
{
	size_t mark = config_enter(r, STR("upstream"));

	config_enter(r, str_from(key));
	config_error(r, "%s", text);
	config_leave(r, mark);
}

/* Make Host, origin and verified name of the upstream out of url and server_name. */
static void
finish_upstream(struct config_reader *r)
{
	struct config *config = r->config;
	struct str host = config->upstream.host;
	struct arena *arena = &config->arena;

	if (host.n == 0)
		return;
	if (r->server_name_given) {
		config->upstream.authority = config->upstream.server_name;
	} else {
		config->upstream.server_name = host;
		config->upstream.authority = arena_printf(arena, r->upstream_ipv6 ? "[%.*s]" : "%.*s", STR_ARG(host));
		if (config->upstream.port != 443)
			config->upstream.authority = arena_printf(arena, "%.*s:%u", STR_ARG(config->upstream.authority),
			    config->upstream.port);
	}
	if (config->upstream.private_link && (r->upstream_ipv6 || proxy_is_address(host)))
		config_error_upstream(r, "private_link", "needs a name in \"url\", before which the workspace's is put");
	config->upstream.origin = arena_printf(arena, "https://%.*s", STR_ARG(config->upstream.authority));
}

/* Give identities without a quota that of the upstream; there must be one for each. */
static void
finish_identities(struct config_reader *r)
{
	struct config *config = r->config;

	if (!r->identities_given) {
		config->identities = arena_alloc(&config->arena, sizeof(*config->identities));
		config->identities[0].name = STR("default");
		config->identity_count = 1;
	}
	for (size_t i = 0; i < config->identity_count; i++) {
		struct config_identity *identity = &config->identities[i];

		if (identity->quota.requests != 0)
			continue;
		identity->quota = r->upstream_quota;
		if (r->upstream_quota.requests == 0) {
			size_t mark = config_enter(r, STR("upstream"));

			config_enter(r, STR("quota"));
			config_error(r, "is missing, and identity \"%.*s\" has none of its own",
			    STR_ARG(identity->name));
			config_leave(r, mark);
		}
	}
}

/* Say that the identity WANTED is none of ours. */
static void
error_identity(struct config_reader *r, struct str wanted)
{
	struct config *config = r->config;
	struct str *names = calloc(config->identity_count, sizeof(*names));
	struct buf list = BUF_EMPTY;

	check(names != NULL);
	for (size_t i = 0; i < config->identity_count; i++)
		names[i] = config->identities[i].name;
	config_list_names(&list, names, config->identity_count);
	config_enter(r, STR("identity"));
	config_error(r, "there is no identity \"%.*s\"; there is %.*s", STR_ARG(wanted), STR_ARG(buf_str(&list)));
	buf_fini(&list);
	free(names);
}

/* Turn the name WANTED, that of the identity of element I of LIST, which is called NAME, into its index. */
static void
finish_identity(struct config_reader *r, const char *list, size_t i, struct str name, struct str wanted,
    size_t *identity)
{
	size_t mark;

	if (wanted.p == NULL || r->identities_bad)
		return;
	for (size_t k = 0; k < r->config->identity_count; k++)
		if (str_eq(r->config->identities[k].name, wanted)) {
			*identity = k;
			return;
		}
	mark = config_enter_item(r, list, i, name);
	error_identity(r, wanted);
	config_leave(r, mark);
}

static void
finish_caller_location(struct config_reader *r, struct config_caller *caller)
{
	bool public_url = r->config->public_origin.n != 0;

	if (!caller->location_given)
		caller->location = public_url ? CONFIG_LOCATION_REWRITE : CONFIG_LOCATION_PRESERVE;
	if (caller->location == CONFIG_LOCATION_REWRITE && !public_url && !r->public_url_bad) {
		size_t mark = config_enter_item(r, "callers", caller->index, caller->name);

		config_enter(r, STR("location"));
		config_error(r, "\"rewrite\" needs public_url, the origin that callers see");
		config_leave(r, mark);
	}
}

/* A quota for each token is of use only where callers' own tokens go upstream and can be verified. */
static void
check_per_token(struct config_reader *r)
{
	for (size_t i = 0; i < r->config->identity_count; i++) {
		const struct config_identity *identity = &r->config->identities[i];
		size_t mark;

		if (!identity->per_token)
			continue;
		mark = config_enter_item(r, "identities", i, identity->name);
		config_enter(r, STR("per_token"));
		if (identity->credential.kind != CONFIG_CREDENTIAL_NONE)
			config_error(r, "has no meaning with a credential: the upstream sees one principal");
		else if (r->config->issuer_count == 0)
			config_error(r, "needs issuers: a token that is not verified chooses no bucket");
		config_leave(r, mark);
	}
}

/* The gateway's own rights must not become everybody's by an omission. */
static void
finish_caller_allow(struct config_reader *r, const struct config_caller *caller)
{
	const struct config_identity *identity = &r->config->identities[caller->identity];
	size_t mark;

	if (caller->allow_given || identity->credential.kind == CONFIG_CREDENTIAL_NONE)
		return;
	mark = config_enter_item(r, "callers", caller->index, caller->name);
	config_enter(r, STR("allow"));
	config_error(r, "is missing, and identity \"%.*s\" has a credential: say what this caller may do with it ([{}] permits all)",
	    STR_ARG(identity->name));
	config_leave(r, mark);
}

static void
finish_callers(struct config_reader *r)
{
	struct config *config = r->config;

	for (size_t i = 0; i < config->caller_count; i++) {
		struct config_caller *caller = &config->callers[i];

		if (caller->wait_max_us == 0)
			caller->wait_max_us = config->wait_max_us;
		if (caller->wait_queue == 0)
			caller->wait_queue = config->wait_queue;
		finish_identity(r, "callers", i, caller->name, r->caller_identities[i], &caller->identity);
		finish_caller_location(r, caller);
		if (!r->identities_bad)
			finish_caller_allow(r, caller);
	}
}

/* Find the identities that rules name. */
static void
finish_limits(struct config_reader *r)
{
	for (size_t i = 0; i < r->config->rate_limit_count; i++) {
		struct config_limit *limit = &r->config->rate_limits[i];

		finish_identity(r, "rules", i, limit->name, r->limit_identities[i], &limit->identity);
	}
}

/* Make the tables of keys and tokens. One that stands twice has its id twice too, which need not be said. */
static void
finish_keys(struct config_reader *r)
{
	size_t errors = r->error_count;

	config_index_keys(r);
	config_index_tokens(r);
	config_index_certificates(r);
	if (r->error_count != errors)
		return;
	for (size_t i = 0; i < r->config->caller_count; i++)
		if (r->config->callers[i].key_count + r->config->callers[i].token_count + r->config->callers[i].certificate_count > 1)
			check_key_ids(r, &r->config->callers[i]);
}

/* Complain where listener I is on the address of OTHER, which WHO names. */
static void
check_address(struct config_reader *r, size_t i, const struct config_listen *other, const char *who)
{
	const struct config_listen *listen = &r->config->listen[i];
	size_t mark;

	if (listen->port == 0 || !config_same_address(listen, other))
		return;
	mark = config_enter_item(r, "listen", i, (struct str){ NULL, 0 });
	config_enter(r, STR("address"));
	config_error(r, "\"%.*s\" is taken by %s (\"%.*s\")", STR_ARG(listen->address), who, STR_ARG(other->address));
	config_leave(r, mark);
}

static void
check_addresses(struct config_reader *r)
{
	struct config *config = r->config;
	char who[32];

	for (size_t i = 0; i < config->listen_count; i++) {
		if (config->admin.port)
			check_address(r, i, &config->admin, "admin");
		for (size_t j = 0; j < i; j++) {
			snprintf(who, sizeof(who), "listen[%zu]", j);
			check_address(r, i, &config->listen[j], who);
		}
	}
}

/* By the time alone a run can only be found by who knows of all runs, and that is one instance. */
static void
check_resolve(struct config_reader *r)
{
	size_t mark;

	if (r->config->resolve.match != CONFIG_MATCH_TIME || !r->config->store.redis)
		return;
	mark = config_enter(r, STR("resolve"));
	config_enter(r, STR("match"));
	config_error(r, "\"time\" is for one instance without store.redis: those that share it may have started the same job "
	    "at the same time; say \"activity\"");
	config_leave(r, mark);
}

void
config_finish(struct config_reader *r)
{
	struct config *config = r->config;

	finish_upstream(r);
	finish_identities(r);
	check_names(r, "identities", config->identities, sizeof(*config->identities), config->identity_count);
	check_issuers(r);
	check_per_token(r);
	check_names(r, "callers", config->callers, sizeof(*config->callers), config->caller_count);
	check_names(r, "rules", config->rate_limits, sizeof(*config->rate_limits), config->rate_limit_count);
	finish_callers(r);
	finish_limits(r);
	finish_keys(r);
	check_addresses(r);
	check_resolve(r);
	config_finish_polls(r);
	if (r->error_count == 0)
		config_warn_all(r);
}
