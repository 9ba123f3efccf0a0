/* A worker's records, and the memory in which they and other texts are made: the journal is told of many at once. */
#include "gate/worker.h"

/*
 * Nothing more has come: let the journal write the records. Where it has this thread's processor it would have come between this turn and
 * the next, and twice as often.
 */
static void
on_records(void *arg)
{
	struct worker *worker = arg;

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
	loop_at_pause(worker->loop, &worker->records_hook);
	return journal_put_unheard(audit_journal(worker->shared->audit), entry);
}
