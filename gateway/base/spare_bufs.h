/*
 * Spare memory of buffers, for the reasons of base/spares: what every request takes and gives back is larger, and more at a time, than
 * what malloc keeps at hand. Newest first. Not for threads. Under AddressSanitizer nothing is kept. Zero is an empty one.
 */
#ifndef JOBGATE_BASE_SPARE_BUFS_H
#define JOBGATE_BASE_SPARE_BUFS_H

#include "base/buf.h"

/* As many as a crowd has in flight, of heads and short bodies: 400 KB, and with larger ones never more than 2 MB. */
#define SPARE_BUFS_MOST 256
#define SPARE_BUFS_BYTES_MAX 8192

struct spare_bufs {
	struct buf list[SPARE_BUFS_MOST];	/* owned */
	size_t count;
};

void spare_bufs_fini(struct spare_bufs *spares);

/* An empty buffer, with memory where some is kept. */
struct buf spare_bufs_take(struct spare_bufs *spares);
/* Leave B empty, without memory. What is secret in it was wiped before. */
void spare_bufs_give(struct spare_bufs *spares, struct buf *b);

#endif
