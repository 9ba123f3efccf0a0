/* What is held goes to the disk: lines, write, fdatasync, rotation, and back where that fails. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/check.h"
#include "base/log.h"
#include "io/journal_dir.h"
#include "io/journal_state.h"

/*
 * Room on the disk kept for each outcome to come: above the usual record (700 bytes), since it waits in memory
 * otherwise.
 */
#define OUTCOME_DISK_BYTES 2048
/* What a line has around its members: names, the label, two hashes; at most. */
#define RECORD_DISK_BYTES 1024
/* Memory of what is held is kept up to this: a batch of 1,024 records has less. */
#define HELD_BYTES_KEPT (1u << 20)

/* --- what is held --- */

/* The bytes of a slice, good until something is added. */
static struct str
held_str(const struct journal_held *h, struct journal_slice slice)
{
	return (struct str){ h->bytes.p + slice.at, slice.n };
}

/* Add bytes. */
static struct journal_slice
held_add(struct journal_held *h, struct str bytes)
{
	struct journal_slice slice = { h->bytes.n, bytes.n };

	buf_add(&h->bytes, bytes);
	return slice;
}

/* RECORD, whose bytes FROM has, with a copy of them in TO. */
static struct journal_record
held_copy(struct journal_held *to, const struct journal_held *from, const struct journal_record *record)
{
	struct journal_record copy = *record;

	copy.members = held_add(to, held_str(from, record->members));
	copy.id = held_add(to, held_str(from, record->id));
	return copy;
}

/* Some records are gone: give up their bytes, mostly all there are; where some stay, once they are the smaller part. */
static void
held_tidy(struct journal_held *h)
{
	struct journal_held before = { .bytes = h->bytes };

	if (h->count == 0 && h->bytes.size <= HELD_BYTES_KEPT) {
		buf_clear(&h->bytes);
		h->tidied = 0;
	} else if (h->count == 0 || h->bytes.n > 2 * h->tidied + HELD_BYTES_KEPT) {
		h->bytes = BUF_EMPTY;
		for (size_t i = 0; i < h->count; i++)
			h->records[i] = held_copy(h, &before, &h->records[i]);
		buf_fini(&before.bytes);
		h->tidied = h->bytes.n;
	}
}

void
journal_hold(struct journal *j, enum journal_kind kind, struct str members, struct wall_time time,
    struct journal_entry *entry)
{
	struct journal_held *h = &j->held;

	if (h->count == h->size) {
		h->size = h->size ? h->size * 2 : 64;
		h->records = realloc(h->records, h->size * sizeof(h->records[0]));
		check(h->records != NULL);
	}
	h->records[h->count++] = (struct journal_record){ kind, held_add(h, members), { 0, 0 }, time, entry, false };
}

/* Acknowledgements on their way to one loop, which is woken once for all of them. */
struct commit_news {
	struct loop *loop;
	struct mail *first, *last;
};

/* Send what has gathered. */
static void
news_send(struct commit_news *news)
{
	if (news->first)
		loop_post_all(news->loop, news->first, news->last);
	*news = (struct commit_news){ NULL, NULL, NULL };
}

/* Have the owner's callback run on its loop, once NEWS is sent; an entry without a loop ends here. */
static void
record_acknowledge(struct journal_record *r, bool ok, struct commit_news *news)
{
	struct journal_entry *entry = r->entry;

	r->entry = NULL;
	if (entry == NULL)
		return;
	entry->ok = ok;
	if (entry->loop == NULL) {
		free(entry);
		return;
	}
	if (news->loop != entry->loop)
		news_send(news);
	news->loop = entry->loop;
	*(news->first ? &news->last->next : &news->first) = &entry->mail;
	news->last = &entry->mail;
}

/* Give the ring's places of N records back, and the reservations of INTENTS that were refused. */
static void
commit_release(struct journal *j, size_t n, size_t intents)
{
	if (n == 0 && intents == 0)
		return;
	pthread_mutex_lock(&j->lock);
	check(j->waiting >= n);
	j->waiting -= n;
	j->reserved -= intents < j->reserved ? intents : j->reserved;
	pthread_mutex_unlock(&j->lock);
}

void
journal_give_up(struct journal *j)
{
	struct journal_held *h = &j->held;
	struct commit_news news = { NULL, NULL, NULL };
	size_t kept = h->written, places = 0, intents = 0;

	for (size_t i = h->written; i < h->count; i++)
		if (h->records[i].kind == JOURNAL_INTENT) {
			places += !h->records[i].counted;
			intents++;
		}
	commit_release(j, places, intents);	/* before the owners hear of it: they may put again at once */
	for (size_t i = h->written; i < h->count; i++) {
		struct journal_record *r = &h->records[i];

		record_acknowledge(r, false, &news);
		if (r->kind != JOURNAL_INTENT)
			h->records[kept++] = *r;
	}
	news_send(&news);
	h->count = kept;
	held_tidy(h);
}

size_t
journal_drop_held(struct journal *j)
{
	struct journal_held *h = &j->held;
	struct commit_news news = { NULL, NULL, NULL };
	size_t lost = h->count - h->written;

	for (size_t i = 0; i < h->count; i++)
		record_acknowledge(&h->records[i], false, &news);
	news_send(&news);
	free(h->records);
	buf_fini(&h->bytes);
	*h = (struct journal_held){ .records = NULL };
	return lost;
}

/* Drop the newest record, which no file has, and give its place in the ring back. */
static void
commit_drop_last(struct journal *j)
{
	struct journal_record *last;

	check(j->held.count > j->held.written);
	last = &j->held.records[--j->held.count];
	commit_release(j, !last->counted, 0);
	held_tidy(&j->held);
}

/* --- faults --- */

/* Keep "DOING: reason" for the announcement; false. */
static bool
commit_fault(struct journal *j, const char *doing)
{
	int error = errno;

	buf_clear(&j->fault);
	buf_printf(&j->fault, "cannot %s: %s", doing, strerror(error));
	return false;
}

/* All behind the last sync is in doubt: it counts as unwritten, and the file is to be cut there and left. */
static void
commit_roll_back(struct journal *j)
{
	j->rollback_due = true;
	j->head = j->synced_head;
	j->held.written = 0;
}

/* Cut the file that is in doubt, and leave it. */
static bool
commit_repair(struct journal *j)
{
	if (!j->rollback_due)
		return true;
	if (!journal_segment_roll_back(&j->segment, j->dirfd))
		return commit_fault(j, "cut what may not be on the disk");
	log_line(LOG_WARN, "audit journal file left", log_z("file", j->segment.name),
	    log_i("bytes", j->segment.synced));
	journal_segment_close(&j->segment);
	j->rollback_due = false;
	return true;
}

/* --- sync --- */

/* Count one fdatasync of US microseconds. */
static void
commit_count_sync(struct journal *j, int64_t us)
{
	size_t bucket = 0;

	while (bucket + 1 < JOURNAL_SYNC_BUCKETS && us > (int64_t)64 << bucket)
		bucket++;
	atomic_fetch_add(&j->syncs, 1);
	atomic_fetch_add(&j->sync_us_sum, (uint64_t)us);
	atomic_fetch_add(&j->sync_buckets[bucket], 1);
}

/* Let others see how far the journal is on the disk. */
static void
commit_show(struct journal *j, bool anchors_alone)
{
	pthread_mutex_lock(&j->lock);
	j->shown_all = j->synced_head;
	if (!anchors_alone)
		j->shown = j->synced_head;
	pthread_mutex_unlock(&j->lock);
}

/* Note how long the oldest intent of those that are durable now has waited for that. */
static void
commit_note_wait(struct journal *j)
{
	for (size_t i = 0; i < j->held.written; i++)
		if (j->held.records[i].kind == JOURNAL_INTENT) {
			atomic_store_explicit(&j->intent_us, clock_now_wall().us - j->held.records[i].time.us, memory_order_relaxed);
			break;
		}
}

/* What is written is on the disk: acknowledge the intents, forget the records. */
static void
commit_settle(struct journal *j)
{
	struct journal_held *h = &j->held;
	struct commit_news news = { NULL, NULL, NULL };
	uint64_t seq = j->synced_head.seq;
	bool anchors_alone = true;

	commit_note_wait(j);
	for (size_t i = 0; i < h->written; i++) {
		struct journal_record *r = &h->records[i];

		seq++;
		anchors_alone = anchors_alone && r->kind == JOURNAL_ANCHOR;
		if (r->kind == JOURNAL_INTENT) {
			journal_intents_open(&j->open, held_str(h, r->id), seq, j->segment.first_seq, STR(""));
			atomic_fetch_add(&j->records[JOURNAL_INTENT], 1);
		} else if (r->kind == JOURNAL_OUTCOME) {
			journal_intents_close(&j->open, held_str(h, r->id));
		}
		record_acknowledge(r, true, &news);
	}
	news_send(&news);
	h->count -= h->written;
	memmove(h->records, h->records + h->written, h->count * sizeof(h->records[0]));
	h->written = 0;
	held_tidy(h);
	j->synced_head = j->head;
	commit_show(j, anchors_alone);
}

/* fdatasync what is written. */
static bool
commit_sync(struct journal *j)
{
	struct mono_time start = clock_now_mono();

	if (j->held.written == 0)
		return true;
	if (!journal_segment_sync(&j->segment)) {
		commit_fault(j, "sync the file");
		commit_roll_back(j);
		return false;
	}
	commit_count_sync(j, mono_since(clock_now_mono(), start));
	commit_settle(j);
	return true;
}

/* --- files --- */

bool
journal_commit_checkpoint(struct journal *j)
{
	uint64_t current = j->segment.first_seq;
	struct journal_checkpoint c = { journal_intents_oldest(&j->open, current), j->synced_head };

	int error;

	if (journal_checkpoint_write(j->dirfd, str_from(j->uuid), &c))
		return true;
	error = errno;
	log_line(LOG_WARN, "audit checkpoint not written", log_z("error", strerror(error)));
	errno = error;
	return false;
}

/* The UTC day of what is to be written next. */
static int
commit_date(const struct journal *j)
{
	const struct journal_held *h = &j->held;

	return journal_date(h->count > h->written ? h->records[h->count - 1].time : clock_now_wall());
}

/* Whether the next record belongs into a new file. A clock that steps back does not bring an older day back. */
static bool
commit_file_is_full(const struct journal *j)
{
	if (j->segment.bytes == 0 || j->held.count == j->held.written)
		return false;
	return j->segment.bytes >= j->segment_bytes || commit_date(j) > j->segment.date;
}

/* Have a file open that takes the next record. */
static bool
commit_file(struct journal *j)
{
	if (j->segment.fd >= 0 && !commit_file_is_full(j))
		return true;
	if (j->segment.fd >= 0) {
		if (!commit_sync(j))
			return false;
		journal_segment_close(&j->segment);
	}
	if (!journal_segment_create(&j->segment, j->dirfd, j->head.seq + 1, commit_date(j)))
		return commit_fault(j, "make a new file");
	journal_commit_checkpoint(j);
	return true;
}

/* Ask what is free on the file system; false where it does not tell. */
static bool
commit_free(const struct journal *j, uint64_t *bytes)
{
	struct statvfs fs;

	if (fstatvfs(j->dirfd, &fs) != 0 || fs.f_blocks == 0)
		return false;
	*bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	return true;
}

void
journal_look_space(struct journal *j)
{
	uint64_t bytes;

	atomic_store(&j->free_bytes, commit_free(j, &bytes) ? (int64_t)(bytes < INT64_MAX ? bytes : INT64_MAX) : -1);
}

bool
journal_has_room(struct journal *j, int64_t spare)
{
	uint64_t want = (uint64_t)spare, bytes;

	for (size_t i = j->held.written; i < j->held.count; i++)
		want += j->held.records[i].members.n + RECORD_DISK_BYTES;
	pthread_mutex_lock(&j->lock);
	want += j->reserved * OUTCOME_DISK_BYTES;
	pthread_mutex_unlock(&j->lock);
	if (!commit_free(j, &bytes) || bytes >= want)
		return true;	/* a file system that does not tell: the write will */
	errno = ENOSPC;
	return commit_fault(j, "take more intents");
}

/* --- write --- */

/* Note the request_id that a record has: where its members begin with it, or anywhere in its LINE. */
static void
commit_name(struct journal_held *h, struct journal_record *r, struct str line)
{
	struct str members = held_str(h, r->members), id = journal_members_request_id(members);

	if (id.n > 0)
		r->id = (struct journal_slice){ r->members.at + (size_t)(id.p - members.p), id.n };
	else
		r->id = held_add(h, journal_line_request_id(line));
	check(r->id.n > 0);	/* a bug of the owner; once it is in the file, no start would take it */
}

/* Build the lines of what is held and not written, on top of HEAD; whether an intent is among them. */
static bool
commit_build(struct journal *j, struct journal_head *head)
{
	struct journal_held *h = &j->held;
	bool intent = false;

	buf_clear(&j->lines);
	for (size_t i = h->written; i < h->count; i++) {
		struct journal_record *r = &h->records[i];
		size_t start = j->lines.n;

		journal_line_build(&j->lines, buf_str(&j->prefix), head, r->time, held_str(h, r->members));
		intent |= r->kind == JOURNAL_INTENT;
		if ((r->kind == JOURNAL_INTENT || r->kind == JOURNAL_OUTCOME) && r->id.n == 0)
			commit_name(h, r, str_sub(buf_str(&j->lines), start, j->lines.n - 1));
	}
	return intent;
}

/* The records from FROM on are in the file: count them and give their places in the ring back. */
static void
commit_count(struct journal *j, size_t from)
{
	struct journal_held *h = &j->held;
	size_t places = 0;

	for (size_t i = from; i < h->count; i++) {
		struct journal_record *r = &h->records[i];

		if (r->counted)
			continue;
		r->counted = true;
		places++;
		if (r->kind != JOURNAL_INTENT)	/* which counts when it is settled: it may be refused yet */
			atomic_fetch_add(&j->records[r->kind], 1);
	}
	commit_release(j, places, 0);
}

/* The records from FROM on are in the file: acknowledge those that need no sync. */
static void
commit_written(struct journal *j, size_t from)
{
	struct journal_held *h = &j->held;
	struct commit_news news = { NULL, NULL, NULL };

	commit_count(j, from);	/* first: an owner that hears of its outcome may put the next intent at once */
	for (size_t i = from; i < h->count; i++)
		if (h->records[i].kind != JOURNAL_INTENT)
			record_acknowledge(&h->records[i], true, &news);
	news_send(&news);
	h->written = h->count;
}

/* Append what is held and not written, in one write. INTENT: whether an intent is among it. */
static bool
commit_write(struct journal *j, bool *intent)
{
	struct journal_head head = j->head;
	size_t from = j->held.written;
	bool cut;

	*intent = false;
	if (from == j->held.count)
		return true;
	if (!journal_segment_is_ours(&j->segment))
		return commit_fault(j, "go on in a file that was changed or removed");
	*intent = commit_build(j, &head);
	if (!journal_segment_append(&j->segment, buf_str(&j->lines), &cut)) {
		commit_fault(j, "write");
		if (!cut)
			commit_roll_back(j);
		return false;
	}
	if (from == 0)
		j->unsynced_since = clock_now_mono();
	j->head = head;
	commit_written(j, from);
	return true;
}

bool
journal_commit(struct journal *j, bool sync)
{
	bool intent;

	if (!commit_repair(j) || !commit_file(j) || !commit_write(j, &intent))
		return false;
	return !(sync || intent) || commit_sync(j);
}

bool
journal_commit_event(struct journal *j, struct buf *members)
{
	pthread_mutex_lock(&j->lock);
	j->waiting++;
	pthread_mutex_unlock(&j->lock);
	journal_hold(j, JOURNAL_EVENT, buf_str(members), clock_now_wall(), NULL);
	buf_fini(members);
	if (journal_commit(j, true))
		return true;
	commit_drop_last(j);
	return false;
}

bool
journal_kind_can_wait(enum journal_kind kind)
{
	return kind == JOURNAL_REFUSAL || kind == JOURNAL_ANCHOR;
}

bool
journal_commit_kept(struct journal *j)
{
	struct journal_held *h = &j->held;
	struct journal_held others = { .records = calloc(h->count + 1, sizeof(others.records[0])) };
	size_t kept = h->written;
	bool ok;

	check(others.records != NULL);
	for (size_t i = h->written; i < h->count; i++)
		if (journal_kind_can_wait(h->records[i].kind))
			others.records[others.count++] = held_copy(&others, h, &h->records[i]);
		else
			h->records[kept++] = h->records[i];
	h->count = kept;
	ok = journal_commit(j, true);
	for (size_t i = 0; i < others.count; i++)	/* there is room in the array: they have been in it */
		h->records[h->count++] = held_copy(h, &others, &others.records[i]);
	free(others.records);
	buf_fini(&others.bytes);
	return ok;
}
