/* Warnings of the configuration: what is right but should be known. */
#include "rules/config_private.h"

/* Common proxies and clients give up after 60 s; an answer must be on its way before. */
#define CONFIG_ANSWER_BY (55 * CONFIG_SECOND)

/* Add the names of the callers that are so to LIST; returns how many. */
static size_t
list_callers(struct config_reader *r, bool (*is_so)(const struct config *config, const struct config_caller *caller),
    struct buf *list)
{
	struct config *config = r->config;
	struct str *names = arena_alloc(&config->arena, config->caller_count * sizeof(*names));
	size_t count = 0;

	for (size_t i = 0; i < config->caller_count; i++)
		if (is_so(config, &config->callers[i]))
			names[count++] = config->callers[i].name;
	config_list_names(list, names, count);
	return count;
}

/* Whether CALLER's polls go past the gate. */
static bool
is_preserved(const struct config *config, const struct config_caller *caller)
{
	(void)config;
	return caller->location == CONFIG_LOCATION_PRESERVE;
}

/* Whether the polls of one of them do so because nothing else was said. */
static bool
is_preserved_by_default(const struct config *config)
{
	for (size_t i = 0; i < config->caller_count; i++)
		if (is_preserved(config, &config->callers[i]) && !config->callers[i].location_given)
			return true;
	return false;
}

/* Warn, in one sentence, of the callers whose polls go past the gate. */
static void
warn_preserve(struct config_reader *r)
{
	struct buf list = BUF_EMPTY;
	size_t count = list_callers(r, is_preserved, &list);

	if (count)
		config_warn(r, "polls that follow Location bypass the gate for %s %.*s: \"location\" is \"preserve\"%s",
		    count == 1 ? "caller" : "callers", STR_ARG(buf_str(&list)),
		    is_preserved_by_default(r->config) ? ", the default without public_url" : "");
	buf_fini(&list);
}

/* Whether CALLER can do nothing at all. */
static bool
is_shut_out(const struct config *config, const struct config_caller *caller)
{
	(void)config;
	return caller->allow_given && caller->allow_count == 0;
}

/* Warn of callers that can do nothing at all. */
static void
warn_shut_out(struct config_reader *r)
{
	struct buf list = BUF_EMPTY;

	if (list_callers(r, is_shut_out, &list))
		config_warn(r, "an empty \"allow\" permits nothing to %.*s", STR_ARG(buf_str(&list)));
	buf_fini(&list);
}

/* Whether CALLER's own wait makes answers come after it has given up. */
static bool
waits_too_long(const struct config *config, const struct config_caller *caller)
{
	return caller->wait_max_us > config->wait_max_us &&
	    caller->wait_max_us + config->upstream.timeout_us > CONFIG_ANSWER_BY;
}

/* Warn of callers whose own wait makes answers come after they have given up. */
static void
warn_caller_waits(struct config_reader *r)
{
	struct buf list = BUF_EMPTY;

	if (list_callers(r, waits_too_long, &list))
		config_warn(r, "wait.max of %.*s and upstream.timeout make more than 55 s together: many proxies and clients "
		    "give up after 60 s and do not see the answer", STR_ARG(buf_str(&list)));
	buf_fini(&list);
}

/* Whether CALLER's rate is above all that its identity has; both products stay under 2^60. */
static bool
is_rate_above_quota(const struct config *config, const struct config_caller *caller)
{
	const struct config_quota *quota = &config->identities[caller->identity].quota;

	return caller->rate.requests * quota->window_us >
	    (quota->requests - quota->outside) * caller->rate.window_us;
}

/* Warn of callers whose rate never binds. */
static void
warn_caller_rates(struct config_reader *r)
{
	struct buf list = BUF_EMPTY;

	if (list_callers(r, is_rate_above_quota, &list))
		config_warn(r, "\"rate\" of %.*s is above the whole quota of the identity: in the long run it limits nothing",
		    STR_ARG(buf_str(&list)));
	buf_fini(&list);
}

/* Whether CALLER is known by certificates. */
static bool
has_certificates(const struct config *config, const struct config_caller *caller)
{
	(void)config;
	return caller->certificate_count > 0;
}

/* Warn of certificates that nobody is asked for. */
static void
warn_certificates(struct config_reader *r)
{
	struct buf list = BUF_EMPTY;
	bool asked = false;

	for (size_t i = 0; i < r->config->listen_count; i++)
		asked = asked || r->config->listen[i].client_ca_file.n;
	if (!asked && list_callers(r, has_certificates, &list))
		config_warn(r, "\"certificates\" of %.*s count for nothing: no listener has \"client_ca_file\"", STR_ARG(buf_str(&list)));
	buf_fini(&list);
}

/* Warn of listeners where anybody may say to be anybody. */
static void
warn_proxies(struct config_reader *r)
{
	for (size_t i = 0; i < r->config->listen_count; i++) {
		const struct network_list *proxies = &r->config->listen[i].trusted_proxies;

		for (size_t k = 0; k < proxies->count; k++)
			if (proxies->list[k].prefix == 0 || proxies->list[k].prefix == NETWORK_IPV4_BITS)
				config_warn(r, "listen[%zu].trusted_proxies has a network of all addresses: whoever connects may say to "
				    "come from anywhere", i);
	}
}

void
config_warn_all(struct config_reader *r)
{
	struct config *config = r->config;

	if (!config->store.redis)
		config_warn(r, "no store is set: the quota is counted for this instance alone");
	warn_preserve(r);
	warn_shut_out(r);
	warn_caller_waits(r);
	warn_caller_rates(r);
	warn_proxies(r);
	warn_certificates(r);
	if (config->admin.port && !config_is_loopback(&config->admin))
		config_warn(r, "admin.address %.*s is not on loopback: whoever reaches it reads metrics and health",
		    STR_ARG(config->admin.address));
	if (config->wait_max_us + config->upstream.timeout_us > CONFIG_ANSWER_BY)
		config_warn(r, "wait.max and upstream.timeout make more than 55 s together: many proxies and clients "
		    "give up after 60 s and do not see the answer");
}
