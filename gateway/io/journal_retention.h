/*
 * What audit.retention gives up: whole closed files, oldest first, one at a time.
 *
 * Before a file is removed a durable record of kind `retention` says which (file, first_seq, last_seq, last_hash,
 * bytes, reason), so that the chain itself tells why it begins where it begins. Killed between the record and the
 * removal, the file is still there and is removed by a later look, perhaps after a second record of it. Never
 * removed: the file that is written, one with an open intent or a later one, one whose newest record is younger than
 * two hours (longer than any quota's window, and all that a start may ask the journal for), and what the collector's
 * file does not cover. Nothing at all is removed while the wall clock stands elsewhere than it should by the time that
 * has passed since the journal was opened (a year set wrongly for a minute would make every record old), nor by a
 * collector's file that speaks of records that are still to come.
 */
#ifndef JOBGATE_IO_JOURNAL_RETENTION_H
#define JOBGATE_IO_JOURNAL_RETENTION_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/clock.h"
#include "io/journal_chain.h"

struct journal;

/* The writer's own, but for what is said to be shared. */
struct journal_retention_state {
	int64_t age_us, bytes;		/* shared, under the journal's lock */
	struct buf collected;		/* the same; a path with a NUL behind it, empty: none */
	atomic_bool changed;		/* shared: it is to be looked at soon */
	atomic_bool ill;		/* shared: it should look and cannot */
	struct mono_time look_at, say_at;
	struct mono_time opened_mono;	/* when the journal was opened, by both clocks; set once */
	struct wall_time opened_wall;
	uint64_t attested;		/* last seq that a record of this process says is deleted */
};

/*
 * Look whether a file is to go, and let it go. False: the journal cannot be written, j->fault says why. The writer's
 * thread.
 */
bool journal_retention_look(struct journal *j);

/* How far the wall clock was set, forwards, while time passed from BEFORE to NOW; in microseconds. Any thread. */
int64_t journal_retention_set_us(struct wall_time before, struct mono_time before_mono, struct wall_time now,
    struct mono_time now_mono);

/* Whether LINE is a good record of kind `retention`; DELETED is then the last record that it says was deleted. */
bool journal_retention_read(struct str line, struct journal_head *deleted);

#endif
