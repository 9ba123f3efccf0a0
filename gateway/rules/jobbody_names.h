/*
 * The names of a body's parameters, and which of them stand twice when case does not count (private to jobbody).
 *
 * Folded are one- and two-byte letters of UTF-8 that have a partner of the same length: ASCII, Latin-1, Latin
 * Extended-A and the Vietnamese, Croatian, Romanian and Livonian ones of Extended-B, Greek, Cyrillic, Armenian
 * (Unicode simple case folding; final sigma counts as sigma, the Turkish i is left alone). Other letters compare as
 * they are: the service has the last word. Names are not normalised.
 */
#ifndef JOBGATE_RULES_JOBBODY_NAMES_H
#define JOBGATE_RULES_JOBBODY_NAMES_H

#include "base/buf.h"

struct jobbody_name {
	uint32_t at, n;		/* in `text` and in `folded` */
	uint32_t index;		/* of the parameter */
	uint32_t first;		/* of the first parameter with the same name */
};

struct jobbody_names {
	struct jobbody_name *names;	/* owned */
	size_t count, size;
	struct buf text, folded;	/* folding keeps the length, so offsets are the same */
};

void jobbody_names_fini(struct jobbody_names *names);

/*
 * Add the name TEXT (escapes still in it where ESCAPED) of parameter INDEX, not below that of the one before.
 * Returns its bytes with escapes undone, valid until the next addition.
 */
struct str jobbody_names_add(struct jobbody_names *names, struct str text, bool escaped, size_t index);

/*
 * Keep only the names that a parameter before had already, in order of their index, with `first` set; the
 * list is not to be added to afterwards.
 */
void jobbody_names_keep_repeats(struct jobbody_names *names);

/* The spelling of an entry. */
struct str jobbody_names_text(const struct jobbody_names *names, const struct jobbody_name *name);

#endif
