/* rules/route: every route, what is none, and the one rewrite. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "rules/route.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define WS "11111111-aaaa-4aaa-8aaa-111111111111"
#define ITEM "22222222-bbbb-4bbb-8bbb-222222222222"
#define ID "33333333-cccc-4ccc-8ccc-333333333333"
#define BASE "/v1/workspaces/" WS "/items/" ITEM "/jobs"
/* The same ids in upper case. */
#define UWS "11111111-AAAA-4AAA-8AAA-111111111111"
#define UITEM "22222222-BBBB-4BBB-8BBB-222222222222"
#define UID "33333333-CCCC-4CCC-8CCC-333333333333"

struct route_case {
	const char *method, *target;
	enum route_verdict verdict;
	enum operation operation;	/* where ROUTE_OK */
	const char *job_type;		/* NULL: none */
	const char *upstream;		/* NULL: as it came */
};

static const struct route_case routes[] = {
	{ "POST", BASE "/RunNotebook/instances", ROUTE_OK, OPERATION_RUN, "RunNotebook", NULL },
	{ "GET", BASE "/instances/" ID, ROUTE_OK, OPERATION_GET, NULL, NULL },
	{ "HEAD", BASE "/instances/" ID, ROUTE_OK, OPERATION_GET, NULL, NULL },
	{ "GET", BASE "/instances", ROUTE_OK, OPERATION_LIST, NULL, NULL },
	{ "HEAD", BASE "/instances", ROUTE_OK, OPERATION_LIST, NULL, NULL },
	{ "GET", BASE "/instances?continuationToken=a%2Fb%3D%3D", ROUTE_OK, OPERATION_LIST, NULL, NULL },
	{ "POST", BASE "/instances/" ID "/cancel", ROUTE_OK, OPERATION_CANCEL, NULL, NULL },
	{ "GET", BASE "/Pipeline/schedules", ROUTE_OK, OPERATION_SCHEDULE_LIST, "Pipeline", NULL },
	{ "POST", BASE "/Pipeline/schedules", ROUTE_OK, OPERATION_SCHEDULE_CREATE, "Pipeline", NULL },
	{ "GET", BASE "/Pipeline/schedules/" ID, ROUTE_OK, OPERATION_SCHEDULE_GET, "Pipeline", NULL },
	{ "HEAD", BASE "/Pipeline/schedules/" ID, ROUTE_OK, OPERATION_SCHEDULE_GET, "Pipeline", NULL },
	{ "PATCH", BASE "/Pipeline/schedules/" ID, ROUTE_OK, OPERATION_SCHEDULE_UPDATE, "Pipeline", NULL },
	{ "DELETE", BASE "/Pipeline/schedules/" ID, ROUTE_OK, OPERATION_SCHEDULE_DELETE, "Pipeline", NULL },
	/* Words in any case, ids in any case; the spelling stays. */
	{ "POST", "/v1/Workspaces/" UWS "/ITEMS/" UITEM "/Jobs/sparkjob/Instances?a=b", ROUTE_OK, OPERATION_RUN,
	    "sparkjob", NULL },
	{ "GET", "/v1/workspaces/" WS "/dataPipelines/" ITEM "/jobs/instances/" UID, ROUTE_OK, OPERATION_GET, NULL,
	    NULL },
	{ "GET", "/v1/workspaces/" WS "/lakehouses/" ITEM "/jobs/INSTANCES/" ID, ROUTE_OK, OPERATION_GET, NULL, NULL },
	{ "POST", "/v1/workspaces/" WS "/sparkJobDefinitions/" ITEM "/jobs/sparkjob/instances", ROUTE_OK, OPERATION_RUN,
	    "sparkjob", NULL },
	{ "POST", "/v1/workspaces/" WS "/dataflows/" ITEM "/jobs/ApplyChanges/instances", ROUTE_OK, OPERATION_RUN,
	    "ApplyChanges", NULL },
	{ "POST", "/v1/workspaces/" WS "/graphModels/" ITEM "/jobs/RefreshGraph/instances", ROUTE_OK, OPERATION_RUN,
	    "RefreshGraph", NULL },
	{ "POST", "/v1/workspaces/" WS "/dataBuildToolJobs/" ITEM "/jobs/Execute/instances", ROUTE_OK, OPERATION_RUN,
	    "Execute", NULL },
	/* The job type is decoded for policy; upstream goes what the caller wrote. */
	{ "POST", BASE "/Run%4eotebook/instances", ROUTE_OK, OPERATION_RUN, "RunNotebook", NULL },
	{ "POST", BASE "/a.b_c-D9/instances", ROUTE_OK, OPERATION_RUN, "a.b_c-D9", NULL },
	{ "POST", BASE "/cancel/instances", ROUTE_OK, OPERATION_RUN, "cancel", NULL },
	/* Parameters of no concern are not touched. */
	{ "POST", BASE "/X/instances?beta=false&&a=;b=c&%6b=%7e&flag&=", ROUTE_OK, OPERATION_RUN, "X", NULL },
	{ "POST", BASE "/X/instances?", ROUTE_OK, OPERATION_RUN, "X", NULL },
	{ "GET", BASE "/instances?jobType=A&jobtype=B", ROUTE_OK, OPERATION_LIST, NULL, NULL },
	{ "POST", BASE "/instances/" ID "/cancel?jobType=A&jobType=B", ROUTE_OK, OPERATION_CANCEL, NULL, NULL },
	{ "GET", BASE "/X/schedules?jobType=X", ROUTE_OK, OPERATION_SCHEDULE_LIST, "X", NULL },
};

/* The legacy form, and both forms together. */
static const struct route_case rewrites[] = {
	{ "POST", BASE "/instances?jobType=RunNotebook", ROUTE_OK, OPERATION_RUN, "RunNotebook",
	    BASE "/RunNotebook/instances" },
	{ "POST", BASE "/instances?JOBTYPE=Pipeline", ROUTE_OK, OPERATION_RUN, "Pipeline", BASE "/Pipeline/instances" },
	{ "POST", BASE "/instances?%6AobT%79pe=P", ROUTE_OK, OPERATION_RUN, "P", BASE "/P/instances" },
	{ "POST", BASE "/instances?jobType=Run%4Eotebook", ROUTE_OK, OPERATION_RUN, "RunNotebook",
	    BASE "/RunNotebook/instances" },
	{ "POST", "/v1/workspaces/" UWS "/Notebooks/" UITEM "/JOBS/Instances?beta=false&jobType=RunNotebook&x=%2f",
	    ROUTE_OK,
	    OPERATION_RUN, "RunNotebook",
	    "/v1/workspaces/" UWS "/Notebooks/" UITEM "/JOBS/RunNotebook/Instances?beta=false&x=%2f" },
	{ "POST", BASE "/instances?jobType=P&a=1", ROUTE_OK, OPERATION_RUN, "P", BASE "/P/instances?a=1" },
	{ "POST", BASE "/instances?a=1&jobType=P", ROUTE_OK, OPERATION_RUN, "P", BASE "/P/instances?a=1" },
	{ "POST", BASE "/instances?a&&jobType=P&&b=+;c", ROUTE_OK, OPERATION_RUN, "P", BASE "/P/instances?a&&&b=+;c" },
	{ "POST", BASE "/instances?jobType=P&", ROUTE_OK, OPERATION_RUN, "P", BASE "/P/instances?" },
	{ "POST", BASE "/instances?myjobType=Q&jobType=P&jobTypes=R", ROUTE_OK, OPERATION_RUN, "P",
	    BASE "/P/instances?myjobType=Q&jobTypes=R" },
	{ "POST", BASE "/RunNotebook/instances?jobType=RunNotebook", ROUTE_OK, OPERATION_RUN, "RunNotebook",
	    BASE "/RunNotebook/instances" },
	{ "POST", BASE "/RunNotebook/instances?a&jobtype=RUNNOTEBOOK&b", ROUTE_OK, OPERATION_RUN, "RunNotebook",
	    BASE "/RunNotebook/instances?a&b" },
	{ "POST", BASE "/Run%4Eotebook/Instances?jobType=%52unNotebook", ROUTE_OK, OPERATION_RUN, "RunNotebook",
	    BASE "/Run%4Eotebook/Instances" },
};

static const struct route_case refusals[] = {
	/* Job type: missing, empty, twice, two that differ, illegal. */
	{ "POST", BASE "/instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=A&jobType=A", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=A&JobType=B", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=A&%4aob%54ype=B", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=A&jobType", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=A&+jobType%20=B", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/A/instances?jobType=B", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/A/instances?jobType=", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/A/instances?jobType=A&jobtype=A", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/A/schedules?jobType=B", ROUTE_BAD_JOB_TYPE, OPERATION_SCHEDULE_CREATE, NULL, NULL },
	{ "DELETE", BASE "/A/schedules/" ID "?jobtype=B", ROUTE_BAD_JOB_TYPE, OPERATION_SCHEDULE_DELETE, NULL, NULL },
	{ "POST", BASE "/instances?jobType=a+b", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=a%2Fb", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=../x", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=a%0d%0a", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=a?b", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=a=b", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=A;b", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=..", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=...", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances?jobType=%53chedules", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/instances/instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/%69nstances/instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/Instances/schedules", ROUTE_BAD_JOB_TYPE, OPERATION_SCHEDULE_CREATE, NULL, NULL },
	{ "GET", BASE "/instances/schedules/" ID, ROUTE_BAD_JOB_TYPE, OPERATION_SCHEDULE_GET, NULL, NULL },
	{ "POST", BASE "/schedules/instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/a%20b/instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/%2569nstances/instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/%C3%A4/instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/a;b/instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/..;/instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	{ "POST", BASE "/.../instances", ROUTE_BAD_JOB_TYPE, OPERATION_RUN, NULL, NULL },
	/* No strict target, or no UUID. */
	{ "POST", BASE "/../instances", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/%2e%2e/instances", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "//instances", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/a%2fb/instances", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/a%00/instances", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/A/instances?x=%zz", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "GET", "/" BASE "/instances", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE "/instances#x", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE "/instances/1", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE "/instances/{" ID "}", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/instances/schedules/cancel", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "GET", "/v1/workspaces/x/items/" ITEM "/jobs/instances", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "GET", "/v1/workspaces/" WS "/items/x/jobs/instances", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	{ "GET", "/v1/workspaces/%31" "1111111-aaaa-4aaa-8aaa-111111111111/items/" ITEM "/jobs/instances",
	    ROUTE_BAD_TARGET,
	    OPERATION_NONE, NULL, NULL },
	{ "PATCH", BASE "/A/schedules/x", ROUTE_BAD_TARGET, OPERATION_NONE, NULL, NULL },
	/* No such route. */
	{ "GET", "/", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", "/v1", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE, ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE "/", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE "/instances/", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/A/instances/", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE "/A", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE "/A/instances/" ID, ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/A/instances/" ID "/cancel", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/A/%69nstances", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/%69nstances?jobType=A", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE "/%69nstances/" ID, ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/instances/" ID "/restart", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "POST", BASE "/instances/" ID "/cancel/x", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", BASE "/schedules", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", "/V1/workspaces/" WS "/items/" ITEM "/jobs/instances", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", "/%76" "1/workspaces/" WS "/items/" ITEM "/jobs/instances", ROUTE_UNKNOWN, OPERATION_NONE, NULL,
	    NULL },
	{ "GET", "/v1/workspaces/" WS "/reports/" ITEM "/jobs/instances", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", "/v1/workspaces/" WS "/items/" ITEM "/runs/instances", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", "/v1/workspaces/" WS "/items/" ITEM "/jobs;a/instances", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", "/fabric" BASE "/instances", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
	{ "GET", "/v1/workspaces", ROUTE_UNKNOWN, OPERATION_NONE, NULL, NULL },
};

static const char *const verdict_names[] = { "ok", "bad target", "bad job type", "unknown", "bad method" };

/* Compare one case with what is recognised. */
static void
check_route(struct arena *arena, const struct route_case *c)
{
	struct route_origin origin = { { NULL, 0 } };
	struct route route;
	enum route_verdict verdict = route_parse(arena, str_from(c->method), str_from(c->target), &origin, &route);

	if (verdict != c->verdict || route.operation != c->operation)
		fail_msg("%s %s: %s (%s), operation %.*s", c->method, c->target, verdict_names[verdict],
		    route.fault ? route.fault : "", STR_ARG(operation_name(route.operation)));
	if ((route.fault == NULL) != (verdict == ROUTE_OK))
		fail_msg("%s %s: no sentence", c->method, c->target);
	if ((route.job_type.p == NULL) != (c->job_type == NULL) || !str_eq(route.job_type, str_from(c->job_type)))
		fail_msg("%s %s: job type %.*s", c->method, c->target, STR_ARG(route.job_type));
	if (verdict == ROUTE_OK && !str_eq(route.upstream_target, str_from(c->upstream ? c->upstream : c->target)))
		fail_msg("%s %s: upstream %.*s", c->method, c->target, STR_ARG(route.upstream_target));
	if ((verdict == ROUTE_OK || verdict == ROUTE_BAD_JOB_TYPE) &&
	    (!str_eq(route.workspace, STR(WS)) || !str_eq(route.item, STR(ITEM))))
		fail_msg("%s %s: ids %.*s %.*s", c->method, c->target, STR_ARG(route.workspace), STR_ARG(route.item));
}

static void
test_routes(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < COUNT(routes); i++)
		check_route(&arena, &routes[i]);
	for (size_t i = 0; i < COUNT(rewrites); i++)
		check_route(&arena, &rewrites[i]);
	for (size_t i = 0; i < COUNT(refusals); i++)
		check_route(&arena, &refusals[i]);
	arena_fini(&arena);
}

static void
test_parts(void **state)
{
	struct route_origin origin = { { NULL, 0 } };
	struct arena arena;
	struct route route;

	(void)state;
	arena_init(&arena);
	assert_int_equal(route_parse(&arena, STR("POST"), STR(BASE "/instances?jobType=A"), &origin, &route), ROUTE_OK);
	assert_true(route.legacy);
	assert_true(str_eq(route.instances_path, STR(BASE "/instances")));
	assert_null(route.instance.p);
	assert_int_equal(route_parse(&arena, STR("POST"), STR(BASE "/A/instances?jobType=A"), &origin, &route),
	    ROUTE_OK);
	assert_false(route.legacy);
	assert_int_equal(route_parse(&arena, STR("POST"),
	    STR("/v1/WORKSPACES/" UWS "/notebooks/" UITEM "/Jobs/Instances/" UID
	    "/CANCEL"), &origin, &route), ROUTE_OK);
	assert_int_equal(route.operation, OPERATION_CANCEL);
	assert_true(str_eq(route.instance, STR(ID)));
	assert_true(str_eq(route.instances_path, STR("/v1/WORKSPACES/" UWS "/notebooks/" UITEM "/Jobs/instances")));
	assert_int_equal(route_parse(&arena, STR("GET"), STR(BASE "/A/schedules/" UID), &origin, &route), ROUTE_OK);
	assert_true(str_eq(route.instance, STR(ID)));
	arena_fini(&arena);
}

/* A wrong method names the right ones, whatever the job type is. */
static void
test_methods(void **state)
{
	static const struct { const char *target, *allow; } cases[] = {
		{ BASE "/instances", "GET, HEAD, POST" }, { BASE "/instances/" ID, "GET, HEAD" },
		{ BASE "/instances/" ID "/cancel", "POST" }, { BASE "/A/instances", "POST" },
		{ BASE "/a%20/instances", "POST" },
		{ BASE "/A/schedules", "GET, HEAD, POST" }, { BASE "/A/schedules/" ID, "GET, HEAD, PATCH, DELETE" },
	};
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };
	struct route_origin origin = { { NULL, 0 } };
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < COUNT(cases); i++)
		for (size_t m = 0; m < COUNT(methods); m++) {
			struct route route;
			struct str allow = str_from(cases[i].allow);
			bool allowed = str_find(allow, str_from(methods[m])) < allow.n;
			enum route_verdict verdict = route_parse(&arena, str_from(methods[m]),
			    str_from(cases[i].target), &origin,
			    &route);

			if (allowed != (verdict != ROUTE_BAD_METHOD))
				fail_msg("%s %s: %s", methods[m], cases[i].target, verdict_names[verdict]);
			if (allowed)
				continue;
			assert_string_equal(route.allow, cases[i].allow);
			assert_true(str_eq(route.workspace, STR(WS)));
			assert_int_equal(route.operation, OPERATION_NONE);
		}
	assert_int_equal(route_parse(&arena, STR("OPTIONS"), STR("*"), &origin, &(struct route){ 0 }),
	    ROUTE_BAD_METHOD);
	arena_fini(&arena);
}

/* The public path is taken off byte for byte, in front of /v1 alone, and need not be there. */
static void
test_public_path(void **state)
{
	static const struct { const char *public_path, *target; enum route_verdict verdict; } cases[] = {
		{ "/fabric", "/fabric" BASE "/instances", ROUTE_OK }, { "/fabric", BASE "/instances", ROUTE_OK },
		{ "/a/b", "/a/b" BASE "/instances", ROUTE_OK }, { "/v1", "/v1" BASE "/instances", ROUTE_OK },
		{ "/v1", BASE "/instances", ROUTE_OK }, { "/fabric", "/Fabric" BASE "/instances", ROUTE_UNKNOWN },
		{ "/fabric", "/fabric/fabric" BASE "/instances", ROUTE_UNKNOWN },
		{ "/fabric", "/fabric/x" BASE "/instances", ROUTE_UNKNOWN },
		{ "/fabric", "/fabri%63" BASE "/instances", ROUTE_UNKNOWN },
		{ "/fabric", "/fabricx" BASE "/instances", ROUTE_UNKNOWN },
		{ "/fabric", "/fabric", ROUTE_UNKNOWN }, { "/fabric", "/fabric/" BASE "/instances", ROUTE_BAD_TARGET },
	};
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct route_origin origin = { str_from(cases[i].public_path) };
		struct route route;
		enum route_verdict verdict = route_parse(&arena, STR("GET"), str_from(cases[i].target), &origin,
		    &route);

		if (verdict != cases[i].verdict)
			fail_msg("%s: %s", cases[i].target, verdict_names[verdict]);
		if (verdict == ROUTE_OK) {
			assert_true(str_eq(route.upstream_target, STR(BASE "/instances")));
			assert_true(str_eq(route.instances_path, STR(BASE "/instances")));
		}
	}
	arena_fini(&arena);
}

/* 128 bytes are a job type, 129 are none; the bytes are counted decoded. */
static void
test_job_type_length(void **state)
{
	struct route_origin origin = { { NULL, 0 } };
	struct arena arena;
	struct route route;
	char name[130];

	(void)state;
	arena_init(&arena);
	memset(name, 'a', sizeof name);
	for (int n = 127; n <= 129; n++) {
		enum route_verdict expected = n <= 128 ? ROUTE_OK : ROUTE_BAD_JOB_TYPE;
		struct str path = arena_printf(&arena, BASE "/%.*s%%61/instances", n - 1, name);
		struct str query = arena_printf(&arena, BASE "/instances?jobType=%.*s", n, name);

		assert_int_equal(route_parse(&arena, STR("POST"), path, &origin, &route), expected);
		assert_int_equal(route_parse(&arena, STR("POST"), query, &origin, &route), expected);
	}
	arena_fini(&arena);
}

/*
 * Other routes of the API are told apart from what some server could read as the scheduler's: nobody reaches a job by them, past
 * the quota and the record.
 */
static void
test_other_routes(void **state)
{
	static const struct { const char *target; bool is_other; } cases[] = {
		{ "/v1/workspaces", true },
		{ "/v1/workspaces/" WS "/items?type=Notebook", true },
		{ "/v1/workspaces/" WS "/notebooks/" ITEM "/getDefinition", true },
		{ "/v1/workspaces/" WS "/dataBuildToolJobs/" ITEM, true },
		{ "/v1/operations/" ID "/result", true },
		{ "/v1/workspaces/" WS "/items/" ITEM "/Jobs%2Dlike", true },
		{ "/v2/workspaces", false },
		{ "/V1/workspaces", false },
		{ "/v1", false },
		{ "/healthz", false },
		{ "/v1/workspaces/" WS "/newKind/" ITEM "/jobs/Execute/instances", false },
		{ "/v1/workspaces/" WS "/newKind/" ITEM "/JOBS/Execute/instances", false },
		{ "/v1/workspaces/" WS "/items/" ITEM "/job%73/Execute/instances", false },
		{ "/v1/workspaces/" WS "/items/" ITEM "/%6A%6f%62%73/Execute/instances", false },
		{ "/v1/workspaces/" WS "/items/" ITEM "/job%2573/Execute/instances", false },
		{ "/v1/workspaces/" WS "/items/" ITEM "/jobs;x=1/Execute/instances", false },
		{ "/v1/workspaces/" WS "/items/" ITEM "/jobs%3Bx=1/Execute/instances", false },
		{ "/v1/workspaces/" WS "/items/" ITEM "/jobs%20/Execute/instances", false },
		{ "/v1/workspaces/" WS "/items/" ITEM "/%20jobs/Execute/instances", false },
		{ "/v1/workspaces/" WS "/items/" ITEM "/jobs", false },
		{ "/v1/workspaces/" WS "/items/" ITEM "/jobs/", false },
		{ BASE "/Run%4eotebook/instances/x/y", false },
	};
	struct route_origin origin = { { NULL, 0 } };
	struct route route;
	struct arena arena;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		arena_init(&arena);
		assert_int_equal(route_parse(&arena, STR("POST"), str_from(cases[i].target), &origin, &route), ROUTE_UNKNOWN);
		if (route.is_other != cases[i].is_other)
			fail_msg("%s", cases[i].target);
		assert_true(!route.is_other || str_eq(route.upstream_target, str_from(cases[i].target)));
		assert_true(route.operation == OPERATION_NONE);
		arena_fini(&arena);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_routes), cmocka_unit_test(test_parts),
		cmocka_unit_test(test_methods), cmocka_unit_test(test_public_path),
		    cmocka_unit_test(test_job_type_length), cmocka_unit_test(test_other_routes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
