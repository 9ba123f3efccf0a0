/* Audit: refusals are recorded up to the bound of a second and counted beyond it, whatever thread they come from. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gate/audit.h"
#include "rules/record.h"

#define THREADS 3
#define REFUSALS 2000
#define BOUND 10
#define CONNECTIONS 5000

struct fixture {
	char directory[64];
	struct loop *loop;
	struct journal *journal;
	struct audit *audit;
	size_t awaited;		/* records that are not written yet */
};

static void
fixture_open(struct fixture *f)
{
	struct journal_settings settings = { .instance = STR_INIT("test"), .segment_bytes = 1 << 20, .ring_records = 8192,
		.make_unknown = record_unknown_from_intent };
	struct buf error = BUF_EMPTY;
	const char *base = getenv("TMPDIR");

	snprintf(f->directory, sizeof(f->directory), "%s/jobgate-audit-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(f->directory));
	settings.directory = str_from(f->directory);
	f->loop = loop_new();
	f->journal = journal_open(&settings, &error);
	assert_non_null(f->journal);
	f->audit = audit_new(f->loop, f->journal, &(struct config){ .audit_refusals = BOUND });
}

static void
fixture_remove(struct fixture *f)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r '%s'", f->directory);
	assert_int_equal(system(command), 0);
}

static void *
refuse_many(void *arg)
{
	struct fixture *f = arg;
	struct record_request request = { .request_id = STR_INIT("01890000-0000-7000-8000-000000000000"),
		.caller = STR_INIT("etl"), .operation = OPERATION_RUN, .body_bytes = -1 };

	for (int i = 0; i < REFUSALS; i++) {
		enum refusal refusal = i % 2 ? REFUSAL_QUOTA : REFUSAL_QUEUE_FULL;	/* one errorCode, one bound */

		if (i % 3 == 0 || !audit_count_refusal(f->audit, request.caller, refusal))
			audit_refusal(f->audit, &request, refusal, 429);
	}
	return NULL;
}

/* Add up the counts of all refusal records of the directory, and how many there are. */
static void
count_records(const struct fixture *f, unsigned *records, unsigned *total)
{
	char command[192], line[8192];
	FILE *pipe;

	*records = *total = 0;
	snprintf(command, sizeof(command), "cat '%s'/*.jsonl", f->directory);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	while (fgets(line, sizeof(line), pipe)) {
		const char *count = strstr(line, "\"count\":");

		if (strstr(line, "\"kind\":\"refusal\"") == NULL)
			continue;
		assert_non_null(count);
		*records += 1;
		*total += (unsigned)atoi(count + 8);
	}
	pclose(pipe);
}

static void
test_refusals_are_bounded_and_none_is_lost(void **state)
{
	struct fixture f;
	pthread_t threads[THREADS];
	unsigned records, total;

	(void)state;
	fixture_open(&f);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, refuse_many, &f), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	audit_free(&f.audit);
	journal_close(&f.journal);
	loop_free(&f.loop);
	count_records(&f, &records, &total);
	assert_int_equal(total, THREADS * REFUSALS);
	assert_int_equal(records, BOUND + 1);	/* the loop did not run: it was all one second */
	fixture_remove(&f);
}

/* More callers are refused in one second than are told apart: their counts still add up, under nobody's name. */
static void
test_more_callers_than_entries(void **state)
{
	struct fixture f;
	unsigned records, total;
	char name[32];

	(void)state;
	fixture_open(&f);
	audit_set(f.audit, &(struct config){ .audit_refusals = 0 });
	for (int i = 0; i < 15000; i++) {
		struct record_request request = { .caller = { name, 0 }, .operation = OPERATION_RUN, .body_bytes = -1 };

		request.caller.n = (size_t)snprintf(name, sizeof(name), "caller-%d", i % 5000);
		audit_refusal(f.audit, &request, REFUSAL_FORBIDDEN, 403);
	}
	audit_free(&f.audit);
	journal_close(&f.journal);
	loop_free(&f.loop);
	count_records(&f, &records, &total);
	assert_int_equal(total, 15000);
	assert_int_equal(records, 4097);
	fixture_remove(&f);
}

/* A run of which nothing but its records is of interest. */
struct run {
	struct journal_entry entry;
	struct fixture *fixture;
	char members[64];
};

static void
on_record(struct journal_entry *entry, bool ok)
{
	struct run *run = entry->arg;

	assert_true(ok);
	if (--run->fixture->awaited == 0)
		loop_stop(run->fixture->loop);
}

/* Hand a record of RUN to the journal as a worker does: the writer is not woken before the turn is over. */
static bool
put_run(struct fixture *f, struct run *run, enum journal_kind kind)
{
	int n = snprintf(run->members, sizeof(run->members), "\"request_id\":\"%p\"", (void *)run);

	run->fixture = f;
	run->entry = (struct journal_entry){ .kind = kind, .lent = { run->members, (size_t)n }, .time = clock_now_wall(),
		.loop = f->loop, .on_done = on_record, .arg = run };
	return journal_put_unheard(audit_journal(f->audit), &run->entry);
}

/* Put a record of KIND for each run in one turn, and wait until all are written. */
static void
put_all(struct fixture *f, struct run *runs, enum journal_kind kind)
{
	for (f->awaited = 0; f->awaited < CONNECTIONS; f->awaited++)
		assert_true(put_run(f, &runs[f->awaited], kind));
	journal_wake(audit_journal(f->audit));
	loop_run(f->loop);
}

/*
 * 5,000 connections sent a run each, and 92 runs were refused with "The audit journal cannot be written": it was well, but had 8,192
 * places for intents and the outcomes to come, whatever number of connections the configuration permits.
 */
static void
test_runs_of_all_connections_are_recorded(void **state)
{
	struct run *runs = calloc(CONNECTIONS, sizeof(*runs));
	struct fixture f;

	(void)state;
	fixture_open(&f);
	assert_non_null(runs);
	audit_set(f.audit, &(struct config){ .audit_refusals = BOUND, .limits.connections = CONNECTIONS });
	put_all(&f, runs, JOURNAL_INTENT);
	put_all(&f, runs, JOURNAL_OUTCOME);
	audit_free(&f.audit);
	journal_close(&f.journal);
	loop_free(&f.loop);
	free(runs);
	fixture_remove(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals_are_bounded_and_none_is_lost),
		cmocka_unit_test(test_more_callers_than_entries),
		cmocka_unit_test(test_runs_of_all_connections_are_recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
