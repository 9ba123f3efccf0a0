/* Draining: readyz first, then the listeners, then who waits, then who was sent. */
#include "gate/instance.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/instance_private.h"
#include "io/machine.h"

/* After the abort records are written and answers flushed; this long at most. */
#define DRAIN_LAST_US (3 * (int64_t)CLOCK_SECOND)
/* The good-bye to the fleet, and the ends of the last claims: a store that hangs does not hold the end up longer than this. */
#define DRAIN_LEAVE_US CLOCK_SECOND

/* Close the listeners and let the workers finish. */
static void
drain_close(struct instance *instance)
{
	if (instance->listeners_closed)
		return;
	instance->listeners_closed = true;
	loop_timer_clear(&instance->delay);
	spread_stop(&instance->shared.spread);
	for (size_t i = 0; i < instance->worker_count; i++)
		worker_drain(instance->workers[i]);
}

/* drain.delay is over. */
static void
on_delay(void *arg)
{
	drain_close(arg);
}

/* What is open now is recorded as unknown. */
static void
drain_abort(struct instance *instance)
{
	if (instance->aborted)
		return;
	instance->aborted = true;
	drain_close(instance);
	for (size_t i = 0; i < instance->worker_count; i++)
		worker_abort(instance->workers[i]);
	loop_timer_at(&instance->timeout, mono_add(loop_now(instance->loop), DRAIN_LAST_US));
}

/*
 * drain.timeout is over; the second time a disk hangs, and waiting for its records would be for ever. With all work done it is
 * the store that hangs: the others keep this instance's part back until it is forgotten.
 */
static void
on_timeout(void *arg)
{
	struct instance *instance = arg;

	if (instance->leaving) {
		log_line(LOG_WARN, "the store does not hear the good-bye, or how the last requests with a key ended");
		loop_stop(instance->loop);
		return;
	}
	if (!instance->aborted) {
		drain_abort(instance);
		return;
	}
	log_line(LOG_ERROR, "drain gave up waiting for the last records");
	instance->gave_up = true;
	loop_stop(instance->loop);
}

bool
instance_gave_up(const struct instance *instance)
{
	return instance->gave_up;
}

struct drained_mail {
	struct mail mail;
	struct instance *instance;
};

/* Have RUN read a mail on main's loop. */
static void
drain_post(struct instance *instance, void (*run)(struct mail *mail))
{
	struct drained_mail *mail = calloc(1, sizeof(*mail));

	check(mail != NULL);
	mail->mail.run = run;
	mail->instance = instance;
	loop_post(instance->loop, &mail->mail);
}

/* One of the two who tell the store something has done so; on main's loop. */
static void
on_done(struct mail *mail)
{
	struct instance *instance = ((struct drained_mail *)mail)->instance;

	free(mail);
	if (--instance->telling > 0)
		return;
	loop_timer_clear(&instance->timeout);
	loop_stop(instance->loop);
}

/* The fleet knows that this instance goes, or how the last claims ended, or cannot be told; on worker 0's loop. */
static void
on_left(void *arg)
{
	drain_post(arg, on_done);
}

/* Until when the good-bye is waited for: within drain.timeout. */
static struct mono_time
drain_leave_by(const struct instance *instance)
{
	struct mono_time by = mono_add(loop_now(instance->loop), DRAIN_LEAVE_US);

	return mono_since(by, instance->drain_by) > 0 ? instance->drain_by : by;
}

/* A worker has nothing left; on main's loop. */
static void
on_worker_drained(struct mail *mail)
{
	struct instance *instance = ((struct drained_mail *)mail)->instance;

	free(mail);
	if (++instance->drained < instance->worker_count || instance->gave_up)
		return;
	instance->leaving = true;
	anchors_show(instance->anchors);	/* once more: the others are to know how it ended */
	loop_timer_at(&instance->timeout, drain_leave_by(instance));
	instance->telling = 2;
	limiter_leave(instance->limiter, on_left, instance);
	claims_leave(instance->claims, on_left, instance);
}

void
instance_on_drained(struct worker *worker)
{
	drain_post(worker->shared->arg, on_worker_drained);
}

void
instance_init_drain(struct instance *instance)
{
	loop_timer_init(&instance->delay, instance->loop, on_delay, instance);
	loop_timer_init(&instance->timeout, instance->loop, on_timeout, instance);
}

void
instance_fini_drain(struct instance *instance)
{
	loop_timer_fini(&instance->delay);
	loop_timer_fini(&instance->timeout);
}

/* When to record what is open as unknown, so that the last records are written and the process has ended by drain.timeout. */
static int64_t
drain_abort_us(int64_t timeout_us)
{
	int64_t tenth = timeout_us / 10;

	return timeout_us - (tenth < CLOCK_SECOND ? tenth : CLOCK_SECOND);
}

void
instance_drain(struct instance *instance)
{
	struct mono_time now = loop_now(instance->loop);

	if (atomic_exchange(&instance->draining, true)) {
		if (instance->leaving)
			return;
		log_line(LOG_WARN, "second signal: what is open is recorded as unknown");
		drain_abort(instance);
		return;
	}
	log_line(LOG_INFO, "draining");
	machine_notify("STOPPING=1");
	instance->drain_by = mono_add(now, instance->config->drain_timeout_us);
	loop_timer_clear(&instance->look);
	loop_timer_at(&instance->timeout, mono_add(now, drain_abort_us(instance->config->drain_timeout_us)));
	if (instance->config->drain_delay_us > 0)
		loop_timer_at(&instance->delay, mono_add(now, instance->config->drain_delay_us));
	else
		drain_close(instance);
}
