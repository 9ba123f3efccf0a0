/* The table of kept answers: what it forgets, what it counts, and what 100,000 states take. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "poll_maker.h"

static const struct mono_time now = { 1000 * POLL_S };

/* Keep STATUS under KEY at RESOURCE. */
static void
keep(struct poll_table *table, uint32_t key, uint32_t resource, const char *status)
{
	struct poll_id id = id_make(key, resource);
	struct poll_answer *answer = answer_make(200, status, now, now);
	struct poll_entry *entry = poll_table_get(table, &id);
	int busy;

	entry->busy = &busy;	/* whoever keeps an answer waits at it */
	poll_table_set(table, entry, answer);
	entry->busy = NULL;
	poll_answer_unref(&answer);
}

/* Whether something is kept under KEY at RESOURCE. */
static bool
has(struct poll_table *table, uint32_t key, uint32_t resource)
{
	struct poll_id id = id_make(key, resource);
	struct poll_entry *entry = poll_table_find(table, &id);

	return entry && entry->answer;
}

/* An answer is read as it came, without what was its first reader's alone. */
static void
test_answers(void **state)
{
	struct poll_answer *answer = answer_make(200, "InProgress", now, now);
	struct http1_head *head = malloc(sizeof(*head));
	struct upstream_response read;

	(void)state;
	assert_non_null(head);
	read = poll_answer_read(answer, head);
	assert_int_equal(head->status, 200);
	assert_int_equal(head->field_count, 5);
	assert_true(str_eq(head->fields[1].value, STR("d6b0e7ce-06c1-4fae-bed5-0f59e3d79b2d")));
	assert_true(str_eq(read.body, STR("{\"id\":\"431e8d7b-4a95-4c02-8ccd-6faef5ba1bd7\",\"status\":\"InProgress\"}")));
	assert_true(answer->state.known && !answer->state.terminal && answer->stands_us == 15 * POLL_S);
	free(head);
	poll_answer_unref(&answer);
	assert_null(answer);
	answer = answer_make(404, "Completed", now, now);
	assert_false(answer->state.known);	/* no instance says so */
	poll_answer_unref(&answer);
}

/* Bytes are bounded: the least recently used go, and everything is counted back to nothing. */
static void
test_bound(void **state)
{
	struct poll_table table;
	int64_t one;

	(void)state;
	poll_table_init(&table);
	keep(&table, 1, 1, "InProgress");
	one = (int64_t)atomic_load(&table.bytes);
	poll_table_bound(&table, 3 * one);
	keep(&table, 2, 2, "InProgress");
	keep(&table, 3, 3, "InProgress");
	assert_true(has(&table, 1, 1));		/* which is a use of it */
	keep(&table, 4, 4, "InProgress");
	assert_true(has(&table, 1, 1) && !has(&table, 2, 2) && has(&table, 3, 3) && has(&table, 4, 4));
	assert_int_equal(atomic_load(&table.answers), 3);
	assert_int_equal(atomic_load(&table.bytes), 3 * one);
	keep(&table, 4, 4, "InProgress");	/* in place of itself */
	assert_int_equal(atomic_load(&table.bytes), 3 * one);
	poll_table_bound(&table, 0);
	assert_int_equal(atomic_load(&table.bytes), 0);
	poll_table_fini(&table);
}

/* Grants are by entry and token, end by themselves, and are few. */
static void
test_grants(void **state)
{
	struct poll_table table;
	struct poll_id id = id_make(1, 1);
	uint8_t a[POLL_DIGEST_BYTES] = { 1 }, b[POLL_DIGEST_BYTES] = { 2 };
	struct poll_entry *entry;

	(void)state;
	poll_table_init(&table);
	entry = poll_table_get(&table, &id);
	poll_table_grant(&table, entry, a, now, mono_add(now, 10));
	assert_true(poll_table_granted(entry, a, now) && !poll_table_granted(entry, b, now));
	assert_true(poll_table_granted(entry, a, mono_add(now, 9)) && !poll_table_granted(entry, a, mono_add(now, 10)));
	poll_table_grant(&table, entry, b, now, now);	/* for no time at all */
	assert_false(poll_table_granted(entry, b, now));
	poll_table_revoke(&table, entry, b);
	poll_table_revoke(&table, entry, a);
	assert_null(entry->grants);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(poll_table_fail(&table, entry, a, now)->failures, i);
	poll_table_fail(&table, entry, a, now)->paused = mono_add(now, 5);
	assert_int_equal(poll_table_paused(entry, a).us, now.us + 5);
	assert_true(poll_table_paused(entry, b).us == 0 && !poll_table_granted(entry, a, now));
	poll_table_revoke(&table, entry, a);
	assert_int_equal(poll_table_paused(entry, a).us, now.us + 5);
	poll_table_grant(&table, entry, a, now, mono_add(now, 10));
	assert_true(poll_table_paused(entry, a).us == 0 && poll_table_granted(entry, a, now));
	poll_table_fail(&table, entry, a, now)->paused = now;
	poll_table_grant(&table, entry, a, now, now);	/* where no token counts, that forgets the failure */
	assert_null(entry->grants);
	for (unsigned i = 0; i < 3 * POLL_GRANTS_MAX; i++) {
		b[1] = (uint8_t)i;
		poll_table_grant(&table, entry, b, now, mono_add(now, 10));
		assert_true(poll_table_granted(entry, b, now));
	}
	assert_true(atomic_load(&table.bytes) < POLL_GRANTS_MAX * 80 + 200);
	for (size_t i = 0; i < 64; i++)
		poll_table_sweep(&table, mono_add(now, 20), POLL_S);
	assert_int_equal(atomic_load(&table.bytes), 0);
	poll_table_fini(&table);
}

static unsigned seen;

/* Count the entries of a resource, and forget what they keep. */
static void
on_each(void *arg, struct poll_entry *entry)
{
	seen++;
	poll_table_set(arg, entry, NULL);
	poll_table_put(arg, entry);
}

/* All that is kept of one resource is found; the rest is let be. The sweep forgets what is old. */
static void
test_resources_and_age(void **state)
{
	struct poll_table table;
	struct poll_id id = id_make(0, 7);

	(void)state;
	poll_table_init(&table);
	for (uint32_t i = 0; i < 3; i++)
		keep(&table, i, 7, "InProgress");
	keep(&table, 9, 8, "Completed");
	seen = 0;
	poll_table_each(&table, id.resource, on_each, &table);
	assert_int_equal(seen, 3);
	assert_true(!has(&table, 1, 7) && has(&table, 9, 8));
	for (size_t i = 0; i < 64; i++)
		poll_table_sweep(&table, mono_add(now, 600 * POLL_S), 600 * POLL_S);
	assert_true(has(&table, 9, 8));
	for (size_t i = 0; i < 64; i++)
		poll_table_sweep(&table, mono_add(now, 601 * POLL_S), 600 * POLL_S);
	assert_int_equal(atomic_load(&table.bytes), 0);
	poll_table_fini(&table);
}

/* The process' resident memory in bytes. */
static long
resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long size, resident;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
	fclose(file);
	return resident * 4096;
}

/* 100,000 states of Fabric's size are under 100 MB, by our count and by the kernel's. */
static void
test_hundred_thousand(void **state)
{
	long before = resident_bytes(), grown;
	struct poll_table table;
	char status[400];

	(void)state;
	/* A real instance's body has some 330 bytes; this one makes it 400. */
	memset(status, 'x', sizeof(status));
	status[340] = '\0';
	poll_table_init(&table);
	for (uint32_t i = 0; i < 100000; i++)
		keep(&table, i, i, status);
	grown = resident_bytes() - before;
	print_message("100,000 states: %lld bytes counted, %ld resident\n", (long long)atomic_load(&table.bytes), grown);
	assert_int_equal(atomic_load(&table.answers), 100000);
	assert_true(atomic_load(&table.bytes) < 100000000);
#if !defined(__SANITIZE_ADDRESS__)
	assert_true(grown < 100000000);
#endif
	poll_table_fini(&table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_answers), cmocka_unit_test(test_bound),
		cmocka_unit_test(test_grants), cmocka_unit_test(test_resources_and_age),
		cmocka_unit_test(test_hundred_thousand) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
