/*
 * Records on their way into the database: consecutive ones of one journal, as rows for COPY.
 */
#ifndef JOBGATE_COLLECT_BATCH_H
#define JOBGATE_COLLECT_BATCH_H

#include "base/buf.h"
#include "io/journal_chain.h"

struct batch {
	struct buf rows;		/* owned */
	size_t count;
	struct journal_head last;	/* of the rows */
};

#endif
