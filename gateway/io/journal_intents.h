/*
 * The intents that have no outcome yet, by request id. One thread.
 */
#ifndef JOBGATE_IO_JOURNAL_INTENTS_H
#define JOBGATE_IO_JOURNAL_INTENTS_H

#include "base/buf.h"

struct journal_intent {
	struct journal_intent *next;	/* private */
	uint64_t seq;			/* of its record */
	uint64_t segment;		/* first seq of the file that it stands in */
	struct str id;			/* these two lie behind the struct, in the same allocation */
	struct str line;		/* empty where nobody needs it */
};

/* All zero is an empty table. */
struct journal_intents {
	struct journal_intent **slots;
	size_t size, count;
};

void journal_intents_fini(struct journal_intents *t);

/* Copies ID and LINE; false where an intent with that id is open already. */
bool journal_intents_open(struct journal_intents *t, struct str id, uint64_t seq, uint64_t segment, struct str line);

/* False where no intent with that id is open. */
bool journal_intents_close(struct journal_intents *t, struct str id);

/* The oldest file that has an open intent, NONE where there is none. */
uint64_t journal_intents_oldest(const struct journal_intents *t, uint64_t none);

/* All that are open in the order of their records: t->count pointers, the array is the caller's to free(). */
struct journal_intent **journal_intents_sorted(const struct journal_intents *t);

#endif
