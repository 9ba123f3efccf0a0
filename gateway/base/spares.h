/*
 * Spares: objects of one size that are kept for the next who needs one, newest first.
 *
 * What every request takes and gives back is larger than what malloc keeps at hand, so that each time it splits and joins
 * its free memory; and what was given back last is still in the processor's cache. Not for threads: its owner is on one loop.
 * Under AddressSanitizer nothing is kept, so that a use after the end is seen.
 */
#ifndef JOBGATE_BASE_SPARES_H
#define JOBGATE_BASE_SPARES_H

#include <stddef.h>

struct spares {
	size_t bytes;		/* of each object; at least a pointer's */
	size_t most;		/* how many are kept */
	size_t count;
	struct spare *first;
};

void spares_init(struct spares *spares, size_t bytes, size_t most);
void spares_fini(struct spares *spares);

/* Memory for one object; what is in it is anything. Never NULL. */
void *spares_take(struct spares *spares);
/* Give an object back; NULL is nothing. What is secret in it was wiped before. */
void spares_give(struct spares *spares, void *object);

#endif
