/* What the kinds of store share; private to gate/store. */
#ifndef JOBGATE_GATE_STORE_PRIVATE_H
#define JOBGATE_GATE_STORE_PRIVATE_H

#include "gate/store.h"

struct store_kind {
	bool (*is_up)(const struct store *store);
	bool (*take)(struct store *store, struct str identity, const struct bucket_ask *ask, const struct store_look *looks,
	    size_t look_count,
	    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg);
	/* NULL: there are no others; so too of show. */
	bool (*glance)(struct store *store, struct str identity, struct store_glance *glance);
	bool (*show)(struct store *store, const struct heads_head *own, int64_t keep_ms,
	    void (*on_heads)(void *arg, const struct heads *heads, const char *why), void *arg);
	void (*free)(struct store *store);
};

/* Stands first in each kind's own struct. */
struct store {
	const struct store_kind *kind;
	bool evicts;			/* it may drop buckets */
};

#endif
