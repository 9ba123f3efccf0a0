/*
 * The limiter: who goes next. One per instance, on worker 0's loop; the other workers speak to it by mail.
 *
 * A request asks (waits in the queue of its identity, without connection or record), is told to make ready when its token is
 * expected within a second (LIMITER_NEXT), says that it is ready (connection borrowed, intent durable or about to be), and is
 * granted (LIMITER_GRANTED) or refused. Tokens come from a store: Redis, or the embedded one of the same arithmetic (rules/bucket). At most one call to the store is
 * under way for an identity; what became ready meanwhile goes into the next with counts; when this instance's next turn is is kept, so that
 * waiting costs no command. Where the store is away for long enough this instance spends its share of the quota alone (rules/member).
 */
#ifndef JOBGATE_GATE_LIMITER_H
#define JOBGATE_GATE_LIMITER_H

#include "io/loop.h"
#include "io/resolver.h"
#include "rules/config.h"
#include "rules/heads.h"
#include "rules/lost.h"

struct limiter;

/* Names a request across threads: never by pointer. */
struct limiter_ticket { uint16_t worker; uint32_t slot; uint32_t generation; };

enum limiter_class { LIMITER_CANCEL, LIMITER_SUBMIT, LIMITER_POLL, LIMITER_CLASS_COUNT };	/* served in this order; polls have a floor of 10 % */

/* A verified token's principal with a NUL: "tid+oid", or a hash in hex. */
#define LIMITER_PRINCIPAL_BYTES 80
/* So many at a time; each is 40 KB and a call every 650 ms while it is in use. One more is refused: LIMITER_QUEUE_FULL. */
#define LIMITER_PRINCIPALS_MAX 1000

/* The caller of an errand, whose own rate and place in the queue it does not take: an index that no configuration has. */
#define LIMITER_NOBODY SIZE_MAX

struct limiter_ask {
	struct limiter_ticket ticket;
	size_t identity, caller;	/* indices of the configuration's */
	const struct config *config;	/* whose indices these are (compared, never read); NULL: the limiter's present one */
	uint32_t limits;		/* the rules that it is counted on (rules/limits) */
	char principal[LIMITER_PRINCIPAL_BYTES];	/* whose bucket of that identity (per_token); "": the identity's own */
	enum limiter_class class;
	struct mono_time deadline;	/* not granted by then: refused */
	bool at_once;			/* it will be ready in a small part of J/2: where a token is in hand it may be GRANTED at once, without NEXT */
	bool looks;			/* for an answer that an identical run before it has lost, by the name of that (rules/lost) */
	uint8_t lost_name[CLAIM_DIGEST_BYTES];
	bool first;			/* the upstream has thrown it back: it goes before others of its class, however many wait */
};

enum limiter_verdict {
	LIMITER_NEXT,		/* make ready; so, where it did not come before, is GRANTED to one that may be served at once */
	LIMITER_GRANTED,	/* send now; the token is dated asked_at and not to be used later than J/2 after it */
	LIMITER_NO_TOKEN,	/* 429 JobgateIdentityQuota: not in time; final */
	LIMITER_QUEUE_FULL,	/* 429 JobgateQueueFull; final */
	LIMITER_THROTTLED,	/* 429 JobgateUpstreamThrottled: the upstream wants a pause that is longer; final */
	LIMITER_LOST,		/* another instance has what an identical run has lost; final, and without a token */
	LIMITER_STORE_DOWN,	/* 503: its time was up while the store was away; final */
};

struct limiter_event {
	struct limiter_ticket ticket;
	enum limiter_verdict verdict;
	struct mono_time asked_at;	/* GRANTED: when the store call that took it was sent */
	int64_t retry_after_s;		/* refusals: 1 to 60 */
	/* Of LOST alone: what was found (lost_text_read), and where; the text lives until the receiver returns. */
	struct str lost;
	uint8_t lost_name[CLAIM_DIGEST_BYTES];
	char lost_tag[LOST_TAG_BYTES];
};

/* DELIVER(arg, event) is called on the loop of ticket.worker, never inside limiter_submit. */
struct limiter_settings {
	struct loop **loops;		/* of the workers; loops[0] is the limiter's own */
	size_t loop_count;
	void (*deliver)(void *arg, const struct limiter_event *event);
	void *arg;
	struct str member;		/* this instance among the fleet: its journal's UUID */
	int64_t start;			/* which start of it, any number but 0 */
	/*
	 * How long before now this instance's predecessor may have sent anything, in microseconds; -1: not at all. A
	 * bucket that has no state (the embedded one at every start) then counts all its tokens as out, W + J from
	 * then on.
	 */
	int64_t sent_ago_us;
	int64_t principal_idle_us;	/* a principal's bucket is given up so long after all its tokens are back; 0: 30 s */
};

/* Called before the workers run; CONFIG is borrowed by reference. PASSWORD: the store's secret as read by gate, or empty. */
struct limiter *limiter_new(const struct limiter_settings *settings, struct resolver *resolver, struct config *config, struct str password);
/* After the workers have ended. */
void limiter_free(struct limiter **limiter);

/* Swap the configuration (any thread; by mail). Queues stay; identities are matched by name. */
void limiter_reload(struct limiter *limiter, struct config *config, struct str password);

/*
 * Whether ASK would be refused as things stand, by the final word that EVENT then has (ticket, verdict, retry_after_s); it is not to be
 * submitted any more. On the loop of ticket.worker; only where that is the limiter's own, else false: then the mails tell.
 */
bool limiter_refuses(struct limiter *limiter, const struct limiter_ask *ask, struct limiter_event *event);
/*
 * From the thread of ticket.worker, whose loop is not freed before the limiter; by mail. After LIMITER_NEXT or before, the ticket stays known until
 * GRANTED, a final verdict or limiter_cancel.
 */
void limiter_submit(struct limiter *limiter, const struct limiter_ask *ask);
void limiter_ready(struct limiter *limiter, struct limiter_ticket ticket);
/*
 * The caller went, or was refused elsewhere. UNUSED_TOKEN: it had been granted and no byte was sent, its token (dated ASKED_AT) goes to the next
 * that is ready for the same bucket within J/2, else it lapses. A verdict that crosses the cancel on its way is dropped by the receiver (generation).
 */
void limiter_cancel(struct limiter *limiter, size_t identity, struct limiter_ticket ticket, bool unused_token, struct mono_time asked_at);

/* Give this instance's part of every quota up; nothing is granted from now on. Any thread; by mail. DONE(arg) runs on the limiter's loop. */
void limiter_leave(struct limiter *limiter, void (*done)(void *arg), void *arg);

/*
 * The upstream has answered 429: nothing of that identity and principal goes for PAUSE_US, on any instance. Any thread; by mail.
 * Of WHOSE identity, config and principal count.
 */
void limiter_throttled(struct limiter *limiter, const struct limiter_ask *whose, int64_t pause_us);

/*
 * How it stands, for people: a JSON object (README, "Operate") of store, 429s and identities. Any thread; by mail. TOLD(arg, json)
 * runs on ASKER, once, unless the limiter is freed before; JSON is freed after it. No secret is in it.
 */
void limiter_status(struct limiter *limiter, struct loop *asker, void (*told)(void *arg, struct buf *json), void *arg);

/*
 * Show OWN, the head of this instance's journal, to the fleet through the store for KEEP_MS, and be told the others'. Any
 * thread; by mail. TOLD(arg, heads, why) runs on ASKER, once, unless the limiter is freed before or has another store by
 * then; HEADS is freed after it, or NULL: WHY not. The quota waits for none of it and is as well as it was.
 */
void limiter_show_head(struct limiter *limiter, const struct heads_head *own, int64_t keep_ms, struct loop *asker,
    void (*told)(void *arg, const struct heads *heads, const char *why), void *arg);

/* Readable from any thread (atomics). */
/*
 * Grants and queued are those of its principals, too; the rest is its own bucket's. ALONE: its share is spent, without the store. SETTLING: nothing is granted until members were heard, or what they took has
 * come back.
 */
struct limiter_identity_counts { uint64_t grants; uint64_t queued; int64_t limit; bool paused, alone, settling; };
struct limiter_counts {
	bool store_up;			/* true for the embedded store */
	bool share;			/* while it is away this instance's share may be spent */
	bool store_evicts;		/* it may drop buckets when its memory is full */
	bool store_tried;		/* the first attempt has ended, whatever its result */
	uint64_t commands_ok, commands_failed;
	size_t principals;		/* that have a bucket of their own here now */
};
struct limiter_counts limiter_counts(const struct limiter *limiter);
struct limiter_identity_counts limiter_identity_counts(const struct limiter *limiter, size_t identity);

#endif
