/* The upstream's own word: after its 429 nothing of that identity goes, on any instance, until it may again. */
#include "gate/limiter_private.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"

/* Microseconds that are left of the pause; 0: none. */
int64_t
limiter_paused_us(const struct limiter_identity *identity, struct mono_time now)
{
	int64_t left_us = atomic_load(&identity->paused_until_us) - now.us;

	return left_us > 0 ? left_us : 0;
}

/* Keep a 429 in mind, for people. */
static void
pause_note(struct limiter_identity *identity, int64_t pause_us, bool here)
{
	struct limiter *limiter = identity->limiter;

	limiter->thrown[limiter->thrown_count++ % LIMITER_THROWN_COUNT] = (struct limiter_thrown){ clock_now_wall(),
		limiter_counted(identity),
		pause_us, here };
	limiter->thrown_here += here;
}

/* Nothing goes before PAUSE_US have passed; said once for each pause. */
static void
pause_begin(struct limiter_identity *identity, int64_t pause_us, const char *where, struct mono_time now)
{
	int64_t left_us = limiter_paused_us(identity, now);

	if (left_us == 0)
		log_line(LOG_WARN, "upstream throttled", log_s("identity", buf_str(&identity->name)),
		    log_i("seconds", (pause_us + CLOCK_SECOND - 1) / CLOCK_SECOND), log_z("heard", where));
	if (pause_us > left_us)
		atomic_store(&identity->paused_until_us, now.us + pause_us);
}

/* The store knows of it, or does not: then the next call tells it. */
static void
on_told(void *arg, const struct store_answer *answer)
{
	struct limiter_identity *identity = arg;
	struct mono_time now = loop_now(identity->limiter->loops[0]);

	if (answer->ok) {
		identity->pause_untold = false;
		member_hear(&identity->member, answer->ask, answer->answer, now, now);
		atomic_store(&identity->limit, answer->answer->limit);
	}
	limiter_wake(identity);
}

void
limiter_take_throttled(struct limiter *limiter, const struct limiter_ask *ask, int64_t pause_us)
{
	const struct limiter_view *view = limiter_view_of(limiter, ask->config);
	struct mono_time now = loop_now(limiter->loops[0]);
	struct limiter_identity *identity;
	struct bucket_ask *told = calloc(1, sizeof(*told));

	check(told != NULL);
	identity = ask->identity < view->identity_count ?
	    limiter_principal(limiter, view->identities[ask->identity], ask->principal) : NULL;
	if (identity) {
		pause_note(identity, pause_us, true);
		pause_begin(identity, pause_us, "here", now);
		queue_pause(&identity->queue, mono_add(now, limiter_paused_us(identity, now)));
		identity->pause_untold = true;
		/* At once, whatever call is under way: the other instances are to stop. */
		member_ask(&identity->member, &identity->queue.quota, now, told);
		told->pause_us = pause_us;
		store_take(limiter->store, buf_str(&identity->name), told, NULL, 0, on_told, identity);
		limiter_wake(identity);
	}
	free(told);
}

void
limiter_hear_pause(struct limiter_identity *identity, struct bucket_answer *answer, struct mono_time now)
{
	int64_t left_us;

	if (answer->paused_us > 0 && limiter_paused_us(identity, now) == 0)
		pause_note(identity, answer->paused_us, false);
	if (answer->paused_us > 0)
		pause_begin(identity, answer->paused_us, "from the store", now);
	left_us = limiter_paused_us(identity, now);
	if (left_us == 0)
		return;
	/* What this very call has taken before the upstream's word came lapses. */
	answer->granted = answer->left = 0;
	if (answer->closed == BUCKET_OPEN)	/* what else the store asks for it is to have */
		answer->closed = BUCKET_PAUSED;
	for (size_t i = 0; i < BUCKET_LANES_MAX; i++)
		answer->lanes[i].granted = 0;
	if (answer->wait_us < left_us)
		answer->wait_us = left_us;
}
