/*
 * Sets of strings of a JSON body, for finding those that stand twice (private to jobbody).
 *
 * Entries are collected as they come and sorted when asked: n log n comparisons whatever an
 * attacker chooses, where a hash table would need a secret seed. An entry points into the
 * body, or into a side buffer where it had to be changed first. 8 bytes an entry; a key
 * needs at least five bytes of the body, so the memory is at most 8/5 of it, twice that while the list grows.
 * Sorting borrows another 8 bytes an entry (glibc).
 */
#ifndef JOBGATE_RULES_JOBBODY_KEYS_H
#define JOBGATE_RULES_JOBBODY_KEYS_H

#include "base/buf.h"

/* Offsets and lengths have 31 bits. */
#define JOBBODY_KEYS_BODY_MAX INT32_MAX

/* Most bodies have fewer keys open at a time: no memory is taken for these. */
#define JOBBODY_KEYS_FIRST 32

struct jobbody_key {
	uint32_t at;		/* offset in the body or in `copies` */
	uint32_t n : 31;
	uint32_t copied : 1;
};

struct jobbody_keys {
	struct str body;		/* borrowed */
	struct jobbody_key *keys;	/* `first`, or owned */
	size_t count, size;
	struct buf copies;		/* keys that had escapes, undone */
	struct jobbody_key first[JOBBODY_KEYS_FIRST];
};

/* K must not be moved from then on. */
void jobbody_keys_init(struct jobbody_keys *k, struct str body);
void jobbody_keys_fini(struct jobbody_keys *k);

/* Add TEXT, a slice of the body, still escaped where ESCAPED. */
void jobbody_keys_add(struct jobbody_keys *k, struct str text, bool escaped);

/* The bytes of an entry, valid until the next change. */
struct str jobbody_keys_text(const struct jobbody_keys *k, const struct jobbody_key *key);

/* Sort the entries from FROM on, so that equal ones are neighbours. */
void jobbody_keys_sort(struct jobbody_keys *k, size_t from);

/* Forget the entries from FROM on. */
void jobbody_keys_drop(struct jobbody_keys *k, size_t from);

#endif
