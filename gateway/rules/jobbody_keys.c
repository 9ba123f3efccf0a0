/* Sets of strings of a JSON body, for finding those that stand twice. */
#include "rules/jobbody_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json_scan.h"

void
jobbody_keys_init(struct jobbody_keys *k, struct str body)
{
	check(body.n <= JOBBODY_KEYS_BODY_MAX);
	k->body = body;
	k->keys = k->first;
	k->count = 0;
	k->size = JOBBODY_KEYS_FIRST;
	k->copies = BUF_EMPTY;
}

void
jobbody_keys_fini(struct jobbody_keys *k)
{
	if (k->keys != k->first)
		free(k->keys);
	buf_fini(&k->copies);
}

/* Make room for as many again. */
static void
keys_grow(struct jobbody_keys *k)
{
	bool owned = k->keys != k->first;

	k->size *= 2;
	k->keys = reallocarray(owned ? k->keys : NULL, k->size, sizeof(*k->keys));
	check(k->keys != NULL);
	if (!owned)
		memcpy(k->keys, k->first, sizeof(k->first));
}

void
jobbody_keys_add(struct jobbody_keys *k, struct str text, bool escaped)
{
	struct jobbody_key key = { .n = (uint32_t)text.n & INT32_MAX, .copied = escaped };

	if (escaped) {
		key.at = (uint32_t)k->copies.n;
		key.n = (uint32_t)json_unescape(text, buf_room(&k->copies, text.n)) & INT32_MAX;
		k->copies.n += key.n;
	} else {
		key.at = (uint32_t)(text.p - k->body.p);
	}
	if (k->count == k->size)
		keys_grow(k);
	k->keys[k->count++] = key;
}

struct str
jobbody_keys_text(const struct jobbody_keys *k, const struct jobbody_key *key)
{
	return (struct str){ (key->copied ? k->copies.p : k->body.p) + key->at, key->n };
}

/* Order entries by length, then bytes: unequal lengths need no look at the bytes. */
static int
key_compare(const void *a, const void *b, void *arg)
{
	struct str x = jobbody_keys_text(arg, a), y = jobbody_keys_text(arg, b);

	if (x.n != y.n)
		return x.n < y.n ? -1 : 1;
	return x.n ? memcmp(x.p, y.p, x.n) : 0;
}

void
jobbody_keys_sort(struct jobbody_keys *k, size_t from)
{
	if (k->count - from > 1)
		qsort_r(k->keys + from, k->count - from, sizeof(*k->keys), key_compare, k);
}

void
jobbody_keys_drop(struct jobbody_keys *k, size_t from)
{
	for (size_t i = from; i < k->count; i++)
		if (k->keys[i].copied && k->keys[i].at < k->copies.n)
			k->copies.n = k->keys[i].at;
	k->count = from;
}
