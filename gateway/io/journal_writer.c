/* The writer thread: takes what was put, commits it in groups, and tries again while the disk fails. */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "io/journal_state.h"

/*
 * Records of one write: a few hundred KB, so that a file outgrows its size by no more and an intent waits for no more.
 */
#define WRITER_BATCH_RECORDS 1024
/*
 * Outcomes without a later intent are synced after so long, or so many: what is held for the case of a failed sync is
 * bounded.
 */
#define WRITER_SYNC_AFTER_US CLOCK_SECOND
#define WRITER_SYNC_AFTER_RECORDS 4096
#define WRITER_LOOK_US ((int64_t)CLOCK_SECOND)
#define WRITER_RETRY_US (200 * CLOCK_MS)
#define WRITER_ANNOUNCE_US (30 * (int64_t)CLOCK_SECOND)
/* Spare room wanted before intents are taken again, so that a full disk does not make it flap. */
#define WRITER_SPARE_BYTES 65536
/* How often a failing disk is tried once more at the end: a second. */
#define WRITER_STOP_TRIES 5

/* The earlier of two moments. */
static struct mono_time
writer_earlier(struct mono_time a, struct mono_time b)
{
	return mono_since(a, b) < 0 ? a : b;
}

/* When there is something to do though nothing is put. */
static struct mono_time
writer_deadline(const struct journal *j)
{
	if (j->failing)
		return writer_earlier(j->look_at, j->retry_at);
	if (j->held.written > 0)
		return writer_earlier(j->look_at, mono_add(j->unsynced_since, WRITER_SYNC_AFTER_US));
	return j->look_at;
}

/* Wait for entries, DEADLINE or the stop; the lock is held, but while it waits. */
static void
writer_wait(struct journal *j, struct mono_time deadline)
{
	struct timespec ts = { deadline.us / CLOCK_SECOND, deadline.us % CLOCK_SECOND * 1000 };
	bool late = false;

	while (!late && j->queue == NULL && (!j->stop || j->failing) && (j->failing || !atomic_load(&j->retention.changed))) {
		j->sleeping = true;
		pthread_mutex_unlock(&j->lock);
		late = sem_clockwait(&j->filled, CLOCK_MONOTONIC, &ts) != 0 && errno == ETIMEDOUT;
		pthread_mutex_lock(&j->lock);
	}
	j->sleeping = false;
}

/* Hold what was put, at most a batch. False: it was stopped, and nothing is left in the queue. */
static bool
writer_take(struct journal *j)
{
	struct journal_entry *list, **end = &list, *next;
	bool more;

	pthread_mutex_lock(&j->lock);
	writer_wait(j, writer_deadline(j));
	list = j->queue;
	for (size_t n = 0; *end && n < WRITER_BATCH_RECORDS; n++)
		end = &(*end)->next;
	j->queue = *end;
	if (j->queue == NULL)
		j->queue_tail = &j->queue;
	*end = NULL;
	more = j->queue != NULL || !j->stop;
	pthread_mutex_unlock(&j->lock);
	for (; list; list = next) {
		next = list->next;
		journal_hold(j, list->kind, list->lent.n > 0 ? list->lent : buf_str(&list->members), list->time, list);
		buf_fini(&list->members);
	}
	return more;
}

/* Say that it fails: once, and every 30 s. */
static void
writer_announce(struct journal *j, struct mono_time now)
{
	if (mono_since(j->announce_at, now) > 0)
		return;
	j->announce_at = mono_add(now, WRITER_ANNOUNCE_US);
	log_line(LOG_ERROR, "audit journal failing", log_s("error", buf_str(&j->fault)),
	    log_s("directory", buf_str(&j->directory)),
	    log_i("seconds", mono_since(now, j->failing_since) / CLOCK_SECOND),
	    log_i("outcomes_waiting", (int64_t)(j->held.count - j->held.written)));
}

/* A commit failed: refuse intents from here on, keep the rest for later. */
static void
writer_fail(struct journal *j)
{
	struct mono_time now = clock_now_mono();

	atomic_store(&j->up, false);
	if (!j->failing) {
		j->failing = true;
		j->failing_since = j->announce_at = now;
		j->failing_from = clock_now_wall();
	}
	j->retry_at = mono_add(now, WRITER_RETRY_US);
	journal_give_up(j);
	writer_announce(j, now);
}

/*
 * Write the record that says it goes on, and since when it did not: its sync is the proof that the disk takes records.
 */
static bool
writer_resume(struct journal *j)
{
	struct buf members = BUF_EMPTY;
	struct jsonw w = { &members, false };
	char from[CLOCK_RFC3339_BYTES];

	clock_format_rfc3339(j->failing_from, from);
	jsonw_string(&w, "kind", STR("resume"));
	jsonw_string(&w, "failing_since", str_from(from));
	jsonw_string(&w, "reason", buf_str(&j->fault));
	return journal_commit_event(j, &members);
}

/* Try again: first what is kept, then refusals where there is room, then the record that tells of the pause. */
static void
writer_retry(struct journal *j)
{
	struct mono_time now = clock_now_mono();

	if (!journal_commit_kept(j) || !journal_has_room(j, WRITER_SPARE_BYTES) || !writer_resume(j)) {
		writer_fail(j);
		return;
	}
	log_line(LOG_WARN, "audit journal back", log_s("directory", buf_str(&j->directory)),
	    log_i("seconds", mono_since(now, j->failing_since) / CLOCK_SECOND));
	j->failing = false;
	atomic_store(&j->up, true);
}

/* Whether an intent, a refusal or an anchor is held that was not written: it must leave room for the outcomes to come. */
static bool
writer_needs_room(const struct journal *j)
{
	for (size_t i = j->held.written; i < j->held.count; i++)
		if (j->held.records[i].kind == JOURNAL_INTENT || journal_kind_can_wait(j->held.records[i].kind))
			return true;
	return false;
}

/* Whether what is written should be synced though no intent asks for it. */
static bool
writer_sync_due(const struct journal *j)
{
	return j->held.written >= WRITER_SYNC_AFTER_RECORDS ||
	    (j->held.written > 0 && mono_since(clock_now_mono(), j->unsynced_since) >= WRITER_SYNC_AFTER_US);
}

/* See once a second what is free, and whether a file is to be deleted. */
static void
writer_look(struct journal *j)
{
	struct mono_time now = clock_now_mono();

	if (mono_since(now, j->look_at) < 0 && (j->failing || !atomic_load(&j->retention.changed)))
		return;
	journal_look_space(j);
	j->look_at = mono_add(now, WRITER_LOOK_US);
	if (j->failing)
		return;
	if (!journal_retention_look(j))
		writer_fail(j);
	j->look_at = writer_earlier(j->look_at, j->retention.look_at);
}

/* Deal with what is held. */
static void
writer_turn(struct journal *j)
{
	atomic_store_explicit(&j->busy_since_us, clock_now_mono().us, memory_order_relaxed);
	if (j->failing) {
		journal_give_up(j);
		if (mono_since(clock_now_mono(), j->retry_at) >= 0)
			writer_retry(j);
	} else if ((writer_needs_room(j) && !journal_has_room(j, 0)) || !journal_commit(j, writer_sync_due(j))) {
		writer_fail(j);
	}
	writer_look(j);
	atomic_store_explicit(&j->busy_since_us, 0, memory_order_relaxed);
}

void *
journal_writer_main(void *arg)
{
	struct journal *j = arg;

	for (int tries = 0;;) {
		bool last = !writer_take(j);

		writer_turn(j);
		if (!last)
			continue;
		if (!j->failing && journal_commit(j, true))
			break;
		if (!j->failing)
			writer_fail(j);
		if (++tries > WRITER_STOP_TRIES)
			break;
	}
	return NULL;
}
