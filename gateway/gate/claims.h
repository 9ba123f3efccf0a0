/*
 * Claims: who of the whole fleet may send with an Idempotency-Key. One per instance, on worker 0's loop; the workers
 * speak to it by mail. Kept in Redis where the configuration names one (rules/claim.lua), else in this instance's memory
 * alone (rules/claim).
 *
 * A request claims its key before it waits for a token, and settles at its end; what is said after an unknown end still
 * counts. Where the store cannot be asked, or a replica of it does not acknowledge the claim, nothing may be sent, and the
 * claim is withdrawn. What is settled while the store is away is told when it is back; what cannot be told lets the
 * lease run out, after which the claim counts as unknown.
 *
 * Redis has a connection of its own for this, opened with the first key: WAIT stops whatever is behind it, and grants must
 * not be.
 */
#ifndef JOBGATE_GATE_CLAIMS_H
#define JOBGATE_GATE_CLAIMS_H

#include "io/loop.h"
#include "io/resolver.h"
#include "rules/claim.h"
#include "rules/config.h"
#include "rules/lost.h"

struct claims;

enum claims_verdict {
	CLAIMS_TAKEN, CLAIMS_HELD, CLAIMS_FINISHED, CLAIMS_UNKNOWN, CLAIMS_MISMATCH, CLAIMS_FULL,
	CLAIMS_AWAY,		/* the store did not say, or no replica has it */
	CLAIMS_VERDICT_COUNT
};
struct str claims_verdict_name(enum claims_verdict verdict);

/* Names a request across threads: its slot, and the id that it asked with (claim_ask.id). */
struct claims_event {
	uint16_t worker;
	uint32_t slot;
	char id[CLAIM_ID_BYTES], first[CLAIM_ID_BYTES];	/* as of claim_answer */
	enum claims_verdict verdict;
	int64_t left_us;			/* HELD */
	struct buf answer;			/* FINISHED; the receiver may take it, else it is freed after it */
};

struct claims_found;

/* DELIVER(arg, event) runs on the asking worker's loop, exactly once for each claim; never inside claims_take. */
struct claims_settings {
	struct loop **loops;			/* of the workers; loops[0] is its own */
	size_t loop_count;
	void (*deliver)(void *arg, struct claims_event *event);
	void (*found)(void *arg, const struct claims_found *found);
	void *arg;
	struct str member;			/* as limiter_settings has them: who remembers lost answers */
	int64_t start;
};

/* As limiter_new: before the workers run. */
struct claims *claims_new(const struct claims_settings *settings, struct resolver *resolver, struct config *config, struct str password);
/* After the workers have ended. */
void claims_free(struct claims **claims);
/* Any thread, by mail, as are the next two. Keys in another store, or in memory where there is one now, are forgotten. */
void claims_reload(struct claims *claims, struct config *config, struct str password);

void claims_take(struct claims *claims, uint16_t worker, uint32_t slot, const struct claim_ask *ask);
/* The holder ASK.id says what became of ASK.name; print and lease are not read. ANSWER (finish) is copied. */
void claims_settle(struct claims *claims, const struct claim_ask *ask, enum claim_fate fate, struct str answer);

/*
 * Lost answers of the whole fleet (rules/lost): written here, looked for by the grant's script, and here by one who knows that there is or
 * was one. Nothing happens, and nothing is found, without Redis. WHOLE: this process remembers all that it has published.
 */
void claims_publish(struct claims *claims, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    enum lost_state state, struct str answer, int64_t keep_us, bool whole);

/* What became of a look: TEXT as it is kept (lost_text_read), empty where there is none. */
struct claims_found {
	struct lost_who who;
	uint8_t name[CLAIM_DIGEST_BYTES];
	char tag[LOST_TAG_BYTES];
	bool away;
	struct str text;		/* lives until the receiver returns */
};
/* Ask for NAME; an answer is then WHO's alone. FOUND runs on WHO's loop, once. */
void claims_look(struct claims *claims, const struct lost_who *who, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES]);

/* All requests have ended: DONE(arg) runs on loops[0] once the store has been told every end, at once where there is none to tell. */
void claims_leave(struct claims *claims, void (*done)(void *arg), void *arg);

struct claims_counts {
	uint64_t verdicts[CLAIMS_VERDICT_COUNT];
	uint64_t untold;	/* ends that the store was never told of: too many while it was away */
	size_t held, bytes;	/* of the embedded store: keys that it remembers */
	bool store_up;		/* false: the store was asked and is away */
};
/* Any thread. */
struct claims_counts claims_counts(const struct claims *claims);

#endif
