/* The store of the buckets: calls go to its kind. */
#include "gate/store_private.h"

bool
store_take(struct store *store, const struct store_call *call,
    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg)
{
	return store->kind->take(store, call, on_answer, arg);
}

int64_t
store_keep_us(const struct store *store)
{
	return store->kind->keep_us;
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
