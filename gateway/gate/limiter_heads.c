/* What instances show each other of their journals: it only borrows the limiter's connection. */
#include "gate/limiter_private.h"

/* The store has told the others', or will not. */
static void
on_heads(void *arg, const struct heads *heads, const char *why)
{
	struct limiter *limiter = arg;

	limiter_tell_heads(limiter, &limiter->showing, heads, why);
}

void
limiter_take_show(struct limiter *limiter, const struct heads_head *own, int64_t keep_ms,
    const struct limiter_showing *showing)
{
	struct limiter_showing before = limiter->showing;

	limiter->showing = *showing;
	if (store_show(limiter->store, own, keep_ms, on_heads, limiter))
		return;
	limiter->showing = before;	/* whose call may be under way */
	limiter_tell_heads(limiter, showing, NULL, store_is_up(limiter->store) ? "the store is busy" : "the store is away");
}
