/*
 * Who waits for the status. It comes by mail from a worker's loop, so it comes later, and perhaps never. One question is under way
 * however many ask: whoever comes meanwhile gets the same answer.
 */
#include <stdlib.h>

#include "base/check.h"
#include "gate/admin_private.h"

/* A worker's loop that does not answer within this is stuck, which is worth knowing at once. */
#define ADMIN_STATUS_US (2 * (int64_t)CLOCK_SECOND)

/* Take a waiter away; its client is free to be answered. */
static void
waiter_free(struct admin_waiter *waiter)
{
	front_set_owner(waiter->client, NULL);
	loop_timer_fini(&waiter->deadline);
	LIST_REMOVE(waiter, link);
	free(waiter);
}

/* Its time is up. */
static void
on_deadline(void *arg)
{
	struct admin_waiter *waiter = arg;
	struct front_request *client = waiter->client;
	struct admin_answer answer = { .refusal = REFUSAL_UNAVAILABLE,
		.message = STR("The limiter has not answered within 2 s: its thread is stuck, or this instance is ending.") };

	waiter_free(waiter);
	admin_reply(client, &answer);
}

void
admin_status_wait(struct admin *admin, struct front_request *client)
{
	struct admin_waiter *waiter = calloc(1, sizeof(*waiter));

	check(waiter != NULL);
	waiter->client = client;
	front_set_owner(client, waiter);
	LIST_INSERT_HEAD(&admin->waiting, waiter, link);
	loop_timer_init(&waiter->deadline, admin->loop, on_deadline, waiter);
	loop_timer_at(&waiter->deadline, mono_add(loop_now(admin->loop), ADMIN_STATUS_US));
	if (admin->asking)
		return;
	admin->asking = true;
	admin->hooks.status(admin->arg);
}

void
admin_status_forget(struct front_request *client)
{
	if (front_owner(client))
		waiter_free(front_owner(client));
}

void
admin_tell_status(struct admin *admin, struct str json)
{
	struct admin_waiter *waiter;

	admin->asking = false;
	while ((waiter = LIST_FIRST(&admin->waiting)) != NULL) {
		struct front_request *client = waiter->client;
		struct admin_answer answer = { .status = 200, .content_type = STR("application/json") };

		waiter_free(waiter);
		buf_add(&answer.body, json);
		admin_reply(client, &answer);
	}
}
