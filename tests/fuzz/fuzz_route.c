/*
 * Routes: the input is "METHOD TARGET". What is sent upstream must mean to us what the caller's target meant,
 * and need no second rewrite: else a policy could be passed by one and the job run by the other.
 */
#include "fuzz.h"

#include "base/check.h"
#include "rules/route.h"
#include "rules/target.h"
#include "rules/uuid.h"

/* Whether QUERY names a job type to a reader that decodes keys and compares without case. */
static bool
names_job_type(const struct target *target)
{
	for (size_t i = 0; i < target->parameter_count; i++)
		if (str_eq_nocase(target->parameters[i].key, STR("jobType")))
			return true;
	return false;
}

/* The promises about a recognised target. */
static void
check_recognised(struct arena *arena, struct str method, const struct route *route)
{
	const struct route_origin origin = { { NULL, 0 } };
	static struct target target;
	struct route again;

	check(route->operation != OPERATION_NONE && route->fault == NULL);
	check(uuid_is(route->workspace) && uuid_is(route->item) && (route->instance.p == NULL ||
	    uuid_is(route->instance)));
	check(route->job_type.n <= 128 && str_starts(route->upstream_target, STR("/v1/")));
	check(route_parse(arena, method, route->upstream_target, &origin, &again) == ROUTE_OK);
	check(again.operation == route->operation && !again.legacy);
	check(str_eq(again.workspace, route->workspace) && str_eq(again.item, route->item));
	check(str_eq(again.job_type, route->job_type) && str_eq(again.instance, route->instance));
	check(str_eq(again.upstream_target, route->upstream_target));
	check(target_split(arena, route->upstream_target, &target) == NULL);
	check(route->operation != OPERATION_RUN || !names_job_type(&target));
	check(route_parse(arena, STR("GET"), route->instances_path, &origin, &again) == ROUTE_OK);
	check(again.operation == OPERATION_LIST);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const public_paths[] = { "", "/fabric", "/v1" };
	struct str bytes = { (const char *)data, size };
	size_t space = str_find_char(bytes, ' ');
	struct str method = str_sub(bytes, 0, space), target = str_sub(bytes, space + 1, size);
	struct arena arena;

	arena_init(&arena);
	for (size_t i = 0; i < sizeof public_paths / sizeof public_paths[0]; i++) {
		const struct route_origin origin = { str_from(public_paths[i]) };
		struct route route;
		enum route_verdict verdict = route_parse(&arena, method, target, &origin, &route);

		if (verdict == ROUTE_OK)
			check_recognised(&arena, method, &route);
		else
			check(route.fault != NULL && (verdict != ROUTE_BAD_METHOD || route.allow != NULL));
	}
	arena_fini(&arena);
	return 0;
}
