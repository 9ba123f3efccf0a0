/* Tokens on their way: from main's loop to the workers, and the workers' word of a refused one back. */
#include <stdlib.h>

#include "base/check.h"
#include "gate/instance_private.h"

struct instance_turned_away {
	struct mail mail;
	struct instance *instance;
	size_t identity;
	uint64_t version;
};

/* Hand a token to every worker. */
static void
on_publish(void *arg, size_t identity, struct access_token *access)
{
	struct instance *instance = arg;

	for (size_t i = 0; i < instance->worker_count; i++)
		worker_set_access(instance->workers[i], identity, access);
}

void
instance_start_access(struct instance *instance)
{
	struct access_settings settings = { .loop = instance->loop, .resolver = instance->resolver, .publish = on_publish,
		.arg = instance };

	instance->access = access_tokens_new(&settings, instance->config, buf_str(&instance->proxy));
}

/* On main's loop; at the end of all nobody asks any more. */
static void
on_turned_away(struct mail *mail)
{
	struct instance_turned_away *m = (struct instance_turned_away *)mail;

	if (m->instance->access)
		access_tokens_turned_away(m->instance->access, m->identity, m->version);
	free(m);
}

void
instance_on_turned_away(void *arg, size_t identity, uint64_t version)
{
	struct instance *instance = arg;
	struct instance_turned_away *m = calloc(1, sizeof(*m));

	check(m != NULL);
	m->mail.run = on_turned_away;
	m->instance = instance;
	m->identity = identity;
	m->version = version;
	loop_post(instance->loop, &m->mail);
}
