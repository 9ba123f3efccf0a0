/* Good-bye: a member that goes gives its part of every quota up, so that nothing is kept back for it. */
#include <stdlib.h>

#include "base/check.h"
#include "gate/limiter_private.h"

/* A good-bye has arrived, or cannot. */
static void
leave_done(struct limiter *limiter)
{
	if (--limiter->leaving == 0)
		limiter->left(limiter->left_arg);
}

static void
on_left(void *arg, const struct store_answer *answer)
{
	(void)answer;
	leave_done(arg);
}

/* Ask for nothing any more, and say so. */
static void
leave_identity(struct limiter_identity *identity, struct bucket_ask *ask)
{
	struct limiter *limiter = identity->limiter;

	identity->left = true;
	*ask = (struct bucket_ask){ 0 };
	member_ask(&identity->member, &identity->queue.quota, loop_now(limiter->loops[0]), ask);
	ask->leave = true;
	limiter->leaving++;
	if (!store_take(limiter->store, buf_str(&identity->name), ask, NULL, 0, on_left, limiter))
		leave_done(limiter);
	limiter_wake(identity);
}

void
limiter_take_leave(struct limiter *limiter, void (*done)(void *arg), void *arg)
{
	struct bucket_ask *ask = calloc(1, sizeof(*ask));
	struct limiter_identity *identity;

	check(ask != NULL && limiter->left == NULL);
	limiter->left = done;
	limiter->left_arg = arg;
	limiter->leaving = 1;		/* so that it is not done before all have begun */
	for (identity = limiter->identities; identity; identity = identity->next)
		leave_identity(identity, ask);
	free(ask);
	leave_done(limiter);
}
