/*
 * Claims: who holds an Idempotency-Key, and what became of it. The arithmetic of the embedded store, in memory; the
 * same in Redis is rules/claim.lua.
 *
 *   (none) --take--> held --finish--> finished      each is forgotten KEEP after its last change, a held one
 *     ^               |  \--lose----> unknown       LEASE later
 *     |               |                  |
 *     |               | LEASE over: told as unknown
 *     '---withdraw----'------------------'  (by its holder alone: nothing was executed)
 *
 * One name is held by one request at a time and never passes to another but by withdrawal: whoever finds it held,
 * finished or unknown does not send. Its holder may still finish an unknown one, when it learns the truth late.
 *
 * Pure: time is an argument, in microseconds of one clock. For one thread. Nothing that is not expired is ever dropped
 * for want of room, since then the key could be sent with twice: a new claim is refused instead.
 */
#ifndef JOBGATE_RULES_CLAIM_H
#define JOBGATE_RULES_CLAIM_H

#include "base/buf.h"

/* A SHA-256. */
#define CLAIM_DIGEST_BYTES 32
/* A request's id, without a NUL. */
#define CLAIM_ID_BYTES 36

enum claim_state {
	CLAIM_TAKEN,		/* it is the asker's */
	CLAIM_HELD,		/* another request has it, whose lease is not over */
	CLAIM_FINISHED,		/* there is an answer */
	CLAIM_UNKNOWN,		/* it was sent with, or may have been, and nobody knows what became of it */
	CLAIM_MISMATCH,		/* it belongs to another request than this one repeats */
	CLAIM_FULL,		/* there is no room for another */
	CLAIM_STATE_COUNT
};

struct claim_ask {
	uint8_t name[CLAIM_DIGEST_BYTES];	/* of caller and key */
	uint8_t print[CLAIM_DIGEST_BYTES];	/* of what is asked for: it must be the same again */
	char id[CLAIM_ID_BYTES];		/* who asks */
	int64_t lease_us, keep_us;
};

struct claim_answer {
	enum claim_state state;
	char first[CLAIM_ID_BYTES];		/* the request that has it; but for TAKEN and FULL */
	int64_t left_us;			/* HELD: of its lease */
	struct str answer;			/* FINISHED; the table's, until it is changed */
};

/* What a holder says at its end. */
enum claim_fate {
	CLAIM_FATE_WITHDRAW,	/* nothing was executed */
	CLAIM_FATE_UNKNOWN,
	CLAIM_FATE_FINISH,
};

/*
 * The fate of a claim whose request has ended: SENT: a byte of it was written; STATUS: the upstream's whole answer, 0 where
 * there was none; RETRIABLE: that says so of itself; AMBIGUOUS: it leaves open what happened. A complete 429 or 401, and
 * what calls itself retriable, was not executed.
 */
enum claim_fate claim_fate(bool sent, int status, bool retriable, bool ambiguous);

struct claim_table;

/* Its entries take at most about MAX_BYTES. */
struct claim_table *claim_table_new(size_t max_bytes);
void claim_table_free(struct claim_table **table);
void claim_table_set_bytes(struct claim_table *table, size_t max_bytes);

void claim_take(struct claim_table *table, const struct claim_ask *ask, int64_t now_us, struct claim_answer *answer);
/* The holder ID says what became of NAME; false, and nothing is done, where it does not have it. ANSWER (finish) is copied. */
bool claim_settle(struct claim_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    enum claim_fate fate, struct str answer, int64_t keep_us, int64_t now_us);

size_t claim_table_count(const struct claim_table *table);
size_t claim_table_bytes(const struct claim_table *table);

#endif
