/*
 * For polls*.c alone. Everything here belongs to worker 0's loop, save what is marked atomic and the mails.
 *
 *   a waiter:  asked -> joined -> told and freed           a call:  led -> sent -> ended and freed
 *                   \-> leads -/   \-> waits for a change -> leads ...
 */
#ifndef JOBGATE_GATE_POLLS_PRIVATE_H
#define JOBGATE_GATE_POLLS_PRIVATE_H

#include "gate/polls.h"

#define POLLS_WAITER_CHAINS 4096	/* some thousand requests wait at most */

/* One upstream call, that of its leader. */
struct polls_flight {
	TAILQ_ENTRY(polls_flight) link;
	struct polls_waiter *leader;
	uint8_t token[POLL_DIGEST_BYTES];
	bool shared, sent;
	bool outdated;			/* something has changed since it began: its answer is not kept */
};

/* A request that is to be told something. */
struct polls_waiter {
	struct polls_waiter *table_next;
	TAILQ_ENTRY(polls_waiter) link;
	struct poll_entry *entry;
	struct polls_flight *flight;	/* that it leads or has joined; NULL: it waits for a change */
	struct polls_ask ask;
	bool overdue;			/* it takes what comes next */
	bool saw;			/* it knows a status, and waits for another */
	uint64_t seen;
};

/* Of an entry at which somebody waits. */
struct polls_busy {
	struct polls *polls;
	struct poll_entry *entry;
	TAILQ_HEAD(, polls_waiter) waiters;	/* in the order in which they came */
	TAILQ_HEAD(, polls_flight) flights;
	struct loop_timer due;		/* when who waits for a change has to look again */
	unsigned holds;			/* somebody works on it: it is not freed yet */
};

struct polls {
	struct loop **loops;		/* the array is ours, the loops are not */
	size_t loop_count;
	void (*deliver)(void *arg, const struct polls_event *event);
	void *arg;
	struct poll_table table;
	int64_t keep_us;
	struct polls_waiter *waiters[POLLS_WAITER_CHAINS];
	size_t changes;			/* how many wait for a change, or lead the call that looks */
	struct loop_timer sweep;
	atomic_bool closed;
	atomic_int refs;		/* the owner's, and one for each mail under way */
};

/* polls.c: called by the mails, on the loop */
void polls_take_config(struct polls *polls, int64_t keep_us, int64_t max_bytes);
void polls_take_ask(struct polls *polls, const struct polls_ask *ask);
void polls_take_leave(struct polls *polls, struct limiter_ticket ticket, bool at_once);
void polls_take_cancel(struct polls *polls, struct limiter_ticket ticket);
void polls_take_sent(struct polls *polls, struct limiter_ticket ticket);
void polls_take_result(struct polls *polls, struct limiter_ticket ticket, struct poll_answer *answer);
void polls_take_unsent(struct polls *polls, struct limiter_ticket ticket, bool wants_last);
void polls_take_failed(struct polls *polls, struct limiter_ticket ticket, enum refusal refusal, const char *message);
void polls_take_invalidate(struct polls *polls, const uint8_t resource[POLL_DIGEST_BYTES]);

/* polls_wait.c: waiters and calls */
struct polls_waiter *polls_find(struct polls *polls, struct limiter_ticket ticket);
struct polls_waiter *polls_wait(struct polls *polls, const struct polls_ask *ask, struct poll_entry *entry);
void polls_forget(struct polls *polls, struct polls_waiter *waiter);	/* and its entry, where nothing is left of it */
struct polls_flight *polls_lead(struct polls_waiter *waiter);
/* End FLIGHT; its leader and who has joined it are in no call then. */
void polls_land(struct polls_flight *flight);
/* Have ENTRY, at which somebody waits, stay until the release, whoever is forgotten. */
void polls_hold(struct poll_entry *entry);
void polls_release(struct polls *polls, struct poll_entry *entry);
bool polls_same_ticket(struct limiter_ticket a, struct limiter_ticket b);
void polls_forget_all(struct polls *polls);

/* polls_mail.c */
void polls_tell(struct polls *polls, const struct polls_event *event);
void polls_unref(struct polls *polls);

#endif
