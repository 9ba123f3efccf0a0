/* Arena: memory given back all at once. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* A request needs about 2 KB beside its head and body; a block holds it with room to spare. */
#define ARENA_BLOCK_BYTES 4000

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(max_align_t) char bytes[];
};

void
arena_init(struct arena *a)
{
	a->blocks = NULL;
}

void
arena_fini(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
}

void
arena_wipe(struct arena *a)
{
	for (struct arena_block *b = a->blocks; b; b = b->next)
		explicit_bzero(b->bytes, b->used);
	arena_fini(a);
}

/* Put a block with room for N bytes in front. */
static struct arena_block *
arena_grow(struct arena *a, size_t n)
{
	size_t size = n > ARENA_BLOCK_BYTES ? n : ARENA_BLOCK_BYTES;
	struct arena_block *b = malloc(sizeof(*b) + size);

	check(b != NULL);
	b->next = a->blocks;
	b->used = 0;
	b->size = size;
	a->blocks = b;
	return b;
}

/* Take N bytes as they are. */
static void *
arena_take(struct arena *a, size_t n)
{
	size_t rounded = (n + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	struct arena_block *b = a->blocks;
	void *p;

	check(rounded >= n);
	if (b == NULL || b->size - b->used < rounded)
		b = arena_grow(a, rounded);
	p = b->bytes + b->used;
	b->used += rounded;
	return p;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	return memset(arena_take(a, n), 0, n);
}

struct str
arena_copy(struct arena *a, struct str s)
{
	char *p = arena_take(a, s.n + 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return (struct str){ p, s.n };
}

struct str
arena_printf(struct arena *a, const char *format, ...)
{
	struct arena_block *b = a->blocks;
	char *here = b ? b->bytes + b->used : NULL, *p;
	size_t room = b ? b->size - b->used : 0;
	va_list args, again;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(here, room, format, args);	/* mostly it fits */
	va_end(args);
	check(n >= 0);
	p = arena_take(a, (size_t)n + 1);
	if (p != here) {
		if (here)
			explicit_bzero(here, room);	/* arena_wipe would not know of it */
		vsnprintf(p, (size_t)n + 1, format, again);
	}
	va_end(again);
	return (struct str){ p, (size_t)n };
}
