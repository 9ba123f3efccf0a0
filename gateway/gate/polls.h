/*
 * Polls: one upstream GET for all who ask the same at the same time, and its answer for who asks until it is due again.
 *
 * One per instance, on worker 0's loop; requests speak to it by mail, and go upstream themselves: who is told FETCH
 * leads, goes through the limiter like every request and hands over what came of it; the others of that call are told
 * then.
 *
 *   ask ──► ANSWER (kept, and it still stands)
 *    ├────► FETCH ──► result, unsent or failed ──► ANSWER (the leader of a 200 as well)
 *    └────► joined: ANSWER or FAILED when the leader's call ends, or FETCH where it was never sent
 *
 * A call that was not sent yet is joined by the same caller's requests alone: another caller leads one in its own
 * queue. What the first of them brings is told to the leaders of the others, too, while they wait: an ANSWER behind
 * FETCH. It is the same among instances.
 *
 * Who prefers to wait for a change is told when the status is another, or leads the call that looks again when the
 * answer is due. Exactly one of ANSWER, NOTHING and FAILED follows an ask, a result of which the leader is told, and a
 * leave; FETCH may come before; PASS ends it.
 *
 * Rights: where the identity's credential is the gateway's, policy has decided before an ask. Else a kept answer, and a
 * call to join, is only for whose own token has succeeded at that very resource within `grant`; the others' tokens are
 * put to the upstream.
 *
 * Instances share (polls_fleet.c) where there is a Redis: then one of them makes the call.
 *
 * Order: an answer never takes the place of one whose call was sent later, nor of a terminal state that is still kept.
 */
#ifndef JOBGATE_GATE_POLLS_H
#define JOBGATE_GATE_POLLS_H

#include "gate/limiter.h"
#include "gate/poll_table.h"
#include "rules/reply.h"

struct polls;

struct polls_ask {
	struct limiter_ticket ticket;
	struct poll_id id;
	uint8_t token[POLL_DIGEST_BYTES];	/* the hash of what would go upstream as Authorization */
	bool fleet;				/* instances share its answer */
	bool shared;				/* the credential is the gateway's: no token counts */
	uint64_t caller;			/* in whose queue its call would wait: nobody waits in another's */
	bool peek;				/* a HEAD: PASS in place of FETCH */
	bool changes;				/* it prefers to wait until the status changes */
	int64_t max_age_us;
	size_t keep_bytes;			/* of a body: more is not kept */
	size_t changes_max;			/* who comes when so many wait for a change is answered at once */
	struct config_polls config;
};

enum polls_word {
	POLLS_FETCH,	/* lead: ask the upstream */
	POLLS_PASS,	/* ask the upstream, and say nothing of it */
	POLLS_ANSWER,
	POLLS_NOTHING,	/* nothing is known */
	POLLS_FAILED,	/* the joined call has failed: refusal and message */
};

enum polls_how { POLLS_NONE, POLLS_MISS, POLLS_HIT, POLLS_JOIN, POLLS_STALE, POLLS_HOW_COUNT };
const char *polls_how_name(enum polls_how how);	/* "miss", "hit", "join", "stale"; "" */

#define POLLS_MESSAGE_BYTES 256

struct polls_event {
	struct limiter_ticket ticket;
	enum polls_word word;
	enum polls_how how;
	struct poll_answer *answer;	/* ANSWER: a reference, the receiver's */
	enum refusal refusal;		/* FAILED */
	char message[POLLS_MESSAGE_BYTES];
};

struct polls_settings {
	struct loop **loops;		/* of the workers; loops[0] is its own */
	size_t loop_count;
	void (*deliver)(void *arg, const struct polls_event *event);	/* on the loop of ticket.worker */
	void *arg;
	struct resolver *resolver;
	struct str member;		/* this instance among those that share: its journal's UUID */
};

/* Called before the workers run; CONFIG is referenced. PASSWORD: that of polls_store as read by gate, or empty. */
struct polls *polls_new(const struct polls_settings *settings, struct config *config, struct str password);
/* After the workers have ended. */
void polls_free(struct polls **polls);

/* --- any thread, by mail --- */

/*
 * Take other bounds. What is kept stays: its key says as whom it was asked for, and who may see it is asked each time.
 */
void polls_reload(struct polls *polls, struct config *config, struct str password);

void polls_ask(struct polls *polls, const struct polls_ask *ask);
/* The time is up: be told what is known, or wait on for a call that was sent; AT_ONCE: do not. */
void polls_leave(struct polls *polls, struct limiter_ticket ticket, bool at_once);
/* The caller has gone. Nothing more is told. */
void polls_cancel(struct polls *polls, struct limiter_ticket ticket);

/* --- of leaders --- */
void polls_sent(struct polls *polls, struct limiter_ticket ticket);
/* It was not executed and waits again: who has joined, and has no more time, is told what is known. */
void polls_turned_back(struct polls *polls, struct limiter_ticket ticket);
/* The upstream has answered; ANSWER's reference is taken. The leader is told something in turn where this says so. */
static inline bool
polls_tells_leader(int status)
{
	return status == 200 || status == 429;
}
void polls_result(struct polls *polls, struct limiter_ticket ticket, struct poll_answer *answer);
/* It was not sent and will not be; another leads. WANTS_LAST: it asks what is known, else it is told nothing. */
void polls_unsent(struct polls *polls, struct limiter_ticket ticket, bool wants_last);
/* There is no answer: who has joined is told so. */
void polls_failed(struct polls *polls, struct limiter_ticket ticket, enum refusal refusal, struct str message);

/*
 * Whether nothing is kept and nobody asks: nothing can be out of date then, since whoever asks later is answered by a later call. Any
 * thread.
 */
bool polls_are_idle(const struct polls *polls);

/*
 * What is kept of this resource is out of date (a cancel, a submission), and so is what calls under way will bring.
 * FLEET: other instances are to hear of it.
 */
void polls_invalidate(struct polls *polls, const uint8_t resource[POLL_DIGEST_BYTES], bool fleet);

/* WAITING: who is to be told something, leaders too. */
struct polls_counts { size_t answers, waiting; int64_t bytes; bool shared; };
struct polls_counts polls_counts(const struct polls *polls);

#endif
