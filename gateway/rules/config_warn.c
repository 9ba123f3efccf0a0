/* Warnings of the configuration: what is right but should be known. */
#include "rules/config_private.h"

/* Common proxies and clients give up after 60 s; an answer must be on its way before. */
#define CONFIG_ANSWER_BY (55 * CONFIG_SECOND)

/* Warn, in one sentence, of the callers whose polls go past the gate. */
static void
warn_preserve(struct config_reader *r)
{
	struct config *config = r->config;
	struct str *names = arena_alloc(&config->arena, config->caller_count * sizeof(*names));
	struct buf list = BUF_EMPTY;
	bool by_default = false;
	size_t count = 0;

	for (size_t i = 0; i < config->caller_count; i++)
		if (config->callers[i].location == CONFIG_LOCATION_PRESERVE) {
			names[count++] = config->callers[i].name;
			by_default |= !config->callers[i].location_given;
		}
	config_list_names(&list, names, count);
	if (count)
		config_warn(r, "polls that follow Location bypass the gate for %s %.*s: \"location\" is \"preserve\"%s",
		    count == 1 ? "caller" : "callers", STR_ARG(buf_str(&list)),
		    by_default ? ", the default without public_url" : "");
	buf_fini(&list);
}

/* Warn of callers that can do nothing at all. */
static void
warn_shut_out(struct config_reader *r)
{
	struct config *config = r->config;
	struct str *names = arena_alloc(&config->arena, config->caller_count * sizeof(*names));
	struct buf list = BUF_EMPTY;
	size_t count = 0;

	for (size_t i = 0; i < config->caller_count; i++)
		if (config->callers[i].allow_given && config->callers[i].allow_count == 0)
			names[count++] = config->callers[i].name;
	config_list_names(&list, names, count);
	if (count)
		config_warn(r, "an empty \"allow\" permits nothing to %.*s", STR_ARG(buf_str(&list)));
	buf_fini(&list);
}

/* Warn of callers whose own wait makes answers come after they have given up. */
static void
warn_caller_waits(struct config_reader *r)
{
	struct config *config = r->config;
	struct str *names = arena_alloc(&config->arena, config->caller_count * sizeof(*names));
	struct buf list = BUF_EMPTY;
	size_t count = 0;

	for (size_t i = 0; i < config->caller_count; i++) {
		int64_t wait_us = config->callers[i].wait_max_us;

		if (wait_us > config->wait_max_us && wait_us + config->upstream.timeout_us > CONFIG_ANSWER_BY)
			names[count++] = config->callers[i].name;
	}
	config_list_names(&list, names, count);
	if (count)
		config_warn(r, "wait.max of %.*s and upstream.timeout make more than 55 s together: many proxies and clients "
		    "give up after 60 s and do not see the answer", STR_ARG(buf_str(&list)));
	buf_fini(&list);
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
	if (config->admin.port && !config_is_loopback(&config->admin))
		config_warn(r, "admin.address %.*s is not on loopback: whoever reaches it reads metrics and health",
		    STR_ARG(config->admin.address));
	if (config->wait_max_us + config->upstream.timeout_us > CONFIG_ANSWER_BY)
		config_warn(r, "wait.max and upstream.timeout make more than 55 s together: many proxies and clients "
		    "give up after 60 s and do not see the answer");
}
