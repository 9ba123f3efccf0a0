/* Keys of issuers: from where they come to the workers, and from a token that nobody can check back there. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gate/instance_private.h"

/* Hand the workers the keys that issuers have now. */
static void
on_keys(void *arg)
{
	struct instance *instance = arg;
	struct keyring *keyring = issuers_keyring(instance->issuers);

	for (size_t i = 0; i < instance->worker_count; i++)
		worker_set_keyring(instance->workers[i], keyring);
	keyring_unref(&keyring);
}

struct issuers *
instance_new_issuers(struct instance *instance, struct config *config, struct str proxy, struct buf *error)
{
	struct issuers_settings settings = { .loop = instance->loop, .resolver = instance->resolver, .proxy = proxy,
		.on_change = on_keys, .arg = instance };

	return issuers_new(&settings, config, instance->issuers, error);
}

/* What a worker tells main. */
struct issuers_mail {
	struct mail mail;
	struct instance *instance;
	char issuer[];			/* with a NUL */
};

/* A token has shown a key that is not known. */
static void
on_unknown_key(struct mail *mail)
{
	struct issuers_mail *m = (struct issuers_mail *)mail;

	if (m->instance->issuers)
		issuers_want(m->instance->issuers, str_from(m->issuer));
	free(m);
}

void
instance_on_unknown_key(void *arg, struct str issuer)
{
	struct instance *instance = arg;
	struct issuers_mail *m = calloc(1, sizeof(*m) + issuer.n + 1);

	check(m != NULL);
	m->mail.run = on_unknown_key;
	m->instance = instance;
	memcpy(m->issuer, issuer.p, issuer.n);
	loop_post(instance->loop, &m->mail);
}
