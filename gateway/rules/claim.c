/* Claims in memory: a table by name, and a wheel of seconds by which they are forgotten. */
#include "rules/claim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/check.h"

/* Chains: 150,000 claims of about 900 bytes are what the default of 128 MB holds. */
#define CLAIM_CHAINS 65536
/* Slots of a second each; an entry of 24 hours is looked at 21 times in its life. */
#define CLAIM_SLOTS 4096
#define CLAIM_SLOT_US INT64_C(1000000)
/* What malloc takes beside each of an entry's two pieces. */
#define CLAIM_OVERHEAD 32

struct claim {
	LIST_ENTRY(claim) chain, slot;
	uint8_t name[CLAIM_DIGEST_BYTES], print[CLAIM_DIGEST_BYTES];
	char id[CLAIM_ID_BYTES];
	bool finished, unknown;
	int64_t lease_until_us, forget_us;
	struct buf answer;
};

LIST_HEAD(claim_list, claim);

struct claim_table {
	size_t max_bytes, bytes, count;
	int64_t swept;				/* the second up to which slots were looked at */
	struct claim_list chains[CLAIM_CHAINS], slots[CLAIM_SLOTS];
};

enum claim_fate
claim_fate(bool sent, int status, bool retriable, bool ambiguous)
{
	if (!sent || status == 429 || status == 401 || (status != 0 && retriable))
		return CLAIM_FATE_WITHDRAW;
	return status == 0 || ambiguous ? CLAIM_FATE_UNKNOWN : CLAIM_FATE_FINISH;
}

struct claim_table *
claim_table_new(size_t max_bytes)
{
	struct claim_table *table = calloc(1, sizeof(*table));

	check(table != NULL);
	table->max_bytes = max_bytes;
	table->swept = -1;
	return table;
}

/* Take an entry out of the table and free it. */
static void
claim_drop(struct claim_table *table, struct claim *claim)
{
	LIST_REMOVE(claim, chain);
	LIST_REMOVE(claim, slot);
	table->count--;
	table->bytes -= sizeof(*claim) + CLAIM_OVERHEAD + (claim->answer.size ? claim->answer.size + CLAIM_OVERHEAD : 0);
	buf_fini(&claim->answer);
	free(claim);
}

void
claim_table_free(struct claim_table **table_p)
{
	struct claim_table *table = *table_p;

	if (table == NULL)
		return;
	*table_p = NULL;
	for (size_t i = 0; i < CLAIM_SLOTS; i++)
		while (!LIST_EMPTY(&table->slots[i]))
			claim_drop(table, LIST_FIRST(&table->slots[i]));
	free(table);
}

void
claim_table_set_bytes(struct claim_table *table, size_t max_bytes)
{
	table->max_bytes = max_bytes;
}

/* The chain of a name: a digest is as good as a hash of it. */
static struct claim_list *
claim_chain(struct claim_table *table, const uint8_t name[CLAIM_DIGEST_BYTES])
{
	return &table->chains[(size_t)name[0] << 8 | name[1]];
}

/* Forget what is due in one slot; entries of later rounds stay. */
static void
claim_sweep_slot(struct claim_table *table, struct claim_list *slot, int64_t now_us)
{
	struct claim *claim = LIST_FIRST(slot), *next;

	for (; claim; claim = next) {
		next = LIST_NEXT(claim, slot);
		if (claim->forget_us <= now_us)
			claim_drop(table, claim);
	}
}

/* Look at the slots of the seconds that have passed. */
static void
claim_sweep(struct claim_table *table, int64_t now_us)
{
	int64_t second = now_us / CLAIM_SLOT_US;

	if (table->swept < second - CLAIM_SLOTS)
		table->swept = second - CLAIM_SLOTS;
	while (table->swept < second)
		claim_sweep_slot(table, &table->slots[++table->swept % CLAIM_SLOTS], now_us);
}

/* The entry of a name, NULL where there is none that still holds. */
static struct claim *
claim_find(struct claim_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], int64_t now_us)
{
	struct claim *claim;

	LIST_FOREACH(claim, claim_chain(table, name), chain)
		if (memcmp(claim->name, name, CLAIM_DIGEST_BYTES) == 0)
			break;
	if (claim && claim->forget_us <= now_us) {
		claim_drop(table, claim);
		claim = NULL;
	}
	return claim;
}

/* Put an entry where it is found when it is to be forgotten: the second after, so that it is due by then. */
static void
claim_remember(struct claim_table *table, struct claim *claim, int64_t forget_us)
{
	claim->forget_us = forget_us;
	LIST_INSERT_HEAD(&table->slots[(forget_us / CLAIM_SLOT_US + 1) % CLAIM_SLOTS], claim, slot);
}

/* Make the asker the holder. */
static void
claim_new(struct claim_table *table, const struct claim_ask *ask, int64_t now_us)
{
	struct claim *claim = calloc(1, sizeof(*claim));

	check(claim != NULL);
	memcpy(claim->name, ask->name, sizeof(claim->name));
	memcpy(claim->print, ask->print, sizeof(claim->print));
	memcpy(claim->id, ask->id, sizeof(claim->id));
	claim->lease_until_us = now_us + ask->lease_us;
	LIST_INSERT_HEAD(claim_chain(table, ask->name), claim, chain);
	claim_remember(table, claim, claim->lease_until_us + ask->keep_us);
	table->count++;
	table->bytes += sizeof(*claim) + CLAIM_OVERHEAD;
}

/* Say how an entry stands to one who asks for the same. */
static void
claim_tell(const struct claim *claim, int64_t now_us, struct claim_answer *answer)
{
	if (claim->finished) {
		answer->state = CLAIM_FINISHED;
		answer->answer = buf_str(&claim->answer);
	} else if (claim->unknown || claim->lease_until_us <= now_us) {
		answer->state = CLAIM_UNKNOWN;
	} else {
		answer->state = CLAIM_HELD;
		answer->left_us = claim->lease_until_us - now_us;
	}
}

void
claim_take(struct claim_table *table, const struct claim_ask *ask, int64_t now_us, struct claim_answer *answer)
{
	struct claim *claim;

	*answer = (struct claim_answer){ .state = CLAIM_TAKEN };
	claim_sweep(table, now_us);
	claim = claim_find(table, ask->name, now_us);
	if (claim) {
		memcpy(answer->first, claim->id, sizeof(answer->first));
		if (memcmp(claim->print, ask->print, sizeof(claim->print)) != 0)
			answer->state = CLAIM_MISMATCH;
		else
			claim_tell(claim, now_us, answer);
	} else if (table->bytes >= table->max_bytes) {
		answer->state = CLAIM_FULL;
	} else {
		claim_new(table, ask, now_us);
	}
}

bool
claim_settle(struct claim_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    enum claim_fate fate, struct str answer, int64_t keep_us, int64_t now_us)
{
	struct claim *claim = claim_find(table, name, now_us);

	if (claim == NULL || memcmp(claim->id, id, CLAIM_ID_BYTES) != 0)
		return false;
	if (fate == CLAIM_FATE_WITHDRAW) {
		claim_drop(table, claim);
		return true;
	}
	claim->unknown = fate == CLAIM_FATE_UNKNOWN;
	if (fate == CLAIM_FATE_FINISH && !claim->finished) {
		claim->finished = true;
		buf_add(&claim->answer, answer);
		table->bytes += claim->answer.size ? claim->answer.size + CLAIM_OVERHEAD : 0;
	}
	LIST_REMOVE(claim, slot);
	claim_remember(table, claim, now_us + keep_us);
	return true;
}

size_t
claim_table_count(const struct claim_table *table)
{
	return table->count;
}

size_t
claim_table_bytes(const struct claim_table *table)
{
	return table->bytes;
}
