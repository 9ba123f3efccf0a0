/* The table of kept answers. */
#include "gate/poll_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* What malloc adds to each piece, rounded up. */
#define TABLE_PIECE_BYTES 16
#define TABLE_SWEEP_CHAINS 1024
#define TABLE_FAILURES_US (60 * (int64_t)CLOCK_SECOND)

/* The chain of a resource. */
static struct poll_entry **
table_chain(struct poll_table *table, const uint8_t *resource)
{
	return &table->chains[(resource[0] << 8 | resource[1]) % POLL_CHAINS];
}

/* Count N bytes more, or less. */
static void
table_count(struct poll_table *table, int64_t n)
{
	atomic_fetch_add_explicit(&table->bytes, n, memory_order_relaxed);
}

/* The bytes that an answer takes. */
static int64_t
table_answer_bytes(const struct poll_answer *answer)
{
	return (int64_t)(sizeof(*answer) + answer->head_bytes + answer->body_bytes + TABLE_PIECE_BYTES);
}

#define TABLE_ENTRY_BYTES ((int64_t)(sizeof(struct poll_entry) + TABLE_PIECE_BYTES))
#define TABLE_GRANT_BYTES ((int64_t)(sizeof(struct poll_grant) + TABLE_PIECE_BYTES))

void
poll_table_init(struct poll_table *table)
{
	*table = (struct poll_table){ .chains = calloc(POLL_CHAINS, sizeof(*table->chains)), .max_bytes = INT64_MAX };
	check(table->chains != NULL);
	TAILQ_INIT(&table->used);
}

/* Let go of the answer that is kept. */
static void
table_drop_answer(struct poll_table *table, struct poll_entry *entry)
{
	if (entry->answer == NULL)
		return;
	table_count(table, -table_answer_bytes(entry->answer));
	atomic_fetch_sub_explicit(&table->answers, 1, memory_order_relaxed);
	poll_answer_unref(&entry->answer);
}

/* Free the grant at *LINK. */
static void
table_drop_grant(struct poll_table *table, struct poll_grant **link)
{
	struct poll_grant *grant = *link;

	*link = grant->next;
	free(grant);
	table_count(table, -TABLE_GRANT_BYTES);
}

/* Whether there is nothing to be known of GRANT any more. */
static bool
table_grant_is_over(const struct poll_grant *grant, struct mono_time now)
{
	return mono_since(grant->until, now) <= 0
	    && (grant->failures == 0 || mono_since(now, grant->paused) > TABLE_FAILURES_US);
}

/* Forget grants that are over at NOW, and all beyond the newest MOST. */
static void
table_trim_grants(struct poll_table *table, struct poll_entry *entry, struct mono_time now, size_t most)
{
	struct poll_grant **link = &entry->grants;
	size_t count = 0;

	while (*link)
		if (table_grant_is_over(*link, now) || count == most) {
			table_drop_grant(table, link);
		} else {
			count++;
			link = &(*link)->next;
		}
}

/* Take ENTRY out, with all that is in it. */
static void
table_remove(struct poll_table *table, struct poll_entry *entry)
{
	struct poll_entry **link = table_chain(table, entry->id.resource);

	check(entry->busy == NULL);
	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
	TAILQ_REMOVE(&table->used, entry, used);
	table_drop_answer(table, entry);
	while (entry->grants)
		table_drop_grant(table, &entry->grants);
	free(entry);
	table_count(table, -TABLE_ENTRY_BYTES);
}

void
poll_table_fini(struct poll_table *table)
{
	struct poll_entry *entry;

	while ((entry = TAILQ_FIRST(&table->used)) != NULL)
		table_remove(table, entry);
	check(atomic_load(&table->bytes) == 0 && atomic_load(&table->answers) == 0);
	free(table->chains);
}

struct poll_entry *
poll_table_find(struct poll_table *table, const struct poll_id *id)
{
	struct poll_entry *entry = *table_chain(table, id->resource);

	while (entry && memcmp(&entry->id, id, sizeof(*id)) != 0)
		entry = entry->next;
	if (entry) {
		TAILQ_REMOVE(&table->used, entry, used);
		TAILQ_INSERT_TAIL(&table->used, entry, used);
	}
	return entry;
}

struct poll_entry *
poll_table_get(struct poll_table *table, const struct poll_id *id)
{
	struct poll_entry *entry = poll_table_find(table, id), **chain = table_chain(table, id->resource);

	if (entry)
		return entry;
	entry = calloc(1, sizeof(*entry));
	check(entry != NULL);
	entry->id = *id;
	entry->next = *chain;
	*chain = entry;
	TAILQ_INSERT_TAIL(&table->used, entry, used);
	table_count(table, TABLE_ENTRY_BYTES);
	return entry;
}

void
poll_table_put(struct poll_table *table, struct poll_entry *entry)
{
	if (entry->answer == NULL && entry->grants == NULL && entry->busy == NULL)
		table_remove(table, entry);
}

/* Let the least recently used go until the bytes are no more than they may be. */
static void
table_evict(struct poll_table *table)
{
	struct poll_entry *entry, *next;

	for (entry = TAILQ_FIRST(&table->used); entry && atomic_load(&table->bytes) > table->max_bytes; entry = next) {
		next = TAILQ_NEXT(entry, used);
		if (entry->answer && table->on_evicted)
			table->on_evicted(table->arg, entry);
		table_drop_answer(table, entry);
		if (entry->busy == NULL)
			table_remove(table, entry);
	}
}

void
poll_table_set(struct poll_table *table, struct poll_entry *entry, struct poll_answer *answer)
{
	struct poll_answer *held = answer ? poll_answer_ref(answer) : NULL;

	table_drop_answer(table, entry);
	if (held == NULL)
		return;
	entry->answer = held;
	table_count(table, table_answer_bytes(held));
	atomic_fetch_add_explicit(&table->answers, 1, memory_order_relaxed);
	TAILQ_REMOVE(&table->used, entry, used);
	TAILQ_INSERT_TAIL(&table->used, entry, used);
	table_evict(table);
}

void
poll_table_bound(struct poll_table *table, int64_t max_bytes)
{
	table->max_bytes = max_bytes;
	table_evict(table);
}

/* Where what is known of TOKEN stands, or ends. */
static struct poll_grant **
table_grant(struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES])
{
	struct poll_grant **link = &entry->grants;

	while (*link && memcmp((*link)->token, token, POLL_DIGEST_BYTES) != 0)
		link = &(*link)->next;
	return link;
}

/* What is known of TOKEN, or NULL. */
static const struct poll_grant *
table_find_grant(const struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES])
{
	const struct poll_grant *grant = entry->grants;

	while (grant && memcmp(grant->token, token, POLL_DIGEST_BYTES) != 0)
		grant = grant->next;
	return grant;
}

/* The record of TOKEN as the newest, made where there is none. */
static struct poll_grant *
table_renew_grant(struct poll_table *table, struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES],
    struct mono_time now)
{
	struct poll_grant **link = table_grant(entry, token), *grant = *link;

	if (grant) {
		*link = grant->next;
	} else {
		table_trim_grants(table, entry, now, POLL_GRANTS_MAX - 1);
		grant = calloc(1, sizeof(*grant));
		check(grant != NULL);
		memcpy(grant->token, token, POLL_DIGEST_BYTES);
		table_count(table, TABLE_GRANT_BYTES);
	}
	grant->next = entry->grants;
	entry->grants = grant;
	return grant;
}

bool
poll_table_granted(const struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES], struct mono_time now)
{
	const struct poll_grant *grant = table_find_grant(entry, token);

	return grant && mono_since(grant->until, now) > 0;
}

void
poll_table_grant(struct poll_table *table, struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES],
    struct mono_time now, struct mono_time until)
{
	struct poll_grant *grant;

	if (mono_since(until, now) <= 0) {
		if (*table_grant(entry, token))
			table_drop_grant(table, table_grant(entry, token));
		return;
	}
	grant = table_renew_grant(table, entry, token, now);
	grant->until = until;
	grant->failures = 0;
}

void
poll_table_revoke(struct poll_table *table, struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES])
{
	struct poll_grant **link = table_grant(entry, token);

	if (*link == NULL)
		return;
	(*link)->until.us = 0;
	if ((*link)->failures == 0)
		table_drop_grant(table, link);
}

struct poll_grant *
poll_table_fail(struct poll_table *table, struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES],
    struct mono_time now)
{
	struct poll_grant *grant = table_renew_grant(table, entry, token, now);

	grant->failures++;
	return grant;
}

struct mono_time
poll_table_paused(const struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES])
{
	const struct poll_grant *grant = table_find_grant(entry, token);

	return grant && grant->failures > 0 ? grant->paused : (struct mono_time){ 0 };
}

void
poll_table_each(struct poll_table *table, const uint8_t *resource, void (*each)(void *arg, struct poll_entry *entry),
    void *arg)
{
	struct poll_entry *entry = *table_chain(table, resource), *next;

	for (; entry; entry = next) {
		next = entry->next;
		if (memcmp(entry->id.resource, resource, POLL_DIGEST_BYTES) == 0)
			each(arg, entry);
	}
}

/* Forget what is over in one entry, and that where nothing is left. */
static void
table_sweep(struct poll_table *table, struct poll_entry *entry, struct mono_time now, int64_t keep_us)
{
	if (entry->answer && mono_since(now, entry->answer->came) > keep_us)
		table_drop_answer(table, entry);
	table_trim_grants(table, entry, now, POLL_GRANTS_MAX);
	poll_table_put(table, entry);
}

void
poll_table_sweep(struct poll_table *table, struct mono_time now, int64_t keep_us)
{
	struct poll_entry *entry, *next;

	for (size_t i = 0; i < TABLE_SWEEP_CHAINS; i++, table->swept = (table->swept + 1) % POLL_CHAINS)
		for (entry = table->chains[table->swept]; entry; entry = next) {
			next = entry->next;
			table_sweep(table, entry, now, keep_us);
		}
}
