/* Who waits at an entry, and the calls under way for it. */
#include "gate/polls_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* The chain of a ticket. */
static struct polls_waiter **
wait_chain(struct polls *polls, struct limiter_ticket ticket)
{
	return &polls->waiters[(ticket.slot * 31u + ticket.worker) % POLLS_WAITER_CHAINS];
}

bool
polls_same_ticket(struct limiter_ticket a, struct limiter_ticket b)
{
	return a.slot == b.slot && a.generation == b.generation && a.worker == b.worker;
}

struct polls_waiter *
polls_find(struct polls *polls, struct limiter_ticket ticket)
{
	struct polls_waiter *waiter = *wait_chain(polls, ticket);

	while (waiter && !polls_same_ticket(waiter->ask.ticket, ticket))
		waiter = waiter->table_next;
	return waiter;
}

static void on_due(void *arg);

/* What an entry has for those who wait at it. */
static struct polls_busy *
wait_busy(struct polls *polls, struct poll_entry *entry)
{
	struct polls_busy *busy = entry->busy;

	if (busy)
		return busy;
	busy = entry->busy = calloc(1, sizeof(*busy));
	check(busy != NULL);
	busy->polls = polls;
	busy->entry = entry;
	TAILQ_INIT(&busy->waiters);
	TAILQ_INIT(&busy->flights);
	loop_timer_init(&busy->due, polls->loops[0], on_due, busy);
	return busy;
}

struct polls_waiter *
polls_wait(struct polls *polls, const struct polls_ask *ask, struct poll_entry *entry)
{
	struct polls_waiter *waiter = calloc(1, sizeof(*waiter)), **chain = wait_chain(polls, ask->ticket);
	struct polls_busy *busy = wait_busy(polls, entry);

	check(waiter != NULL && polls_find(polls, ask->ticket) == NULL);
	waiter->ask = *ask;
	waiter->ask.changes = ask->changes && polls->changes < ask->changes_max;
	polls->changes += waiter->ask.changes;
	atomic_fetch_add_explicit(&polls->waiting, 1, memory_order_relaxed);
	waiter->entry = entry;
	waiter->table_next = *chain;
	*chain = waiter;
	TAILQ_INSERT_TAIL(&busy->waiters, waiter, link);
	return waiter;
}

/* Free what an entry has for those who wait, where nobody does. */
static void
wait_rest(struct polls *polls, struct poll_entry *entry)
{
	struct polls_busy *busy = entry->busy;

	if (busy->holds > 0 || !TAILQ_EMPTY(&busy->waiters))
		return;
	check(TAILQ_EMPTY(&busy->flights));
	loop_timer_fini(&busy->due);
	free(busy);
	entry->busy = NULL;
	poll_table_put(&polls->table, entry);
}

void
polls_forget(struct polls *polls, struct polls_waiter *waiter)
{
	struct polls_waiter **link = wait_chain(polls, waiter->ask.ticket);
	struct poll_entry *entry = waiter->entry;
	struct polls_busy *busy = entry->busy;

	check(waiter->flight == NULL || waiter->flight->leader != waiter);
	while (*link != waiter)
		link = &(*link)->table_next;
	*link = waiter->table_next;
	TAILQ_REMOVE(&busy->waiters, waiter, link);
	polls->changes -= waiter->ask.changes;
	poll_answer_unref(&waiter->saw);
	atomic_fetch_sub_explicit(&polls->waiting, 1, memory_order_relaxed);
	free(waiter);
	wait_rest(polls, entry);
}

void
polls_lead(struct polls_waiter *waiter)
{
	struct polls_busy *busy = waiter->entry->busy;
	struct polls_flight *flight = calloc(1, sizeof(*flight));

	check(flight != NULL && waiter->flight == NULL);
	flight->leader = waiter;
	memcpy(flight->token, waiter->ask.token, sizeof(flight->token));
	flight->shared = waiter->ask.shared;
	flight->common = waiter->ask.shared
	    || poll_table_granted(waiter->entry, waiter->ask.token, loop_now(busy->polls->loops[0]));
	flight->id = ++busy->polls->flight_id;
	waiter->flight = flight;
	TAILQ_INSERT_TAIL(&busy->flights, flight, link);
	polls_fleet_lead(busy->polls, flight);
}

void
polls_hold(struct poll_entry *entry)
{
	((struct polls_busy *)entry->busy)->holds++;
}

void
polls_release(struct polls *polls, struct poll_entry *entry)
{
	((struct polls_busy *)entry->busy)->holds--;
	wait_rest(polls, entry);
}

void
polls_land(struct polls_flight *flight)
{
	struct polls_busy *busy = flight->leader->entry->busy;
	struct polls_waiter *waiter;

	TAILQ_FOREACH(waiter, &busy->waiters, link)
		if (waiter->flight == flight)
			waiter->flight = NULL;
	TAILQ_REMOVE(&busy->flights, flight, link);
	loop_timer_fini(&flight->timer);
	poll_answer_unref(&flight->result);
	free(flight);
}

bool
polls_is_patient(const struct polls_waiter *waiter)
{
	return waiter->flight == NULL && !waiter->looks && waiter->ask.changes && waiter->saw && !waiter->overdue;
}

struct polls_waiter *
polls_first_patient(const struct polls_busy *busy)
{
	struct polls_waiter *waiter;

	TAILQ_FOREACH(waiter, &busy->waiters, link)
		if (polls_is_patient(waiter))
			return waiter;
	return NULL;
}

/* The answer is due again: the first who waits for a change looks, unless somebody does. */
static void
on_due(void *arg)
{
	struct polls_busy *busy = arg;
	struct polls_waiter *waiter;

	if (!TAILQ_EMPTY(&busy->flights))
		return;		/* all who wait hear of its end */
	waiter = polls_first_patient(busy);
	if (waiter)
		polls_lead(waiter);
}

void
polls_forget_all(struct polls *polls)
{
	for (size_t i = 0; i < POLLS_WAITER_CHAINS; i++)
		while (polls->waiters[i]) {
			struct polls_waiter *waiter = polls->waiters[i];

			if (waiter->flight)
				polls_land(waiter->flight);
			polls_forget(polls, waiter);
		}
}
