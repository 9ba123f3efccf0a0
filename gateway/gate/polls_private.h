/*
 * For polls*.c alone. Everything here belongs to worker 0's loop, save what is marked atomic and the mails.
 *
 *   a waiter:  asked -> joined -> told and freed           a call:  led -> sent -> ended and freed
 *                   \-> leads -/   \-> waits for a change -> leads ...
 */
#ifndef JOBGATE_GATE_POLLS_PRIVATE_H
#define JOBGATE_GATE_POLLS_PRIVATE_H

#include "gate/polls.h"
#include "gate/polls_share.h"

#define POLLS_WAITER_CHAINS 4096	/* some thousand requests wait at most */

/* What is shared among instances, head included. */
#define POLLS_SHARE_BYTES (2 * POLL_INSTANCE_BYTES)

/*
 * A call is put off where the last ones have found nothing, leased among instances, then its leader is told, and what
 * came of it is put where they share.
 */
enum polls_stage { POLLS_PUT_OFF, POLLS_LEASING, POLLS_UNDER_WAY, POLLS_PUTTING };

/* One upstream call, that of its leader. */
struct polls_flight {
	TAILQ_ENTRY(polls_flight) link;
	struct polls_waiter *leader;
	uint8_t token[POLL_DIGEST_BYTES];
	bool shared, sent;
	bool common;			/* it is made for all who share */
	uint64_t id;			/* in this instance */
	enum polls_stage stage;
	int64_t number, version;	/* among instances; number 0: none was given */
	struct loop_timer timer;	/* of its lease */
	struct poll_answer *result;	/* while it is put; a reference */
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
	bool looks;			/* it waits for what instances share, in */
	uint64_t look;			/* look number; 0: in the next */
	unsigned rounds;		/* how often it has */
	struct poll_answer *saw;	/* it knows this one's status, and waits for another; a reference, or NULL */
};

/* Changes that could not be told to other instances yet; more than an outage brings. */
#define POLLS_UNTOLD_MAX 256

/* Of an entry at which somebody waits. */
struct polls_busy {
	struct polls *polls;
	struct poll_entry *entry;
	TAILQ_HEAD(, polls_waiter) waiters;	/* in the order in which they came */
	TAILQ_HEAD(, polls_flight) flights;
	struct loop_timer due;		/* when who waits for a change has to look again */
	unsigned holds;			/* somebody works on it: it is not freed yet */
	bool looking;			/* look number LOOK, the newest, is under way */
	uint64_t look;
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
	atomic_size_t waiting;
	uint64_t flight_id;		/* the newest */
	struct resolver *resolver;
	struct config *config;		/* a reference: where they share */
	struct buf password;
	struct polls_share *share;	/* NULL: nothing is shared */
	struct buf owner;		/* this instance among those that lease */
	struct mono_time full_until;	/* nothing is put before */
	struct loop_timer memory;	/* when to look how full it is */
	struct mono_time ill_until;	/* nothing is asked before */
	uint8_t untold[POLLS_UNTOLD_MAX][POLL_DIGEST_BYTES];	/* resources; the newest of them */
	size_t untold_count;
	bool share_told;
	atomic_bool share_up;
	atomic_bool closed;
	atomic_int refs;		/* the owner's, and one for each mail under way */
};

/* polls.c: called by the mails, on the loop */
void polls_take_config(struct polls *polls, struct config *config, struct str password);
void polls_take_ask(struct polls *polls, const struct polls_ask *ask);
void polls_take_leave(struct polls *polls, struct limiter_ticket ticket, bool at_once);
void polls_take_cancel(struct polls *polls, struct limiter_ticket ticket);
void polls_take_sent(struct polls *polls, struct limiter_ticket ticket);
void polls_take_turned_back(struct polls *polls, struct limiter_ticket ticket);
void polls_take_unsent(struct polls *polls, struct limiter_ticket ticket, bool wants_last);

struct mono_time polls_now(const struct polls *polls);	/* the time on the loop */
/* The kept answer that is not too old to be told at all, or NULL. */
struct poll_answer *polls_known(const struct poll_entry *entry, const struct polls_ask *ask, struct mono_time now);
/* Whether WAITER may see what others' calls have brought. */
bool polls_may(const struct polls_waiter *waiter, struct mono_time now);
/* Tell WAITER, and forget it. */
void polls_end(struct polls *polls, struct polls_waiter *waiter, enum polls_word word, enum polls_how how,
    struct poll_answer *answer);
/* Whether WAITER goes on waiting although ANSWER is known: what it waits for has not come. */
bool polls_waits_on(struct polls_waiter *waiter, struct poll_answer *answer);
/*
 * Where someone waits for a change and nobody looks, have somebody look when the answer is due; AT_ONCE: now, where it
 * does not stand any more.
 */
void polls_arm(struct polls *polls, struct poll_entry *entry, bool at_once);
/* Answer WAITER by what is known now, or have it join or lead a call. */
void polls_decide(struct polls *polls, struct polls_waiter *waiter);
/* The same, once what instances share was looked at; what is final here is final everywhere. */
void polls_consider(struct polls *polls, struct polls_waiter *waiter);
/* Tell WAITER the last that is known, be it to itself alone, or that nothing is. */
void polls_tell_last(struct polls *polls, struct polls_waiter *waiter);
/* The waiter of TICKET where it leads a call, else NULL. */
struct polls_waiter *polls_leader(struct polls *polls, struct limiter_ticket ticket);
/* Tell FLIGHT's leader to go. */
void polls_take_off(struct polls *polls, struct polls_flight *flight);
/* There is something newer than FLIGHT would bring: end it, and have its people look. */
void polls_again(struct polls *polls, struct polls_flight *flight);

/* polls_result.c: what has come of a call; the first three by the mails */
void polls_take_result(struct polls *polls, struct limiter_ticket ticket, struct poll_answer *answer);
void polls_take_failed(struct polls *polls, struct limiter_ticket ticket, enum refusal refusal, const char *message);
void polls_take_invalidate(struct polls *polls, const uint8_t resource[POLL_DIGEST_BYTES], bool fleet);
/* Whether KEPT (or NULL) says more than ANSWER: its call was made later, or it is a state that does not change. */
bool polls_is_newer(const struct poll_answer *kept, const struct poll_answer *answer);
/* What ENTRY keeps is new: other representations that say otherwise of an earlier moment are out of date. */
void polls_tell_newer(struct polls *polls, const struct poll_entry *entry);
/*
 * End the calls that other callers' requests were to make for the same, where those may be told what came instead;
 * KEPT: where that is what is kept, and stands.
 */
void polls_recall(struct polls *polls, const struct poll_entry *entry, bool kept);
/* FLIGHT has brought ANSWER, status 200 or not, and that is told. */
void polls_finish(struct polls *polls, struct polls_flight *flight, struct poll_answer *answer);

/* polls_fleet_state.c: whether instances share, and how that is */
void polls_fleet_init(struct polls *polls);
void polls_fleet_open(struct polls *polls, struct config *config, struct str password);
void polls_fleet_close(struct polls *polls);
bool polls_fleet_is_up(const struct polls *polls);
/*
 * A server that answers errors (no right to run scripts, loading, a primary no more) is as good as away, and tried
 * again in a while; one that is full is another matter.
 */
void polls_fleet_heed_error(struct polls *polls, const struct redis_reply *reply);
/* Make room for what matters more: all that this instance has put goes, and for a while nothing is put. */
void polls_fleet_is_full(struct polls *polls);
void polls_fleet_change(struct polls *polls, const uint8_t resource[POLL_DIGEST_BYTES]);

/* polls_call.c */
/* Tokens that one look asks for. */
#define POLLS_CALL_TOKENS 64

/* A call of the script under way, for a look or a flight, by number: those may be gone when it ends. */
struct polls_call {
	struct polls *polls;
	struct poll_id id;
	uint64_t number;
	size_t token_count;		/* look */
	uint8_t tokens[POLLS_CALL_TOKENS][POLL_DIGEST_BYTES];
};

/* A call for ENTRY's number NUMBER. */
struct polls_call *polls_call_new(struct polls *polls, const struct poll_entry *entry, uint64_t number);
/* A number in decimal digits. */
struct str polls_call_decimal(int64_t number, char out[POLLS_NUMBER_BYTES]);
/* A token's hash in hexadecimal digits. */
struct str polls_call_hex(const uint8_t token[POLL_DIGEST_BYTES], char out[POLLS_HEX_BYTES]);
/* Whether REPLY's element I is a number, in either form; it goes to OUT. */
bool polls_call_number(const struct redis_reply *reply, size_t i, int64_t *out);
/* The word that a reply is, or begins with. */
struct str polls_call_word(const struct redis_reply *reply);
/* The flight of a call, where it is still there. */
struct polls_flight *polls_call_flight(const struct polls_call *call);

/* polls_fleet.c: what instances share; where they do not, nothing is done */
/* True where WAITER will be decided on once the shared answer was looked at. */
bool polls_fleet_look(struct polls *polls, struct polls_waiter *waiter);
/* Have FLIGHT take off once the pause of its entry is over, and no other instance makes the same call. */
void polls_fleet_lead(struct polls *polls, struct polls_flight *flight);
/* True where FLIGHT is finished, or done again, once ANSWER was put. */
bool polls_fleet_put(struct polls *polls, struct polls_flight *flight, struct poll_answer *answer);
/* FLIGHT was sent: all wait for it now; it was not executed, and waits for its turn again. */
void polls_fleet_sent(struct polls *polls, struct polls_flight *flight);
void polls_fleet_turned_back(struct polls *polls, const struct polls_flight *flight);
/* FLIGHT has come to nothing; REVOKE: its token does not succeed any more. */
void polls_fleet_release(struct polls *polls, const struct polls_flight *flight, bool revoke);

/* polls_wait.c: waiters and calls */
struct polls_waiter *polls_find(struct polls *polls, struct limiter_ticket ticket);
struct polls_waiter *polls_wait(struct polls *polls, const struct polls_ask *ask, struct poll_entry *entry);
void polls_forget(struct polls *polls, struct polls_waiter *waiter);	/* and its entry, where nothing is left of it */
/* Have WAITER lead a call. */
void polls_lead(struct polls_waiter *waiter);
/* Whether WAITER has seen a state and waits for another: it is in no hurry. The first of those, or NULL. */
bool polls_is_patient(const struct polls_waiter *waiter);
struct polls_waiter *polls_first_patient(const struct polls_busy *busy);
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
