/* The simulated Job Scheduler API: routes, and the run of a job. */
#include "sim_api.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "sim_call.h"

/* What a route does; the first that matches is taken. Segments of the pattern: see call_matches. */
static const struct {
	const char *method;
	const char *pattern;	/* behind /v1/workspaces/WS/COLLECTION/ITEM/jobs/ */
	void (*answer)(struct sim_call *call);
} routes[] = {
	{ "POST", "instances", sim_call_run_legacy },
	{ "GET", "instances", sim_call_list },
	{ "GET", "instances/{id}", sim_call_get },
	{ "POST", "instances/{id}/cancel", sim_call_cancel },
	{ "POST", "{type}/instances", sim_call_run },
	{ "GET", "{type}/schedules", sim_call_schedule_list },
	{ "POST", "{type}/schedules", sim_call_schedule_create },
	{ "GET", "{type}/schedules/{id}", sim_call_schedule_get },
	{ "PATCH", "{type}/schedules/{id}", sim_call_schedule_update },
	{ "DELETE", "{type}/schedules/{id}", sim_call_schedule_delete },
};

#define ROUTES (sizeof(routes) / sizeof(routes[0]))

/* Undo percent-encoding; malformed escapes stand for themselves. */
static struct str
api_decode(struct arena *arena, struct str s)
{
	char *out = arena_alloc(arena, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		uint8_t byte;

		if (s.p[i] == '%' && str_hex_decode(str_sub(s, i + 1, i + 3), &byte, 1)) {
			out[n++] = (char)byte;
			i += 2;
		} else {
			out[n++] = s.p[i];
		}
	}
	return (struct str){ out, n };
}

/* Tell whether S is a UUID, and copy it in lower case. */
static bool
api_uuid(struct arena *arena, struct str s, struct str *out)
{
	struct str copy = arena_copy(arena, s);
	char *p = arena_alloc(arena, s.n + 1);

	if (s.n != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? copy.p[i] != '-' : str_hex_value(copy.p[i]) < 0)
			return false;
		p[i] = str_lower(copy.p[i]);
	}
	*out = (struct str){ p, 36 };
	return true;
}

/* Match the segments behind jobs/ with a pattern, filling in type and id (none where it is no UUID). */
static bool
api_matches(struct sim_call *call, struct str rest, const char *pattern)
{
	struct str wanted = str_from(pattern), part, segment;

	call->type = call->id = (struct str){ NULL, 0 };
	while (str_next(&wanted, '/', &part)) {
		if (!str_next(&rest, '/', &segment))
			return false;
		if (str_eq(part, STR("{type}")))
			call->type = api_decode(call->arena, segment);
		else if (str_eq(part, STR("{id}")))
			(void)api_uuid(call->arena, segment, &call->id);
		else if (!str_eq_nocase(part, segment))
			return false;
	}
	return rest.n == 0 && !str_eq_nocase(call->type, STR("instances"));
}

/* Take "/v1/workspaces/WS/COLLECTION/ITEM/jobs" off the path and fill in the item; NULL or an error code. */
static const char *
api_split(struct sim_call *call, struct str *path)
{
	struct str first, v1, workspaces, workspace, collection, item, jobs, low_workspace, low_item;
	const char *start = path->p;

	if (!str_next(path, '/', &first) || !str_next(path, '/', &v1) || !str_next(path, '/', &workspaces) ||
	    !str_next(path, '/', &workspace) || !str_next(path, '/', &collection) || !str_next(path, '/', &item) ||
	    !str_next(path, '/', &jobs) || first.n > 0 || !str_eq_nocase(v1, STR("v1")) || collection.n == 0 ||
	    !str_eq_nocase(workspaces, STR("workspaces")) || !str_eq_nocase(jobs, STR("jobs")))
		return "EntityNotFound";
	call->base = (struct str){ start, (size_t)(jobs.p + jobs.n - start) };
	if (!api_uuid(call->arena, workspace, &low_workspace) || !api_uuid(call->arena, item, &low_item))
		return "InvalidInput";
	call->item = arena_printf(call->arena, "%.*s/%.*s", STR_ARG(low_workspace), STR_ARG(low_item));
	call->item_id = low_item;
	return NULL;
}

/* Take the query's parameters that matter. */
static void
api_query(struct sim_call *call, struct str query)
{
	struct str pair;

	while (str_next(&query, '&', &pair)) {
		size_t equals = str_find_char(pair, '=');
		struct str key = api_decode(call->arena, str_sub(pair, 0, equals));
		struct str value = api_decode(call->arena, str_sub(pair, equals + 1, pair.n));

		if (str_eq_nocase(key, STR("jobType")))
			call->query_type = value;
		if (str_eq_nocase(key, STR("continuationToken")))
			call->token = value;
	}
}

/* Find the route and take it. */
static void
api_dispatch(struct sim_call *call, struct str method, struct str rest)
{
	bool found = false;

	for (size_t i = 0; i < ROUTES; i++) {
		if (!api_matches(call, rest, routes[i].pattern))
			continue;
		found = true;
		if (!str_eq(method, str_from(routes[i].method)) &&
		    !(str_eq(method, STR("HEAD")) && strcmp(routes[i].method, "GET") == 0))
			continue;
		if (call->id.p == NULL && strstr(routes[i].pattern, "{id}") != NULL)
			sim_reply_error(call->reply, 400, "InvalidInput", "The id is no GUID", false);
		else
			routes[i].answer(call);
		return;
	}
	if (found)
		sim_reply_error(call->reply, 405, "MethodNotAllowed", "The method is not allowed here", false);
	else
		sim_reply_error(call->reply, 404, "EntityNotFound", "The requested resource could not be found", false);
}

/* Whether the Authorization value is one of the file of those that are not good any more. */
static bool
api_is_revoked(const struct sim_options *options, struct str authorization)
{
	FILE *file = options->revoked ? fopen(options->revoked, "re") : NULL;
	char line[4096];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		found = str_eq(str_from(line), authorization);
	}
	if (file)
		fclose(file);
	return found;
}

/* Answer 401 where the token is missing or not good; true where it was. */
static bool
api_refuses_token(struct sim_call *call, const struct http1_head *head)
{
	const struct http1_field *authorization = http1_find(head, STR("Authorization"));
	const struct sim_options *options = call->api->options;

	if (authorization == NULL && options->require_authorization) {
		sim_reply_field(call->reply, "WWW-Authenticate", "Bearer");
		sim_reply_error(call->reply, 401, "TokenMissing", "The request has no Authorization field", false);
		return true;
	}
	if (authorization == NULL || !api_is_revoked(options, authorization->value))
		return false;
	sim_reply_field(call->reply, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
	sim_reply_error(call->reply, 401, "TokenExpired", "The token is not good any more", false);
	return true;
}

/* Execute a request. */
void
sim_api_answer(struct sim_api *api, const struct http1_head *head, struct str body, struct wall_time now,
    struct sim_reply *reply)
{
	struct arena arena;
	struct sim_call call = { .api = api, .arena = &arena, .body = body, .now = now, .reply = reply };
	struct str path = str_sub(head->target, 0, str_find_char(head->target, '?'));
	const char *fault;

	arena_init(&arena);
	api_query(&call, str_sub(head->target, path.n + 1, head->target.n));
	fault = api_split(&call, &path);
	if (api_refuses_token(&call, head)) {
		arena_fini(&arena);
		return;
	}
	if (fault != NULL) {
		sim_reply_error(reply, strcmp(fault, "InvalidInput") == 0 ? 400 : 404, fault,
		    "The requested resource could not be found", false);
	} else {
		api_dispatch(&call, head->method, path);
	}
	arena_fini(&arena);
}
