/* A worker's records, and the memory in which they and other texts are made: the journal is told of them once a turn. */
#include "gate/worker.h"

/*
 * The turn is over: let the journal write its records. Behind what else is done last, which is the asking of the store: that works while
 * the journal does, which may have this thread's processor.
 */
static void
on_records(void *arg)
{
	struct worker *worker = arg;

	worker->records_behind = !worker->records_behind;
	if (worker->records_behind) {
		loop_at_turn_last(worker->loop, &worker->records_hook);
		return;
	}
	journal_wake(audit_journal(worker->shared->audit));
}

void
worker_records_init(struct worker *worker)
{
	worker->records_hook = (struct loop_hook){ .fn = on_records, .arg = worker };
}

struct buf *
worker_text(struct worker *worker)
{
	buf_clear(&worker->text);
	buf_room(&worker->text, RECORD_BYTES_USUAL);
	return &worker->text;
}

bool
worker_record(struct worker *worker, struct journal_entry *entry)
{
	loop_at_turn_last(worker->loop, &worker->records_hook);
	return journal_put_unheard(audit_journal(worker->shared->audit), entry);
}
