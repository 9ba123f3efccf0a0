/* Heads of audit journals. */
#include "rules/heads.h"

#include <string.h>

/* Whether two heads are of the same record. */
static bool
heads_equal(const struct heads_head *a, const struct heads_head *b)
{
	return a->seq == b->seq && memcmp(a->hash, b->hash, HEADS_HASH_HEX) == 0 && strcmp(a->journal, b->journal) == 0;
}

bool
heads_have(const struct heads *heads, const struct heads_head *head)
{
	for (size_t i = 0; i < heads->count; i++)
		if (heads_equal(&heads->heads[i], head))
			return true;
	return false;
}

bool
heads_add(struct heads *heads, const struct heads_head *head)
{
	if (heads->count == HEADS_MAX)
		return false;
	heads->heads[heads->count++] = *head;
	return true;
}
