/*
 * Heads of audit journals: what instances show each other, so that each can write down the others'.
 *
 * A head is a record's place and hash: who later cuts or rewrites a journal before it must rewrite all journals that
 * hold it.
 */
#ifndef JOBGATE_RULES_HEADS_H
#define JOBGATE_RULES_HEADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The others that one instance knows of; rules/heads.lua has the same number. */
#define HEADS_MAX 63
#define HEADS_UUID_BYTES 36
#define HEADS_HASH_HEX 64

struct heads_head {
	char journal[HEADS_UUID_BYTES + 1];	/* a UUID in lower case */
	uint64_t seq;
	char hash[HEADS_HASH_HEX];		/* in lower case */
};

struct heads {
	size_t count;
	struct heads_head heads[HEADS_MAX];
};

/* Whether HEADS has exactly this head. */
bool heads_have(const struct heads *heads, const struct heads_head *head);

/* Add a copy; false where there is no room. */
bool heads_add(struct heads *heads, const struct heads_head *head);

#endif
