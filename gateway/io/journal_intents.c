/* The open intents: a hash table by request id. */
#include "io/journal_intents.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define INTENTS_SIZE_FIRST 64	/* a power of two; grows with what is in flight */

/* The ids are our own UUIDs, nobody can choose them to collide. */
static size_t
intent_hash(struct str id)
{
	return (size_t)str_hash_end(str_hash(STR_HASH_BEGIN, id));
}

/* The place that points to the intent ID, or where it would be linked in. */
static struct journal_intent **
intent_place(const struct journal_intents *t, struct str id)
{
	struct journal_intent **p = &t->slots[intent_hash(id) & (t->size - 1)];

	while (*p && !str_eq((*p)->id, id))
		p = &(*p)->next;
	return p;
}

/* Double the table. */
static void
intents_grow(struct journal_intents *t)
{
	struct journal_intents bigger = { .size = t->size ? t->size * 2 : INTENTS_SIZE_FIRST, .count = t->count };

	bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
	check(bigger.slots != NULL);
	for (size_t i = 0; i < t->size; i++) {
		struct journal_intent *intent, *next;

		for (intent = t->slots[i]; intent; intent = next) {
			struct journal_intent **p = &bigger.slots[intent_hash(intent->id) & (bigger.size - 1)];

			next = intent->next;
			intent->next = *p;
			*p = intent;
		}
	}
	free(t->slots);
	*t = bigger;
}

void
journal_intents_fini(struct journal_intents *t)
{
	for (size_t i = 0; i < t->size; i++)
		while (t->slots[i]) {
			struct journal_intent *intent = t->slots[i];

			t->slots[i] = intent->next;
			free(intent);
		}
	free(t->slots);
	*t = (struct journal_intents){ NULL, 0, 0 };
}

bool
journal_intents_open(struct journal_intents *t, struct str id, uint64_t seq, uint64_t segment, struct str line)
{
	struct journal_intent *intent, **place;
	char *bytes;

	if (t->count >= t->size)
		intents_grow(t);
	place = intent_place(t, id);
	if (*place)
		return false;
	intent = malloc(sizeof(*intent) + id.n + line.n + 1);
	check(intent != NULL);
	bytes = (char *)(intent + 1);
	memcpy(bytes, id.p, id.n);
	if (line.n > 0)
		memcpy(bytes + id.n, line.p, line.n);
	*intent = (struct journal_intent){ NULL, seq, segment, { bytes, id.n }, { bytes + id.n, line.n } };
	*place = intent;
	t->count++;
	return true;
}

bool
journal_intents_close(struct journal_intents *t, struct str id)
{
	struct journal_intent **place, *intent;

	if (t->count == 0)
		return false;
	place = intent_place(t, id);
	intent = *place;
	if (intent == NULL)
		return false;
	*place = intent->next;
	free(intent);
	t->count--;
	return true;
}

uint64_t
journal_intents_oldest(const struct journal_intents *t, uint64_t none)
{
	uint64_t oldest = none;

	for (size_t i = 0; i < t->size; i++)
		for (const struct journal_intent *intent = t->slots[i]; intent; intent = intent->next)
			if (intent->segment < oldest)
				oldest = intent->segment;
	return oldest;
}

/* For qsort: by seq. */
static int
intent_compare(const void *a, const void *b)
{
	const struct journal_intent *x = *(struct journal_intent *const *)a, *y = *(struct journal_intent *const *)b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

struct journal_intent **
journal_intents_sorted(const struct journal_intents *t)
{
	struct journal_intent **list = calloc(t->count + 1, sizeof(struct journal_intent *));
	size_t n = 0;

	check(list != NULL);
	for (size_t i = 0; i < t->size; i++)
		for (struct journal_intent *intent = t->slots[i]; intent; intent = intent->next)
			list[n++] = intent;
	qsort(list, n, sizeof(list[0]), intent_compare);
	return list;
}
