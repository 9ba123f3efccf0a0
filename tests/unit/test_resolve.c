/* rules/resolve: which of an item's instances a run of unknown outcome has started. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "rules/resolve.h"

#define A "11111111-1111-4111-8111-111111111111"
#define B "22222222-2222-4222-8222-222222222222"
#define ACTIVITY "ABCDEF00-0000-4000-8000-000000000001"

static struct arena arena;
static const char *taken;	/* the instance that is another run's */

static bool
is_taken(void *arg, struct str id)
{
	(void)arg;
	return taken && str_eq_nocase(id, str_from(taken));
}

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena);
	taken = NULL;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

/* A run that was sent at 12:00:00, with a window of two minutes. */
static struct resolve_run
run_at_noon(const char *activity)
{
	struct resolve_run run = { .job_type = STR("RunNotebook"), .activity = str_from(activity), .is_taken = is_taken };

	assert_true(clock_parse_date_time(STR("2026-08-01T11:59:55Z"), &run.from));
	assert_true(clock_parse_date_time(STR("2026-08-01T12:02:00Z"), &run.to));
	return run;
}

#define INSTANCE(id, type, invoke, activity, start) \
	"{\"id\":\"" id "\",\"itemId\":\"x\",\"jobType\":\"" type "\",\"invokeType\":\"" invoke "\",\"status\":\"InProgress\"," \
	"\"rootActivityId\":\"" activity "\",\"startTimeUtc\":" start ",\"endTimeUtc\":null,\"failureReason\":{\"a\":[1]}}"
#define LIST(...) "{\"value\":[" __VA_ARGS__ "]}"
#define NOON "\"2026-08-01T12:00:01.1234567\""

static void
test_one_instance(void **state)
{
	static const struct { const char *body, *activity, *taken; enum resolve_why why; } cases[] = {
		/* by time */
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", NOON)), NULL, NULL, RESOLVE_MATCHED },
		{ LIST(INSTANCE(A, "runnotebook", "Manual", "x", "\"2026-08-01T12:00:01\"")), NULL, NULL, RESOLVE_MATCHED },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", "\"2026-08-01T12:00:01Z\"")), NULL, NULL, RESOLVE_MATCHED },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", "\"2026-08-01T11:59:55\"")), NULL, NULL, RESOLVE_MATCHED },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", "\"2026-08-01T12:02:00\"")), NULL, NULL, RESOLVE_MATCHED },
		{ LIST(), NULL, NULL, RESOLVE_NONE },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", "\"2026-08-01T11:59:54.9\"")), NULL, NULL, RESOLVE_NONE },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", "\"2026-08-01T12:02:00.1\"")), NULL, NULL, RESOLVE_NONE },
		{ LIST(INSTANCE(A, "RunNotebook", "Scheduled", "x", NOON)), NULL, NULL, RESOLVE_NONE },
		{ LIST(INSTANCE(A, "Pipeline", "Manual", "x", NOON)), NULL, NULL, RESOLVE_NONE },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", NOON)), NULL, A, RESOLVE_NONE },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", NOON) "," INSTANCE(B, "RunNotebook", "Manual", "x", NOON)), NULL, NULL,
		    RESOLVE_SEVERAL },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", NOON) "," INSTANCE(B, "RunNotebook", "Manual", "x", NOON)), NULL, B,
		    RESOLVE_MATCHED },
		/* one that has not begun may be it */
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", "null")), NULL, NULL, RESOLVE_SEVERAL },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", NOON) "," INSTANCE(B, "RunNotebook", "Manual", "x", "null")), NULL, NULL,
		    RESOLVE_SEVERAL },
		/* by activity, which is in any case, at whatever time, and the only thing that counts where it is known */
		{ LIST(INSTANCE(B, "RunNotebook", "Manual", "x", NOON) "," INSTANCE(A, "RunNotebook", "Manual",
		    "abcdef00-0000-4000-8000-000000000001", "\"2020-01-01T00:00:00\"")), ACTIVITY, NULL, RESOLVE_MATCHED },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", "x", NOON)), ACTIVITY, NULL, RESOLVE_NONE },
		{ LIST(INSTANCE(A, "Pipeline", "Manual", ACTIVITY, NOON)), ACTIVITY, NULL, RESOLVE_NONE },
		{ LIST(INSTANCE(A, "RunNotebook", "Manual", ACTIVITY, NOON) "," INSTANCE(B, "RunNotebook", "Manual", ACTIVITY, NOON)),
		    ACTIVITY, NULL, RESOLVE_SEVERAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct resolve_run run = run_at_noon(cases[i].activity);
		struct resolve_found found = { .count = 0 };
		struct str token;

		if (cases[i].activity == NULL)
			run.activity.p = NULL;
		taken = cases[i].taken;
		if (!resolve_read_page(&arena, str_from(cases[i].body), &run, &found, &token) || token.p != NULL)
			fail_msg("case %zu cannot be read", i);
		if (resolve_judge(&found, false) != cases[i].why)
			fail_msg("case %zu is %s", i, resolve_why_name(resolve_judge(&found, false)).p);
		if (cases[i].why == RESOLVE_MATCHED)
			assert_memory_equal(found.id, A, UUID_BYTES);
	}
}

static void
test_a_contested_one_is_not_taken(void **state)
{
	struct resolve_found one = { .count = 1 }, none = { .count = 0 };

	(void)state;
	assert_int_equal(resolve_judge(&one, false), RESOLVE_MATCHED);
	assert_int_equal(resolve_judge(&one, true), RESOLVE_SEVERAL);
	assert_int_equal(resolve_judge(&none, true), RESOLVE_NONE);
}

static void
test_pages(void **state)
{
	struct resolve_run run = run_at_noon(NULL);
	struct resolve_found found = { .count = 0 };
	struct str token;

	(void)state;
	run.activity.p = NULL;
	assert_true(resolve_read_page(&arena, STR("{\"continuationUri\":\"https://x/\",\"continuationToken\":\"a\\u002fb\",\"value\":["
	    INSTANCE(B, "Pipeline", "Manual", "x", NOON) "]}"), &run, &found, &token));
	assert_true(str_eq(token, STR("a/b")));
	assert_int_equal(resolve_judge(&found, false), RESOLVE_NONE);
	assert_true(resolve_read_page(&arena, STR("{\"value\":[" INSTANCE(A, "RunNotebook", "Manual", "x", NOON)
	    "],\"continuationToken\":null,\"continuationUri\":null}"), &run, &found, &token));
	assert_null(token.p);
	assert_int_equal(resolve_judge(&found, false), RESOLVE_MATCHED);
}

static void
test_what_is_no_list(void **state)
{
	static const char *const bodies[] = { "", "[]", "{}", "null", "{\"value\":{}}", "{\"value\":[1]}", "{\"value\":[{}]}",
		"{\"value\":[]", "{\"value\":[]}x", "{\"value\":[],\"continuationUri\":\"https://x/\"}",
		LIST(INSTANCE("no-uuid", "RunNotebook", "Manual", "x", NOON)), LIST(INSTANCE(A, "RunNotebook", "Manual", "x", "\"soon\"")),
		LIST(INSTANCE(A, "RunNotebook", "Manual", "x", "\"\"")) };

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct resolve_run run = run_at_noon(NULL);
		struct resolve_found found = { .count = 0 };
		struct str token;

		run.activity.p = NULL;
		if (resolve_read_page(&arena, str_from(bodies[i]), &run, &found, &token))
			fail_msg("%s was taken for a list", bodies[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_instance, setup, teardown),
		cmocka_unit_test(test_a_contested_one_is_not_taken),
		cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_list, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
