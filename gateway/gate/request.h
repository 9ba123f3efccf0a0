/*
 * A request's life. The client half (a front_request) may vanish at any time; the job half must reach an audited ending.
 *
 *   HEAD ──► BODY ──► CLAIMING ──► WAITING ──► NEXT ──► READY ──► FORWARDING ──► RECORDING ──► DONE
 *    │        ├► POLLING ──────────^ │         │        │          │               │
 *    └────────┴─────^────┴───────────┴─────────┴────────┴──── refused, gone, replayed ┘
 *                          ^── the upstream answered 429, or 401 to a credential of ours ──┘
 *                          ^── its credential's token was taken away when it was READY
 *               ^── an identical run has lost its answer when it was READY
 *
 * HEAD: identify, recognise the route, permit. BODY: wait for it, validate. CLAIMING: its Idempotency-Key is made its own,
 * or the first one's answer is given again; without a key it gets what an identical run before it has lost. WAITING: in the
 * limiter's queue, without connection or record. POLLING: a poll that is answered by what is kept or by another's call, or leads one (gate/polls.h): it comes back from
 * FORWARDING with an answer for all, and from before it where it had no call left in time. NEXT: its token is near: borrow a connection while the intent is made
 * durable; where the disk is quick the token is asked for meanwhile. READY: wait for the token, then send.
 * FORWARDING: wait for the answer; after upstream.timeout the caller is answered and the job half reads on. RECORDING: outcome
 * or refusal into the journal, then answer. DONE: nothing is pending; freed at the end of the turn.
 *
 * An errand of the gateway's own begins WAITING, has no client and no record, and ends in a callback.
 *
 * Callbacks write down what happened (the `said` fields) and call request_make_ready; the worker's turn runs the states' steps.
 */
#ifndef JOBGATE_GATE_REQUEST_H
#define JOBGATE_GATE_REQUEST_H

#include "base/arena.h"
#include "gate/claims.h"
#include "gate/limiter.h"
#include "gate/polls.h"
#include "rules/lost.h"
#include "io/front.h"
#include "io/journal.h"
#include "io/upstream.h"
#include "rules/config.h"
#include "rules/credential.h"
#include "rules/record.h"
#include "rules/reply.h"
#include "rules/route.h"

#define REQUEST_MAGIC 0x4e90e57u
/* Every offending parameter is named (jobbody lists at most 100). */
#define REQUEST_DETAILS_MAX 100

/* What of a UUID version 7 is random. */
#define REQUEST_RANDOM_BYTES 10

struct worker;
struct request;

/*
 * What the gateway asks on its own behalf, a GET: it begins WAITING, is nobody's to answer and recorded by who wanted it.
 * AUTHORIZATION is sent where the identity has no credential; it is wiped with the request.
 */
struct request_errand {
	struct config *config;
	const struct config_caller *caller;	/* of CONFIG: whose identity it goes as */
	struct str principal;
	struct route route;		/* of what is asked; its slices are copied */
	struct str authorization;
	int64_t wait_us;		/* how long it may wait for a token */
	/* It has ended: request->upstream_status and answer, or why not. The request lives until this returns. */
	void (*on_done)(void *arg, struct request *request);
	void *arg;
};

enum request_state {
	REQUEST_HEAD,
	REQUEST_BODY,
	REQUEST_POLLING,
	REQUEST_CLAIMING,
	REQUEST_WAITING,
	REQUEST_NEXT,
	REQUEST_READY,
	REQUEST_FORWARDING,
	REQUEST_RECORDING,
	REQUEST_DONE,
	REQUEST_STATE_COUNT
};

/* The upstream's answer as far as it is relayed; everything in the request's arena. */
struct request_answer {
	int status;			/* 0: none yet */
	struct http1_field *fields;	/* relayed ones, Location rewritten */
	size_t field_count;
	struct buf body;
};

enum request_poll_phase {
	POLL_OFF,	/* no poll, or one that passes */
	POLL_NEW,
	POLL_ASKED,	/* the polls are to say something */
	POLL_LEADS,	/* and it, what came of its call */
	POLL_OVER,
};

/* Of a poll: what it asks for, and how it stands with the polls. */
struct request_poll {
	enum request_poll_phase phase;
	struct poll_id id;
	uint8_t token[POLL_DIGEST_BYTES];
	int64_t max_age_us;
	bool changes;			/* it prefers to wait for a change */
	struct limiter_ticket ticket;
	bool left, left_at_once;	/* it has asked for the last word */
	bool said;
	struct polls_event *event;	/* what was said last, in the arena; its answer is a reference. NULL: nothing was */
	struct poll_answer *result;	/* of its own call; a reference */
	enum polls_how how;		/* where its answer came from */
};

struct request {
	unsigned magic;
	struct worker *worker;
	enum request_state state;
	struct request *ready_next;	/* in the worker's list of requests to run */
	bool ready_queued;
	struct arena arena;
	struct config *config;		/* referenced: the snapshot it arrived under */

	/* The client half. */
	struct front_request *client;	/* NULL once answered or gone */
	bool body_came, client_gone, draining, aborted;
	bool must_close;		/* the answer ends the connection */
	bool faulted;
	enum front_fault fault;

	void (*on_errand)(void *arg, struct request *request);	/* of an errand, else NULL */
	void *errand_arg;

	/* What it is. */
	char id[36];
	struct str method, client_request_id;
	struct str peer;		/* the client's address, as text */
	struct network_address address;	/* the same */
	const struct config_caller *caller;	/* NULL: unknown */
	struct str principal;		/* of the verified token that it shows; empty: none */
	struct str credential;		/* the id of what identified it, or of what was not to be used now or from there */
	enum credential_failure credential_failure;
	const struct config_caller *suspect;	/* whose credential it was that was refused; for the log alone */
	bool token_refused;		/* a 401 is for its token */
	bool has_scopes;		/* its verified token is a user's */
	unsigned scopes;		/* of that (rules/scopes) */
	struct mono_time slow_until;	/* its 401 waits until then; 0: it does not */
	bool key_in_authorization;	/* Authorization carries a key of ours, which is never forwarded */
	struct route route;
	struct buf body;		/* as received, without transfer coding */
	int64_t body_bytes;		/* -1 until it is whole */
	bool body_digested;		/* the next two are there: most refused requests never need them */
	uint8_t body_digest[CLAIM_DIGEST_BYTES];	/* its SHA-256 */
	char body_sha256[64];		/* what its records say; with audit.digest_key another one */
	struct str upstream_head;	/* start line and fields but Content-Length; p NULL: not made yet */
	bool sends_length;
	bool body_is_coded;		/* it came with a Content-Encoding: its bytes are not JSON yet */
	bool is_health;			/* healthz or readyz: no record, no log line */

	/* Its Idempotency-Key. */
	struct str key;			/* p NULL: it has none, or is no operation that takes one */
	struct claim_ask claim;		/* of that key */
	bool claim_asked, claim_said, claimed;	/* claimed: to be settled at its end */
	struct claims_event claim_event;	/* what was said */

	/* The answer that an identical run before it has lost, or that it loses itself. */
	bool lost_watched;		/* it is a run without key */
	bool lost_named;		/* what it is called is there: lost_name_of */
	uint8_t lost_name[CLAIM_DIGEST_BYTES];
	struct str lost_tag;
	bool lost_heard;		/* the fleet has told something, which is lost_text */
	bool lost_asked;		/* the fleet is asked */
	bool lost_away;			/* its store is */
	struct lost_text lost_text;	/* in the arena */
	struct mono_time lost_since;	/* when another instance's was first seen in flight; 0: none was */
	bool lost_joined, lost_said;	/* it waits for one that is in flight; how that has landed is lost_found */
	struct lost_found lost_found;
	bool replayed;			/* its answer is that of another request, named first_id */
	char first_id[CLAIM_ID_BYTES];

	/* Times. */
	struct mono_time arrived, wait_began, wait_ended, sent, ended;
	struct mono_time received;	/* of a poll that leads: its answer; it may wait on then */
	bool was_sent;
	struct loop_timer timer;	/* the deadline of the state */
	bool timer_due;

	/* The limiter's word. */
	int64_t prefer_wait_s;		/* what the caller asked for; -1: nothing */
	int64_t wait_max_us;		/* how long it may wait in all; 0: it has not begun to */
	struct limiter_ticket ticket;
	bool asked, said_next, said_ready, granted;
	struct mono_time token_asked_at;
	bool limiter_final;		/* these two are its last word */
	enum limiter_verdict final_verdict;
	int64_t final_retry_after_s;

	/* The upstream's. */
	struct upstream_call *call;
	bool borrowed, retried, late;
	int turned_back;		/* 429 or 401: its last sending was answered so, and it waits again; else 0 */
	bool reauthorized;		/* it was sent again after a 401 */
	bool awaits_access;		/* it waits for a token of its identity's credential */
	uint64_t access_version;	/* the token that it was sent with */
	uint64_t access_round;		/* the token's round when that was refused */
	int borrows;
	bool call_failed;
	struct upstream_failure failure;
	struct request_answer answer;
	int upstream_status;		/* as it answered; 0: no whole answer */
	struct str upstream_error_code, upstream_request_id, location, instance_id;
	bool upstream_retriable;
	int attempts;

	struct request_poll poll;

	/* The journal's. */
	struct journal_entry entry;	/* the intent's, and when that is done the outcome's */
	bool intent_put, intent_done, intent_ok, outcome_put, outcome_done;
	bool recorded;			/* outcome or refusal is on its way, or there is none */

	/* How it ends. */
	enum refusal refusal;		/* first wins */
	struct str message;
	struct reply_detail *details;	/* room for REQUEST_DETAILS_MAX in the arena; NULL while there are none */
	size_t detail_count;
	const char *allow;		/* of a 405 */
	int64_t retry_after_s;		/* 0: none */
	enum record_result result;
	int answered;			/* status handed to the client; 0: none */
};

/* Begin the life of what the front has received (HEAD); the request belongs to WORKER. */
struct request *request_new(struct worker *worker, struct front_request *client);

/* The same for an errand of the gateway's own. */
struct request *request_new_errand(struct worker *worker, const struct request_errand *errand);

/* Run its steps until it waits for something; frees it when it is done. */
void request_run(struct request *request);

/* Run it at the end of the turn: what callbacks do after having written down what happened. */
void request_make_ready(struct request *request);

/* The one mover. */
void request_goto(struct request *request, enum request_state state);
const char *request_state_name(enum request_state state);

/* Say how it ends, unless that was said already; the message is formatted into the arena. */
void request_refuse(struct request *request, enum refusal refusal, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with a message that is made already, and copied. */
void request_refuse_with(struct request *request, enum refusal refusal, struct str message);
void request_add_detail(struct request *request, struct str code, struct str message);

/* Wake it at DUE (timer_due), replacing an earlier deadline. */
void request_set_deadline(struct request *request, struct mono_time due);

struct str request_id(const struct request *request);
/* Hand MEMBERS (copied) to the journal: first an intent, then the outcome. False: it takes none. */
bool request_put_record(struct request *request, enum journal_kind kind, struct str members,
    void (*on_done)(struct journal_entry *entry, bool ok));
/* Make its body's digests, where they are not there yet. */
void request_digest_body(struct request *request);
/* The members that its records share. */
struct record_request request_record(struct request *request);

#endif
