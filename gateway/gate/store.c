/* The store of the buckets: calls go to its kind. */
#include "gate/store_private.h"

bool
store_take(struct store *store, struct str identity, const struct bucket_ask *ask, const struct store_look *looks, size_t look_count,
    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg)
{
	return store->kind->take(store, identity, ask, looks, look_count, on_answer, arg);
}

bool
store_glance(struct store *store, struct str identity, struct store_glance *glance)
{
	return store->kind->glance && store->kind->glance(store, identity, glance);
}

bool
store_show(struct store *store, const struct heads_head *own, int64_t keep_ms,
    void (*on_heads)(void *arg, const struct heads *heads, const char *why), void *arg)
{
	return store->kind->show && store->kind->show(store, own, keep_ms, on_heads, arg);
}

bool
store_is_up(const struct store *store)
{
	return store->kind->is_up(store);
}

bool
store_evicts(const struct store *store)
{
	return store->evicts;
}

void
store_free(struct store **store)
{
	if (*store)
		(*store)->kind->free(*store);
	*store = NULL;
}
