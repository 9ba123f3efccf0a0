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

struct fixture {
	char directory[64];
	struct loop *loop;
	struct journal *journal;
	struct audit *audit;
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

	for (int i = 0; i < REFUSALS; i++)
		audit_refusal(f->audit, &request, i % 2 ? REFUSAL_QUOTA : REFUSAL_QUEUE_FULL, 429);	/* one errorCode, one bound */
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals_are_bounded_and_none_is_lost),
		cmocka_unit_test(test_more_callers_than_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
