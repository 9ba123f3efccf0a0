/* What is out: tokens by the slots in which they were taken. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/bucket_private.h"

void
bucket_log_add(struct bucket_log *log, int64_t end_us, int64_t out, int64_t bursts)
{
	struct bucket_entry *last = log->count > 0 ? &log->entries[log->count - 1] : NULL;

	/* After a step back of the clock the last one may end later: later is safe. */
	if (last && (last->end_us >= end_us || log->count == BUCKET_LOG_MAX)) {
		last->end_us = bucket_most(last->end_us, end_us);
		last->out += out;
		last->bursts += bursts;
		return;
	}
	if (log->count == log->size) {
		log->size = log->size ? log->size * 2 : 16;
		log->entries = reallocarray(log->entries, log->size, sizeof(*log->entries));
		check(log->entries != NULL);
	}
	log->entries[log->count++] = (struct bucket_entry){ end_us, out, bursts };
}

void
bucket_log_expire(struct bucket_log *log, int64_t until_us)
{
	size_t n = 0;

	while (n < log->count && log->entries[n].end_us <= until_us)
		n++;
	if (n == 0)
		return;
	log->count -= n;
	memmove(log->entries, log->entries + n, log->count * sizeof(*log->entries));
}

void
bucket_log_shift(struct bucket_log *log, int64_t by_us)
{
	for (size_t i = 0; i < log->count; i++)
		log->entries[i].end_us += by_us;
}

void
bucket_log_merge(struct bucket_log *log, const struct bucket_log *other)
{
	struct bucket_log merged = { 0 };
	size_t i = 0, j = 0;

	while (i < log->count || j < other->count) {
		bool mine = j == other->count
		    || (i < log->count && log->entries[i].end_us <= other->entries[j].end_us);
		const struct bucket_entry *e = mine ? &log->entries[i++] : &other->entries[j++];

		bucket_log_add(&merged, e->end_us, e->out, e->bursts);
	}
	bucket_log_fini(log);
	*log = merged;
}

void
bucket_log_fini(struct bucket_log *log)
{
	free(log->entries);
	*log = (struct bucket_log){ 0 };
}
