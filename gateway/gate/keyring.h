/*
 * The keys of all issuers of one configuration, as they are known at a moment: never changed, counted, any thread.
 */
#ifndef JOBGATE_GATE_KEYRING_H
#define JOBGATE_GATE_KEYRING_H

#include "io/jose.h"

struct keyring {
	int refs;			/* atomic */
	size_t count;			/* issuers of the configuration, in its order */
	struct jose_keys *keys[];	/* a reference each; NULL: nothing is known yet, or any more */
};

/* A ring for COUNT issuers, of whom nothing is known until its maker has put keys there; one reference. */
struct keyring *keyring_new(size_t count);
struct keyring *keyring_ref(struct keyring *keyring);
void keyring_unref(struct keyring **keyring);

#endif
