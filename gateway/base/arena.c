/* Arena: memory given back all at once. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"


struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(max_align_t) char bytes[];
};

/* A request needs about 2 KB beside its head and body; a block holds it with room to spare. */
#define ARENA_BLOCK_BYTES (ARENA_SPARE_BYTES - sizeof(struct arena_block))

void
arena_init(struct arena *a)
{
	arena_init_from(a, NULL);
}

void
arena_init_from(struct arena *a, struct spares *spares)
{
	check(spares == NULL || spares->bytes == ARENA_SPARE_BYTES);
	a->blocks = NULL;
	a->spares = spares;
}

void
arena_fini(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		if (a->spares && b->size == ARENA_BLOCK_BYTES)
			spares_give(a->spares, b);
		else
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
	struct arena_block *b = a->spares && size == ARENA_BLOCK_BYTES ? spares_take(a->spares) : malloc(sizeof(*b) + size);

	check(b != NULL);
	b->next = a->blocks;
	b->used = 0;
	b->size = size;
	a->blocks = b;
	return b;
}

/* Take N bytes as they are. */
static inline void *
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
arena_join(struct arena *a, const struct str *parts, size_t count)
{
	size_t n = 0;
	char *all, *p;

	for (size_t i = 0; i < count; i++)
		n += parts[i].n;
	all = p = arena_take(a, n + 1);
	for (size_t i = 0; i < count; i++)
		if (parts[i].n)
			p = mempcpy(p, parts[i].p, parts[i].n);
	*p = '\0';
	return (struct str){ all, n };
}

struct str
arena_int(struct arena *a, int64_t value)
{
	char digits[STR_INT_BYTES];

	return arena_copy(a, str_from_int(digits, value));
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
