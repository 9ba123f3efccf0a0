/*
 * The table of kept answers: by key, bounded in bytes, the least recently used go first.
 *
 * An entry is there while it has an answer, a grant, or is busy (somebody waits at it). On one thread; the counts are
 * for any. Memory is counted with its overhead, so that `bytes` is what the process has grown by.
 */
#ifndef JOBGATE_GATE_POLL_TABLE_H
#define JOBGATE_GATE_POLL_TABLE_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "gate/poll_answer.h"

#define POLL_DIGEST_BYTES 16	/* of a SHA-256: nobody finds two alike */
#define POLL_CHAINS 65536	/* some 100,000 states are kept */
/* Tokens that are known at one entry; a resource that more people look at asks upstream for the rest. */
#define POLL_GRANTS_MAX 64

struct poll_id { uint8_t key[POLL_DIGEST_BYTES], resource[POLL_DIGEST_BYTES]; };

/* What is known of a token at the entry, by its hash: until when it was seen to succeed, or how often it was not. */
struct poll_grant {
	struct poll_grant *next;
	uint8_t token[POLL_DIGEST_BYTES];
	struct mono_time until;
	struct mono_time paused;	/* nothing is asked with it before; remembered for a minute after */
	unsigned failures;		/* in a row, that led to that */
};

struct poll_entry {
	struct poll_entry *next;
	TAILQ_ENTRY(poll_entry) used;	/* the most recently used is last */
	struct poll_id id;
	struct poll_answer *answer;	/* a reference, or NULL */
	struct poll_grant *grants;	/* owned */
	void *busy;			/* of who waits here; not the table's */
};

TAILQ_HEAD(poll_used, poll_entry);

struct poll_table {
	struct poll_entry **chains;	/* by resource */
	struct poll_used used;
	size_t swept;			/* the chain that is looked at next */
	int64_t max_bytes;
	/* Its answer goes for want of room; may be NULL. */
	void (*on_evicted)(void *arg, const struct poll_entry *entry);
	void *arg;
	atomic_size_t answers;
	atomic_llong bytes;
};

void poll_table_init(struct poll_table *table);
/* No entry is busy any more. */
void poll_table_fini(struct poll_table *table);

/* The entry, or NULL; and made where there is none. Either counts as a use. */
struct poll_entry *poll_table_find(struct poll_table *table, const struct poll_id *id);
struct poll_entry *poll_table_get(struct poll_table *table, const struct poll_id *id);
/* Free ENTRY where nothing is left in it. */
void poll_table_put(struct poll_table *table, struct poll_entry *entry);

/*
 * Keep ANSWER (a reference is taken; NULL: none) in place of what there is; others go where the bytes are too many, and
 * it may itself.
 */
void poll_table_set(struct poll_table *table, struct poll_entry *entry, struct poll_answer *answer);
void poll_table_bound(struct poll_table *table, int64_t max_bytes);

/* Whether TOKEN may share ENTRY's answers at NOW. */
bool poll_table_granted(const struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES], struct mono_time now);
/* It has succeeded: it may until UNTIL (NOW or before: it may not), and has not failed. */
void poll_table_grant(struct poll_table *table, struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES],
    struct mono_time now, struct mono_time until);
/* It may no more. */
void poll_table_revoke(struct poll_table *table, struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES]);
/* It has failed once more; the record, whose `paused` is the caller's to set, lives until the entry is changed. */
struct poll_grant *poll_table_fail(struct poll_table *table, struct poll_entry *entry,
    const uint8_t token[POLL_DIGEST_BYTES], struct mono_time now);
/* Until when nothing is to be asked with it; 0 where it has not failed. */
struct mono_time poll_table_paused(const struct poll_entry *entry, const uint8_t token[POLL_DIGEST_BYTES]);

/* Call EACH for every entry of RESOURCE; it may put the entry. */
void poll_table_each(struct poll_table *table, const uint8_t *resource, void (*each)(void *arg,
    struct poll_entry *entry), void *arg);

/*
 * Look at some chains, all of them within about a minute where it is called once a second: forget answers older than
 * KEEP_US.
 */
void poll_table_sweep(struct poll_table *table, struct mono_time now, int64_t keep_us);

#endif
