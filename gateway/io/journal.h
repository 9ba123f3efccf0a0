/*
 * The audit journal: one directory, one writer thread, JSON Lines chained by SHA-256, group commit.
 *
 * The journal gives each record `v`, `journal`, `instance`, `seq`, `time`, `prev` and `hash`; what it says is
 * rules/record's. A record is
 *   {"v":1,"journal":"UUID","instance":"NAME","seq":N,"time":"...",<members>,"prev":"HEX","hash":"HEX"}\n
 * with hash = SHA-256 over the line's bytes up to and without `,"hash":`, and prev the hash of the record before (64
 * zeros for the first).
 *
 * One write and one fdatasync serve all records of a moment. A durable record (an intent) is acknowledged after
 * fdatasync; an ordinary one (an outcome) after write(2); one without acknowledgement is not waited for. A failed or
 * short write is cut off again; a failed fdatasync is final for that file: nothing of it is acknowledged, and the next
 * record goes into a new one. While it cannot write it says so once (and every 30 s), refuses intents, keeps outcomes
 * in memory and tries again every 200 ms; outcomes are never lost while the process lives.
 *
 * After a failed fdatasync the file is cut back to what was synced before, durably, and left; records that are kept are
 * chained anew from there into the next file. Until it is cut nothing else is written, so the files are one chain at
 * every moment. (Killed before it is cut, the file may hold an intent that was refused; the next start gives it
 * `unknown`.) What follows the last synced record may thus be replaced: a reader that follows a running journal
 * compares `prev`. Besides the records of its owner the journal writes kinds of its own: `resume` (failing_since,
 * reason) when it can write again, `retention` before it deletes a file (io/journal_retention.h), and `recover`
 * (torn_bytes, missing_from_seq, missing_to_seq) when a start had to cut a torn tail or misses records that
 * journal.checkpoint knew, and `repair` where damage was accepted (io/journal_repair.h).
 *
 * The process must ignore SIGXFSZ: a file size limit is then a failing disk as any other.
 */
#ifndef JOBGATE_IO_JOURNAL_H
#define JOBGATE_IO_JOURNAL_H

#include "base/buf.h"
#include "base/clock.h"
#include "io/loop.h"

struct journal;
struct journal_head;	/* io/journal_chain.h */

enum journal_kind {
	JOURNAL_INTENT,		/* durable; reserves room for its outcome; opens REQUEST_ID */
	JOURNAL_OUTCOME,	/* closes REQUEST_ID */
	JOURNAL_REFUSAL,	/* not waited for; dropped and counted where the ring is full */
	JOURNAL_EVENT,		/* config, stop */
	JOURNAL_ANCHOR,		/* another journal's head; refused where the ring is full or it fails */
	JOURNAL_KIND_COUNT
};

/* Damage in the middle that is to be accepted (io/journal_repair.h): where it was named, why, and by whom. */
struct journal_accept { struct str file; uint64_t line; struct str reason, by; };

struct journal_settings {
	struct str directory;
	struct str instance;
	int64_t segment_bytes;		/* a new file after so many bytes (64 MiB) or with a new UTC day */
	size_t ring_records;		/* how many may wait for the writer, outcomes that are to come among them */
	/*
	 * Make the members of the outcome `unknown` for an intent found open at start: MEMBERS is the whole intent
	 * line. Pure (rules/record).
	 */
	void (*make_unknown)(struct buf *out, struct str intent_line);
	/* Hear of each such intent, in their order, before journal_open returns; NULL: nobody does. */
	void (*on_orphan)(void *arg, struct str intent_line);
	void *arg;
	const struct journal_accept *accept;	/* NULL: none; else all files are read, and it is an error where it is not met */
};

/*
 * A record on its way. The owner embeds it, keeps it until ON_DONE has run (on LOOP's thread), and never before
 * journal_put returned.
 */
struct journal_entry {
	struct mail mail;		/* private: brings the acknowledgement */
	struct journal_entry *next;	/* private */
	enum journal_kind kind;
	struct buf members;		/* taken by the journal */
	struct str lent;		/* instead of them, where LOOP is set: the owner's, unchanged until ON_DONE has run */
	struct wall_time time;
	struct loop *loop;		/* where on_done runs; NULL: nowhere, the journal then calls free(entry) */
	void (*on_done)(struct journal_entry *entry, bool ok);
	void *arg;
	bool ok;			/* private */
};

/*
 * Make the directory if missing (0750), lock it, check the tail, cut what is torn (kept beside as *.torn), close
 * orphaned intents as unknown, start the writer. NULL with a sentence in ERROR (locked: with the holder's pid; corrupt
 * in the middle: with file and line).
 */
struct journal *journal_open(const struct journal_settings *settings, struct buf *error);

/*
 * Write out everything, end the thread, unlock. Entries put before are all acknowledged (their mail may still be on
 * its way); what a failing disk keeps back is tried for a second more, then counted in the log as lost. Nothing may be
 * put from here on.
 */
void journal_close(struct journal **journal);

/*
 * Any thread. False: refused, nothing taken (an intent or anchor while failing or the ring full; entry stays the caller's).
 * Outcomes and events are always taken; so is a refusal, which is dropped and counted where the ring is full
 * (ok=false). ok=false: an intent is refused and must get no outcome; any other record is kept in memory and written
 * when the disk takes it. An intent that was acknowledged must get its outcome: its room in the ring is reserved
 * until then. members must hold `request_id` for intents and outcomes.
 */
bool journal_put(struct journal *journal, struct journal_entry *entry);

/*
 * The same without waking the writer, which costs more than the record: who puts several calls journal_wake
 * behind them, before it sleeps. Forgotten, they wait up to a second.
 */
bool journal_put_unheard(struct journal *journal, struct journal_entry *entry);
void journal_wake(struct journal *journal);

/* Let RECORDS be what ring_records was at the open; any thread. Fewer than there are now take nothing away. */
void journal_set_ring(struct journal *journal, size_t records);

/* Whether it can write at present; any thread. */
bool journal_is_up(const struct journal *journal);

struct journal_counts {
	uint64_t records[JOURNAL_KIND_COUNT];
	uint64_t dropped_refusals;
	uint64_t recovered_unknown;	/* orphans closed at start */
	uint64_t syncs;
	uint64_t sync_us_sum;
	uint64_t sync_buckets[16];	/* upper bounds 2^i * 64 us, the last is +Inf */
};
struct journal_counts journal_counts(const struct journal *journal);	/* any thread; atomics */

/*
 * When, as far as this start could read, a trigger may have been sent last: the time of the newest intent or outcome, or that of
 * the start where an intent was open, or of the first record read where files before it were not. 0: never.
 */
struct wall_time journal_last_trigger(const struct journal *journal);

/*
 * What may be deleted (io/journal_retention.h). All zero: nothing ever is, which is so until this is called. Any
 * thread; copied.
 */
struct journal_retention {
	int64_t age_us;		/* files of which all records are older; 0: no bound */
	int64_t bytes;		/* the oldest files go while all together have more; 0: no bound */
	struct str collected;	/* the collector's file: nothing above its seq goes; empty: none */
};
void journal_set_retention(struct journal *journal, const struct journal_retention *retention);
/* Whether something keeps the retention from deleting; any thread. */
bool journal_retention_is_ill(const struct journal *journal);

/*
 * A record that no power cut takes back, for others to hold this journal to; any thread. The newest, or where that is
 * among anchors alone the one before them, unless ALL: anchors that answer each other would never end. False: there is
 * none.
 */
bool journal_synced_head(struct journal *journal, bool all, struct journal_head *head);

/* What is free on the journal's file system, as of the last second; -1 where it does not tell. Any thread. */
int64_t journal_free_bytes(const struct journal *journal);

/*
 * How long it took lately until an intent was durable, since its time, or how long the writer has been at what it does now, where that is
 * longer: what an intent that is put now will take about, or at least. 0: none was. Any thread.
 */
int64_t journal_intent_us(const struct journal *journal);

/* The journal's UUID, 36 characters. */
struct str journal_uuid(const struct journal *journal);

/* --- reading, for `jobgate audit verify` --- */
struct journal_verdict {
	char journal[40];	/* its UUID; empty where it is not known */
	uint64_t records, files;
	uint64_t first_seq, last_seq;	/* of what is there; 0: nothing. first_seq > 1: older files were deleted */
	uint64_t open_intents;	/* without an outcome as yet */
	uint64_t held, deleted, late;	/* others' anchors of it: right; of records that were deleted; after AS_OF and behind its end */
	uint64_t disputed;	/* directories that say otherwise and are not believed */
	bool ok;
	uint64_t accepted;	/* places of damage that records of kind `repair` accept */
	char accepted_where[512];	/* "FILE:LINE" of the first of them */
	uint64_t accepted_by;	/* the seq of its record */
	bool torn_tail;		/* the last line is incomplete: no fault; the next start cuts it */
	char where[512];	/* "FILE:LINE" of the first bad record */
	char what[1024];	/* what is wrong with it */
};

/* How far it is. SHOW(file, records, percent) is called a few times a second; all else is private, and zero at first. */
struct journal_progress {
	void (*show)(const char *file, uint64_t records, unsigned percent);
	uint64_t records, bytes, total, shown_bytes;
};

/*
 * Check every line of the directory's journal: JSON, seq without gap, prev, hash, one outcome per intent at most;
 * journal.id and journal.checkpoint where they are there (records that the checkpoint knew must be there still).
 * Where the first records are gone, a record of kind `retention` must say that they were deleted. Changes and locks
 * nothing. PROGRESS may be NULL.
 */
void journal_verify(struct str directory, struct journal_progress *progress, struct journal_verdict *verdict);

/* A journal that anchors speak of and that was not given. */
struct journal_stranger {
	char journal[40];
	uint64_t anchors, last_seq;
};
struct journal_strangers { struct journal_stranger *list; size_t count; };

/*
 * Check the journals of COUNT directories, and that each still has what the anchors of the others saw: the first bad
 * record is then known to lie behind the last that an anchor has right. A journal that ends before an anchor's record is
 * cut, unless the anchor was written after AS_OF: copies are taken one after another. Who is found bad, or has another
 * journal than its own and a third one's anchors say, is not believed from there on. STRANGERS: freed by the caller
 * (its list).
 */
void journal_verify_all(const struct str *directories, size_t count, struct wall_time as_of,
    struct journal_progress *progress, struct journal_verdict *verdicts, struct journal_strangers *strangers);

#endif
