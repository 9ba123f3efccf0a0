/*
 * A growing run of bytes that owns its memory: bodies, heads and records are built in it.
 *
 * Growth never fails: a process without memory ends. Whoever fills it sets the bound.
 */
#ifndef JOBGATE_BASE_BUF_H
#define JOBGATE_BASE_BUF_H

#include <stdint.h>

#include "base/str.h"

struct buf {
	char *p;	/* owned; NULL while empty and never grown */
	size_t n;	/* bytes in use */
	size_t size;	/* bytes allocated */
};

#define BUF_EMPTY ((struct buf){ NULL, 0, 0 })

void buf_fini(struct buf *b);

/* Forget the bytes, keep the memory. */
void buf_clear(struct buf *b);

/* The memory grows so that N more bytes fit. */
void buf_grow(struct buf *b, size_t n);

/* Make room for N more bytes and return where they go; the caller adds what it wrote to b->n. */
static inline char *
buf_room(struct buf *b, size_t n)
{
	if (b->size - b->n < n)
		buf_grow(b, n);
	return b->p + b->n;
}

static inline void
buf_add_char(struct buf *b, char c)
{
	*buf_room(b, 1) = c;
	b->n++;
}

static inline void
buf_add(struct buf *b, struct str s)
{
	if (s.n == 0)
		return;
	memcpy(buf_room(b, s.n), s.p, s.n);
	b->n += s.n;
}

/* Decimal digits, with a minus sign where it is negative. */
void buf_add_int(struct buf *b, int64_t value);
static inline void
buf_add_z(struct buf *b, const char *z)
{
	buf_add(b, str_from(z));
}

void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drop the first N bytes. */
void buf_drop(struct buf *b, size_t n);

/* The bytes of B as a slice, valid until B changes. */
static inline struct str
buf_str(const struct buf *b)
{
	return (struct str){ b->p, b->n };
}

/* Move FROM's memory to a new owner, leaving FROM empty. */
struct buf buf_take(struct buf *from);

/* Overwrite all of B's memory with zeros before it is freed: for secrets. */
void buf_wipe(struct buf *b);

#endif
