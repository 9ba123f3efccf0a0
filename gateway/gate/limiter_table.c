/* Requests of the limiter by their tickets: a table of chains. */
#include "gate/limiter_private.h"

#include "base/check.h"

/* The chain that TICKET belongs to. */
static struct limiter_request **
table_chain(struct limiter *limiter, struct limiter_ticket ticket)
{
	/* Slots are dense within a worker, and used again while what was granted to their last holder is remembered. */
	return &limiter->table[(ticket.slot + ticket.worker * 1031u + ticket.generation * 389u) % LIMITER_TABLE_SIZE];
}

/* Do both name the same request? */
static bool
ticket_eq(struct limiter_ticket a, struct limiter_ticket b)
{
	return a.worker == b.worker && a.slot == b.slot && a.generation == b.generation;
}

struct limiter_request *
limiter_table_find(struct limiter *limiter, struct limiter_ticket ticket)
{
	struct limiter_request *request = *table_chain(limiter, ticket);

	while (request && !ticket_eq(request->ticket, ticket))
		request = request->table_next;
	return request;
}

void
limiter_table_add(struct limiter *limiter, struct limiter_request *request)
{
	struct limiter_request **chain = table_chain(limiter, request->ticket);

	request->table_next = *chain;
	*chain = request;
}

void
limiter_table_remove(struct limiter *limiter, struct limiter_request *request)
{
	struct limiter_request **at = table_chain(limiter, request->ticket);

	while (*at != request) {
		check(*at != NULL);
		at = &(*at)->table_next;
	}
	*at = request->table_next;
}
