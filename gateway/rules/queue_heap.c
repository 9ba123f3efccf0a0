/* Deadlines of a queue: a binary heap, the earliest at the top, each entry knowing its place. */
#include "rules/queue.h"

#include <stdlib.h>

#include "base/check.h"

/* Put E at PLACE. */
static void
heap_set(struct queue *q, size_t place, struct queue_entry *e)
{
	q->heap[place] = e;
	e->heap_place = place;
}

/* Move E, which belongs at PLACE or above, to where it belongs. */
static void
heap_up(struct queue *q, size_t place, struct queue_entry *e)
{
	while (place > 0 && q->heap[(place - 1) / 2]->deadline.us > e->deadline.us) {
		heap_set(q, place, q->heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	heap_set(q, place, e);
}

/* Move E, which belongs at PLACE or below, to where it belongs, among COUNT entries. */
static void
heap_down(struct queue *q, size_t place, struct queue_entry *e, size_t count)
{
	for (;;) {
		size_t child = 2 * place + 1;

		if (child + 1 < count && q->heap[child + 1]->deadline.us < q->heap[child]->deadline.us)
			child++;
		if (child >= count || q->heap[child]->deadline.us >= e->deadline.us)
			break;
		heap_set(q, place, q->heap[child]);
		place = child;
	}
	heap_set(q, place, e);
}

void
queue_heap_add(struct queue *q, struct queue_entry *e)
{
	if (q->count == q->heap_size) {
		q->heap_size = q->heap_size ? q->heap_size * 2 : 64;
		q->heap = reallocarray(q->heap, q->heap_size, sizeof(*q->heap));
		check(q->heap != NULL);
	}
	heap_up(q, q->count, e);
}

void
queue_heap_remove(struct queue *q, struct queue_entry *e)
{
	size_t place = e->heap_place, last = q->count - 1;
	struct queue_entry *moved = q->heap[last];

	check(q->heap[place] == e);
	if (moved == e)
		return;
	heap_up(q, place, moved);
	heap_down(q, moved->heap_place, moved, last);
}
