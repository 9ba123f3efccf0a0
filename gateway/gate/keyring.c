/* The keys of all issuers at a moment. */
#include "gate/keyring.h"

#include <stdlib.h>

#include "base/check.h"

struct keyring *
keyring_new(size_t count)
{
	struct keyring *keyring = calloc(1, sizeof(*keyring) + count * sizeof(keyring->keys[0]));

	check(keyring != NULL);
	keyring->refs = 1;
	keyring->count = count;
	return keyring;
}

struct keyring *
keyring_ref(struct keyring *keyring)
{
	check(__atomic_fetch_add(&keyring->refs, 1, __ATOMIC_RELAXED) > 0);
	return keyring;
}

void
keyring_unref(struct keyring **slot)
{
	struct keyring *keyring = *slot;

	*slot = NULL;
	if (keyring == NULL || __atomic_sub_fetch(&keyring->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < keyring->count; i++)
		jose_keys_unref(&keyring->keys[i]);
	free(keyring);
}
