/*
 * The journal's inside, shared by journal.c (life and put), journal_writer.c (the thread) and journal_commit.c (what
 * goes to the disk).
 *
 * A record's way: queue (any thread, under the lock) -> held, unwritten -> held, written (write(2) is done; outcomes
 * and events are acknowledged) -> settled (fdatasync is done; intents are acknowledged, the record is forgotten).
 * Records stay held until they are synced, so that nothing is lost with a file whose sync failed: the file is cut back
 * to what was synced before, and what is held is chained anew from there into the next file. An intent that was not
 * acknowledged is taken out at that point and refused: it is in no file, and gets no outcome.
 */
#ifndef JOBGATE_IO_JOURNAL_STATE_H
#define JOBGATE_IO_JOURNAL_STATE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "io/journal.h"
#include "io/journal_chain.h"
#include "io/journal_intents.h"
#include "io/journal_retention.h"
#include "io/journal_segment.h"

#define JOURNAL_SYNC_BUCKETS 16

/* Bytes of what is held, by their place: the memory moves when it grows. */
struct journal_slice { size_t at, n; };

struct journal_record {
	enum journal_kind kind;
	struct journal_slice members;
	struct journal_slice id;	/* request_id of an intent or outcome; empty until it was written */
	struct wall_time time;
	struct journal_entry *entry;	/* to be acknowledged; NULL when that is done */
	bool counted;			/* it was written once: it occupies no room of the ring any more */
};

/* Records in their order: the first WRITTEN of COUNT are in the file, but not synced. */
struct journal_held {
	struct journal_record *records;
	size_t count, size, written;
	struct buf bytes;		/* of them, and of some that are gone; memory kept from batch to batch */
	size_t tidied;			/* so many when those of the gone were last given up */
};

struct journal {
	uint32_t magic;

	/* Set once. */
	char uuid[JOURNAL_UUID_BYTES + 1];
	struct buf directory;
	struct buf prefix;		/* of every line */
	int64_t segment_bytes;
	struct wall_time last_trigger;	/* before this start */
	int dirfd, lockfd;
	pthread_t thread;

	/* Shared, under the lock, which is held for a few instructions. */
	pthread_mutex_t lock;
	sem_t filled;			/* the writer waits for it: a condition would wake it to a lock that another has */
	struct journal_entry *queue, **queue_tail;
	size_t ring_records;		/* how many WAITING and RESERVED may be together */
	size_t waiting;			/* records in the queue, or held and never written */
	size_t reserved;		/* outcomes that are to come for intents taken */
	bool sleeping;			/* the writer waits for FILLED */
	bool stop;
	struct journal_head shown, shown_all;	/* journal_synced_head: without what only anchors moved, and with it */

	/* Read by any thread. */
	atomic_bool up;
	atomic_uint_fast64_t records[JOURNAL_KIND_COUNT];
	atomic_uint_fast64_t dropped_refusals, recovered_unknown, syncs, sync_us_sum;
	atomic_uint_fast64_t sync_buckets[JOURNAL_SYNC_BUCKETS];
	atomic_int_fast64_t free_bytes, intent_us;
	atomic_int_fast64_t busy_since_us;	/* the writer is at what it took then; 0: it waits */

	/* The writer's own (journal_open's until the thread runs, journal_close's when it has ended). */
	struct journal_segment segment;
	struct journal_head head, synced_head;	/* after the last record written; after the last one synced */
	struct journal_held held;
	struct journal_intents open;
	bool rollback_due;		/* the file's end is in doubt: it is cut before anything else is written */
	struct buf lines;		/* of the batch being written; memory kept from batch to batch */
	struct buf fault;		/* why the last commit failed */
	struct mono_time unsynced_since;
	bool failing;
	struct mono_time failing_since, retry_at, announce_at;
	struct wall_time failing_from;
	struct mono_time look_at;	/* when the file system is looked at next */
	struct journal_retention_state retention;
};

/* --- journal_commit.c: the writer's thread only --- */

/* Add a record; ENTRY may be NULL. MEMBERS are copied. */
void journal_hold(struct journal *j, enum journal_kind kind, struct str members, struct wall_time time,
    struct journal_entry *entry);

/*
 * Write what is held, and sync where SYNC or an intent asks for it. False: j->fault says why, what is not settled
 * stays held.
 */
bool journal_commit(struct journal *j, bool sync);

/*
 * Take the intents that are not settled out of what is held and refuse them; answer all others with ok=false, and keep
 * them.
 */
void journal_give_up(struct journal *j);

/*
 * Write and sync what is held but for refusals and anchors, which stay held behind it: they must not take the room that
 * was kept for outcomes.
 */
bool journal_commit_kept(struct journal *j);
/* Whether records of KIND may wait for the room that outcomes leave. */
bool journal_kind_can_wait(enum journal_kind kind);

/* Whether the disk has room for what is held and for the outcomes that may come, and SPARE bytes more. */
bool journal_has_room(struct journal *j, int64_t spare);

/* Write and sync an event of our own. Takes MEMBERS. False: it is not in the journal, j->fault says why. */
bool journal_commit_event(struct journal *j, struct buf *members);

/* See what is free on the file system, for whoever asks. */
void journal_look_space(struct journal *j);

/* Note how far the journal has come; false (logged, errno) where it cannot: the old checkpoint is still true. */
bool journal_commit_checkpoint(struct journal *j);

/*
 * Forget all that is held, unacknowledged entries are answered with ok=false; returns how many records were never
 * written.
 */
size_t journal_drop_held(struct journal *j);

/* --- journal_writer.c --- */
void *journal_writer_main(void *journal);

#endif
