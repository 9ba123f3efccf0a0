/* A growing run of bytes. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void
buf_fini(struct buf *b)
{
	if (b->p)	/* of twenty that a request ends, most have held nothing */
		free(b->p);
	*b = BUF_EMPTY;
}

void
buf_clear(struct buf *b)
{
	b->n = 0;
}

void
buf_grow(struct buf *b, size_t n)
{
	size_t size = b->size ? b->size * 2 : 256;

	check(n <= SIZE_MAX / 2 - b->n);
	if (size < b->n + n)
		size = b->n + n;
	b->p = realloc(b->p, size);
	check(b->p != NULL);
	b->size = size;
}

void
buf_add_int(struct buf *b, int64_t value)
{
	char digits[STR_INT_BYTES];

	if (value >= 0 && value < 10)	/* every second one of an answer's and its log line's */
		buf_add_char(b, (char)('0' + value));
	else
		buf_add(b, str_from_int(digits, value));
}

void
buf_printf(struct buf *b, const char *format, ...)
{
	va_list args, again;
	int n;

	va_start(args, format);
	va_copy(again, args);
	buf_room(b, 1);
	n = vsnprintf(b->p + b->n, b->size - b->n, format, args);	/* mostly it fits */
	va_end(args);
	check(n >= 0);
	if ((size_t)n >= b->size - b->n)
		vsnprintf(buf_room(b, (size_t)n + 1), (size_t)n + 1, format, again);
	va_end(again);
	b->n += (size_t)n;
}

void
buf_drop(struct buf *b, size_t n)
{
	check(n <= b->n);
	if (n == 0)
		return;
	memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

struct buf
buf_take(struct buf *from)
{
	struct buf taken = *from;

	*from = BUF_EMPTY;
	return taken;
}

void
buf_wipe(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->size);
	buf_fini(b);
}
