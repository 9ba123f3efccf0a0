/*
 * The audit journal's life, and how records come in.
 *
 * journal_open: directory, lock, recovery (journal_recover.c), the orphans' outcomes, the thread (journal_writer.c).
 * journal_put: the queue. journal_close: the queue is drained, the thread joined, a checkpoint written, the lock given
 * back.
 */
#include "io/journal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "io/journal_dir.h"
#include "io/journal_recover.h"
#include "io/journal_state.h"

#define JOURNAL_MAGIC 0x6a726e6cu	/* "jrnl" */

/* --- open --- */

/* A journal that owns nothing yet. */
static struct journal *
journal_new(const struct journal_settings *settings)
{
	struct journal *j = calloc(1, sizeof(*j));

	check(j != NULL);
	j->magic = JOURNAL_MAGIC;
	j->dirfd = j->lockfd = j->segment.fd = -1;
	j->retention.opened_mono = clock_now_mono();
	j->retention.opened_wall = clock_now_wall();
	j->segment_bytes = settings->segment_bytes;
	j->ring_records = settings->ring_records;
	buf_add(&j->directory, settings->directory);
	j->queue_tail = &j->queue;
	pthread_mutex_init(&j->lock, NULL);
	sem_init(&j->filled, 0, 0);
	atomic_init(&j->up, true);
	atomic_init(&j->free_bytes, -1);
	return j;
}

/* Give back all that a journal without a thread owns. */
static void
journal_free(struct journal *j)
{
	journal_drop_held(j);
	journal_intents_fini(&j->open);
	journal_segment_close(&j->segment);
	if (j->dirfd >= 0)
		close(j->dirfd);
	if (j->lockfd >= 0)
		close(j->lockfd);	/* which unlocks */
	sem_destroy(&j->filled);
	pthread_mutex_destroy(&j->lock);
	buf_fini(&j->directory);
	buf_fini(&j->retention.collected);
	buf_fini(&j->prefix);
	buf_fini(&j->lines);
	buf_fini(&j->fault);
	j->magic = 0;
	free(j);
}

/* Hold a record of our own; the thread does not run yet. Takes MEMBERS. */
static void
open_hold(struct journal *j, enum journal_kind kind, struct buf *members)
{
	j->waiting++;
	journal_hold(j, kind, buf_str(members), clock_now_wall(), NULL);
	buf_fini(members);
}

/* Hold a record of what was cut or is missing: the log line may be lost, the journal is not. */
static void
open_tell(struct journal *j, const struct journal_recovery *r)
{
	struct buf members = BUF_EMPTY;
	struct jsonw w = { &members, false };

	if (r->torn_bytes == 0 && r->missing_from == 0)
		return;
	jsonw_string(&w, "kind", STR("recover"));
	jsonw_int(&w, "torn_bytes", r->torn_bytes);
	if (r->missing_from) {
		jsonw_int(&w, "missing_from_seq", (int64_t)r->missing_from);
		jsonw_int(&w, "missing_to_seq", (int64_t)r->missing_to);
	}
	open_hold(j, JOURNAL_EVENT, &members);
}

/* Hold the record that accepts damage, where one is to be accepted. */
static void
open_accept(struct journal *j, const struct journal_recovery *r, const struct journal_accept *accept)
{
	struct buf members = BUF_EMPTY;

	if (r->accepted == NULL)
		return;
	journal_repair_members(&members, r->accepted, accept);
	open_hold(j, JOURNAL_EVENT, &members);
}

/* Hold the outcome `unknown` of each intent that has none, in the order of the intents. */
static void
open_orphans(struct journal *j, const struct journal_settings *settings)
{
	struct journal_intent **list = journal_intents_sorted(&j->open);

	for (size_t i = 0; i < j->open.count; i++) {
		struct buf members = BUF_EMPTY;

		settings->make_unknown(&members, list[i]->line);
		if (settings->on_orphan)
			settings->on_orphan(settings->arg, list[i]->line);
		open_hold(j, JOURNAL_OUTCOME, &members);
	}
	atomic_store(&j->recovered_unknown, j->open.count);
	free(list);
}

/* Take over what the recovery found. */
static void
open_adopt(struct journal *j, struct journal_recovery *r, struct str instance)
{
	/* An open intent's request may have been sent at any time up to the kill, be it a moment ago. */
	j->last_trigger = r->open.count > 0 ? clock_now_wall() : r->last_trigger;
	memcpy(j->uuid, r->uuid, sizeof(j->uuid));
	journal_line_prefix(&j->prefix, str_from(j->uuid), instance);
	j->head = j->synced_head = j->shown = j->shown_all = r->head;
	j->open = r->open;
	r->open = (struct journal_intents){ NULL, 0, 0 };
	j->segment = r->last;
	r->last.fd = -1;
}

/* Recover, and make durable what follows from it. */
static bool
open_recover(struct journal *j, const struct journal_settings *settings, struct buf *error)
{
	struct journal_recovery r;
	bool ok = journal_recover(&r, j->dirfd, settings->directory, settings->accept, error);

	if (ok) {
		open_adopt(j, &r, settings->instance);
		open_tell(j, &r);
		open_accept(j, &r, settings->accept);
		open_orphans(j, settings);
		ok = journal_commit(j, true);
		if (!ok)
			buf_printf(error, "audit directory %.*s: %.*s", STR_ARG(settings->directory),
			    STR_ARG(buf_str(&j->fault)));
	}
	if (ok) {
		journal_commit_checkpoint(j);
		journal_look_space(j);
		log_line(LOG_INFO, "audit journal open", log_s("directory", settings->directory),
		    log_z("journal", j->uuid),
		    log_i("seq", (int64_t)j->head.seq), log_i("records_read", (int64_t)r.records),
		    log_i("unknown", (int64_t)atomic_load(&j->recovered_unknown)));
	}
	journal_recovery_fini(&r);
	return ok;
}

/* Start the thread; signals are for others. */
static bool
open_thread(struct journal *j, struct buf *error)
{
	sigset_t all, before;
	int why;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	why = pthread_create(&j->thread, NULL, journal_writer_main, j);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (why == 0) {
		pthread_setname_np(j->thread, "audit");
		return true;
	}
	buf_printf(error, "cannot start the audit writer: %s", strerror(why));
	return false;
}

struct journal *
journal_open(const struct journal_settings *settings, struct buf *error)
{
	struct journal *j = journal_new(settings);

	check(settings->make_unknown != NULL && settings->segment_bytes > 0 && settings->ring_records >= 2);
	j->dirfd = journal_dir_open(settings->directory, error);
	if (j->dirfd >= 0)
		j->lockfd = journal_dir_lock(j->dirfd, settings->directory, error);
	if (j->lockfd >= 0 && open_recover(j, settings, error) && open_thread(j, error))
		return j;
	journal_free(j);
	return NULL;
}

/* --- close --- */

void
journal_close(struct journal **journal)
{
	struct journal *j = *journal;

	if (j == NULL)
		return;
	*journal = NULL;
	check_magic(j, JOURNAL_MAGIC);
	pthread_mutex_lock(&j->lock);
	j->stop = true;
	sem_post(&j->filled);
	pthread_mutex_unlock(&j->lock);
	pthread_join(j->thread, NULL);
	if (j->held.count == 0 && !j->failing)
		journal_commit_checkpoint(j);
	else if (j->held.count > j->held.written)
		log_line(LOG_ERROR, "audit records lost", log_i("count", (int64_t)(j->held.count - j->held.written)),
		    log_s("error", buf_str(&j->fault)));
	journal_free(j);
}

/* --- put --- */

/* The acknowledgement has reached the owner's loop. */
static void
on_acknowledged(struct mail *mail)
{
	struct journal_entry *entry = (struct journal_entry *)((char *)mail - offsetof(struct journal_entry, mail));

	entry->on_done(entry, entry->ok);
}

/*
 * Whether the ring has a place for a record of KIND; takes it. An intent takes its outcome's place along. The lock is
 * held.
 */
static bool
put_reserve(struct journal *j, enum journal_kind kind)
{
	size_t used = j->waiting + j->reserved;

	if (kind == JOURNAL_INTENT && (used + 2 > j->ring_records || !atomic_load(&j->up)))
		return false;
	if (kind == JOURNAL_REFUSAL && used + 1 > j->ring_records)
		return false;
	if (kind == JOURNAL_ANCHOR && (used + 1 > j->ring_records || !atomic_load(&j->up)))
		return false;
	if (kind == JOURNAL_INTENT)
		j->reserved++;
	if (kind == JOURNAL_OUTCOME && j->reserved > 0)
		j->reserved--;
	j->waiting++;
	return true;
}

/* A refusal that found no room: it is counted, and its owner hears that it was not written. */
static void
put_drop(struct journal *j, struct journal_entry *entry)
{
	atomic_fetch_add(&j->dropped_refusals, 1);
	buf_fini(&entry->members);
	entry->ok = false;
	if (entry->loop)
		loop_post(entry->loop, &entry->mail);
	else
		free(entry);
}

/* Put an entry into the queue where the ring has a place for it. */
static bool
put_queue(struct journal *j, struct journal_entry *entry)
{
	bool taken;

	check_magic(j, JOURNAL_MAGIC);
	check(entry->kind < JOURNAL_KIND_COUNT && (entry->lent.n == 0 || entry->loop != NULL));
	entry->mail.run = on_acknowledged;
	entry->next = NULL;
	pthread_mutex_lock(&j->lock);
	check(!j->stop);
	taken = put_reserve(j, entry->kind);
	if (taken) {
		*j->queue_tail = entry;
		j->queue_tail = &entry->next;
	}
	pthread_mutex_unlock(&j->lock);
	return taken;
}

bool
journal_put_unheard(struct journal *j, struct journal_entry *entry)
{
	if (put_queue(j, entry))
		return true;
	if (entry->kind != JOURNAL_REFUSAL)
		return false;
	put_drop(j, entry);
	return true;
}

void
journal_wake(struct journal *j)
{
	bool wake;

	pthread_mutex_lock(&j->lock);
	wake = j->sleeping && j->queue != NULL;
	if (wake)
		j->sleeping = false;
	pthread_mutex_unlock(&j->lock);
	if (wake)
		sem_post(&j->filled);
}

bool
journal_put(struct journal *j, struct journal_entry *entry)
{
	bool taken = journal_put_unheard(j, entry);

	journal_wake(j);
	return taken;
}

void
journal_set_ring(struct journal *j, size_t records)
{
	check(records >= 2);
	pthread_mutex_lock(&j->lock);
	j->ring_records = records;
	pthread_mutex_unlock(&j->lock);
}

/* --- retention --- */

void
journal_set_retention(struct journal *j, const struct journal_retention *retention)
{
	pthread_mutex_lock(&j->lock);
	j->retention.age_us = retention->age_us;
	j->retention.bytes = retention->bytes;
	buf_clear(&j->retention.collected);
	buf_add(&j->retention.collected, retention->collected);
	if (retention->collected.n > 0)
		buf_add_char(&j->retention.collected, '\0');
	atomic_store(&j->retention.changed, true);
	sem_post(&j->filled);
	pthread_mutex_unlock(&j->lock);
}

/* --- looking at it --- */

bool
journal_retention_is_ill(const struct journal *j)
{
	return atomic_load(&j->retention.ill);
}

bool
journal_synced_head(struct journal *j, bool all, struct journal_head *head)
{
	pthread_mutex_lock(&j->lock);
	*head = all ? j->shown_all : j->shown;
	pthread_mutex_unlock(&j->lock);
	return head->seq > 0;
}

int64_t
journal_free_bytes(const struct journal *j)
{
	return atomic_load(&j->free_bytes);
}

int64_t
journal_intent_us(const struct journal *j)
{
	int64_t us = atomic_load_explicit(&j->intent_us, memory_order_relaxed);
	int64_t busy_since_us = atomic_load_explicit(&j->busy_since_us, memory_order_relaxed);
	int64_t busy_us = busy_since_us != 0 ? clock_now_mono().us - busy_since_us : 0;

	return busy_us > us ? busy_us : us;
}

bool
journal_is_up(const struct journal *j)
{
	return atomic_load(&j->up);
}

struct journal_counts
journal_counts(const struct journal *j)
{
	struct journal_counts c = {
		.dropped_refusals = atomic_load(&j->dropped_refusals),
		.recovered_unknown = atomic_load(&j->recovered_unknown),
		.syncs = atomic_load(&j->syncs),
		.sync_us_sum = atomic_load(&j->sync_us_sum),
	};

	for (size_t i = 0; i < JOURNAL_KIND_COUNT; i++)
		c.records[i] = atomic_load(&j->records[i]);
	for (size_t i = 0; i < JOURNAL_SYNC_BUCKETS; i++)
		c.sync_buckets[i] = atomic_load(&j->sync_buckets[i]);
	return c;
}

struct wall_time
journal_last_trigger(const struct journal *j)
{
	return j->last_trigger;
}

struct str
journal_uuid(const struct journal *j)
{
	return str_from(j->uuid);
}
