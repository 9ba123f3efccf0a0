/* What the gateway would make of a request, in words. */
#include "rules/explain.h"

#include "rules/limits.h"
#include "rules/policy.h"
#include "rules/reply.h"
#include "rules/target.h"

/* A request being explained. */
struct explained {
	const struct config *config;
	const struct config_caller *caller;
	struct route route;
	struct buf *out;
};

/* Begin a line: what it is about in a column of its own. */
static void
explain_about(struct explained *e, const char *what)
{
	buf_printf(e->out, "%-9s ", what);
}

/* "callers[3] ("adf-sales")" */
static void
explain_name_caller(struct explained *e)
{
	buf_printf(e->out, "callers[%zu] (\"%.*s\")", e->caller->index, STR_ARG(e->caller->name));
}

/* The line of a refusal: its status, its code, and why. */
static enum explain_verdict
explain_refuse(struct explained *e, enum refusal refusal, const char *why)
{
	explain_about(e, "verdict");
	buf_printf(e->out, "refused, %d %.*s", refusal_status(refusal), STR_ARG(refusal_code(refusal)));
	if (why)
		buf_printf(e->out, ": %s", why);
	buf_add_char(e->out, '\n');
	return EXPLAIN_REFUSED;
}

/* What is asked. */
static void
explain_request(struct explained *e)
{
	const struct route *route = &e->route;

	explain_about(e, "request");
	buf_add(e->out, operation_name(route->operation));
	if (route->job_type.p)
		buf_printf(e->out, " of job type %.*s%s", STR_ARG(route->job_type), route->legacy ? " (legacy URL)" : "");
	if (route->workspace.p)
		buf_printf(e->out, ", workspace %.*s", STR_ARG(route->workspace));
	if (route->item.p)
		buf_printf(e->out, ", item %.*s", STR_ARG(route->item));
	buf_add_char(e->out, '\n');
}

/* Every rule of `allow` with what in it does not cover the request. */
static void
explain_rules_that_fail(struct explained *e)
{
	for (size_t i = 0; i < e->caller->allow_count; i++) {
		explain_about(e, "rule");
		explain_name_caller(e);
		buf_printf(e->out, ".allow[%zu] does not cover it: %s\n", i, policy_mismatch(&e->caller->allow[i], &e->route));
	}
	if (e->caller->allow_count == 0) {
		explain_about(e, "rule");
		explain_name_caller(e);
		buf_add_z(e->out, ".allow is empty and permits nothing\n");
	}
}

/* The rule that permits. */
static void
explain_rule_that_permits(struct explained *e)
{
	size_t i = 0;

	explain_about(e, "rule");
	explain_name_caller(e);
	if (e->route.operation == OPERATION_OTHER) {
		buf_add_z(e->out, ".other_routes permits it\n");
		return;
	}
	if (!e->caller->allow_given) {
		buf_add_z(e->out, " has no allow and may do everything\n");
		return;
	}
	while (policy_mismatch(&e->caller->allow[i], &e->route))
		i++;
	buf_printf(e->out, ".allow[%zu] permits it\n", i);
}

/* The buckets that it takes from. */
static void
explain_limits(struct explained *e)
{
	const struct config *config = e->config;
	const struct config_identity *identity = &config->identities[e->caller->identity];
	uint32_t mask = limits_match(config, e->caller->identity, &e->route);

	explain_about(e, "limits");
	if (!operation_is_metered(e->route.operation)) {
		buf_add_z(e->out, "none: other routes are outside the quota\n");
		return;
	}
	buf_printf(e->out, "identity %.*s", STR_ARG(identity->name));
	if (e->caller->rate.requests) {
		buf_add_z(e->out, ", ");
		explain_name_caller(e);
		buf_add_z(e->out, ".rate");
	}
	for (size_t i = 0; i < config->rate_limit_count; i++)
		if (mask & UINT32_C(1) << i)
			buf_printf(e->out, ", rules[%zu] (\"%.*s\")", i, STR_ARG(config->rate_limits[i].name));
	buf_add_char(e->out, '\n');
}

/* A request that is permitted. */
static enum explain_verdict
explain_permit(struct explained *e, struct str method)
{
	explain_rule_that_permits(e);
	explain_about(e, "upstream");
	buf_printf(e->out, "%.*s %.*s%.*s\n", STR_ARG(method), STR_ARG(e->config->upstream.origin),
	    STR_ARG(e->route.upstream_target));
	explain_limits(e);
	explain_about(e, "verdict");
	buf_add_z(e->out, "permitted\n");
	return EXPLAIN_PERMITTED;
}

/* The caller called NAME, or NULL. */
static const struct config_caller *
explain_find_caller(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->caller_count; i++)
		if (str_eq(config->callers[i].name, name))
			return &config->callers[i];
	return NULL;
}

/* Judge as a worker does: the route first, then the caller's rights. */
static enum explain_verdict
explain_route(struct explained *e, struct arena *arena, struct str method, struct str target)
{
	static const enum refusal refusals[] = { [ROUTE_BAD_TARGET] = REFUSAL_BAD_REQUEST, [ROUTE_BAD_JOB_TYPE] = REFUSAL_BAD_JOB_TYPE,
		[ROUTE_UNKNOWN] = REFUSAL_NO_ROUTE, [ROUTE_BAD_METHOD] = REFUSAL_BAD_METHOD };
	struct route_origin origin = { e->config->public_path };
	enum route_verdict verdict = route_parse(arena, method, target, &origin, &e->route);

	if (e->route.is_other && policy_permits_other(e->caller, method)) {
		e->route.operation = OPERATION_OTHER;
		verdict = ROUTE_OK;
	}
	if (verdict != ROUTE_OK)
		return explain_refuse(e, refusals[verdict], e->route.fault);
	explain_request(e);
	if (e->route.operation == OPERATION_OTHER || policy_permits(e->caller, &e->route))
		return explain_permit(e, method);
	explain_rules_that_fail(e);
	return explain_refuse(e, REFUSAL_FORBIDDEN, NULL);
}

enum explain_verdict
explain(const struct config *config, struct str name, struct str method, struct str url, struct buf *out)
{
	struct explained e = { .config = config, .caller = explain_find_caller(config, name), .out = out };
	struct str authority, target = url;
	enum explain_verdict verdict;
	struct arena arena;

	if (e.caller == NULL)
		return EXPLAIN_NO_CALLER;
	target_split_absolute(url, &authority, &target);
	explain_about(&e, "caller");
	explain_name_caller(&e);
	buf_printf(out, ", identity %.*s\n", STR_ARG(config->identities[e.caller->identity].name));
	arena_init(&arena);
	verdict = explain_route(&e, &arena, method, target);
	arena_fini(&arena);
	return verdict;
}
