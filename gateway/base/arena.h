/*
 * Arena: memory that is taken piece by piece and given back all at once.
 *
 * A request owns one; nothing in it outlives the request. Not for threads. Allocation
 * never fails: a process without memory ends (the journal tolerates it).
 */
#ifndef JOBGATE_BASE_ARENA_H
#define JOBGATE_BASE_ARENA_H

#include "base/spares.h"
#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *blocks;	/* newest first; owned */
	struct spares *spares;		/* of ARENA_SPARE_BYTES, where blocks of the usual size come from; borrowed, NULL: from malloc */
};

#define ARENA_SPARE_BYTES 4096

void arena_init(struct arena *a);
/* The same with blocks from SPARES, which outlive it. */
void arena_init_from(struct arena *a, struct spares *spares);
void arena_fini(struct arena *a);
/* The same for one that may hold secrets: what was taken is overwritten first. */
void arena_wipe(struct arena *a);

/* N zeroed bytes, aligned for any type. */
void *arena_alloc(struct arena *a, size_t n);

/* A copy of S with a NUL behind it (not counted). */
struct str arena_copy(struct arena *a, struct str s);

/* COUNT texts one behind the other, with a NUL behind them (not counted): printf takes ten times as long. */
struct str arena_join(struct arena *a, const struct str *parts, size_t count);

/* VALUE in decimal digits. */
struct str arena_int(struct arena *a, int64_t value);
/* Formatted text with a NUL behind it (not counted). */
struct str arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
