/* Operations on schedules: list, create, get, update, delete. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/check.h"
#include "sim_call.h"

/* Make the JSON of a schedule. */
static json_t *
schedule_json(struct sim_call *call, const struct sim_schedule *s)
{
	json_t *json = json_pack("{s:s, s:b, s:s, s:o, s:{s:s, s:s}}", "id", s->id, "enabled", (int)s->enabled,
	    "createdDateTime", sim_call_time(call, s->created).p, "configuration",
	    json_loads(s->configuration, JSON_DECODE_ANY, NULL), "owner", "id",
	    "8eedb1b0-3af8-4b17-8e7e-663e61e12211", "type", "User");

	check(json != NULL);
	return json;
}

/* Take "enabled" and "configuration" of the body into a schedule; with an error answered where they are wrong. */
static bool
schedule_take(struct sim_call *call, json_t *body, struct sim_schedule *s)
{
	json_t *enabled = json_object_get(body, "enabled"), *configuration = json_object_get(body, "configuration");
	char *text;

	if (!json_is_object(configuration) || (enabled != NULL && !json_is_boolean(enabled))) {
		sim_reply_error(call->reply, 400, "InvalidParameter", "A schedule needs enabled and configuration", false);
		return false;
	}
	text = json_dumps(configuration, JSON_COMPACT);
	check(text != NULL);
	sim_schedule_configure(s, text);
	free(text);
	s->enabled = enabled == NULL || json_is_true(enabled);
	return true;
}

/* Find the call's schedule, or answer that there is none. */
static struct sim_schedule *
schedule_find(struct sim_call *call)
{
	struct sim_schedule *s = sim_schedule_find(call->api->jobs, call->item, call->type, call->id);

	if (s == NULL)
		sim_reply_error(call->reply, 404, "EntityNotFound", "The requested schedule could not be found", false);
	return s;
}

/* Answer with all schedules of a job type. */
void
sim_call_schedule_list(struct sim_call *call)
{
	json_t *value = json_array(), *body = json_object();
	struct sim_schedule *s = NULL;

	while ((s = sim_schedule_next(call->api->jobs, call->item, call->type, s)) != NULL)
		check(json_array_append_new(value, schedule_json(call, s)) == 0);
	check(json_object_set_new(body, "value", value) == 0);
	sim_reply_json(call->reply, 200, body);
}

/* Create a schedule. */
void
sim_call_schedule_create(struct sim_call *call)
{
	json_t *body = json_loadb(call->body.p != NULL ? call->body.p : "", call->body.n, 0, NULL);
	struct sim_schedule *s = sim_schedule_add(call->api->jobs, call->item, call->type, call->now);

	if (!schedule_take(call, body, s)) {
		sim_schedule_remove(call->api->jobs, s);
	} else {
		sim_call_location(call, arena_printf(call->arena, "%.*s/schedules/%s", STR_ARG(call->type), s->id).p);
		sim_reply_json(call->reply, 201, schedule_json(call, s));
	}
	json_decref(body);
}

/* Answer with a schedule. */
void
sim_call_schedule_get(struct sim_call *call)
{
	struct sim_schedule *s = schedule_find(call);

	if (s != NULL)
		sim_reply_json(call->reply, 200, schedule_json(call, s));
}

/* Change a schedule. */
void
sim_call_schedule_update(struct sim_call *call)
{
	struct sim_schedule *s = schedule_find(call);
	json_t *body;

	if (s == NULL)
		return;
	body = json_loadb(call->body.p != NULL ? call->body.p : "", call->body.n, 0, NULL);
	if (schedule_take(call, body, s))
		sim_reply_json(call->reply, 200, schedule_json(call, s));
	json_decref(body);
}

/* Delete a schedule. */
void
sim_call_schedule_delete(struct sim_call *call)
{
	struct sim_schedule *s = schedule_find(call);

	if (s == NULL)
		return;
	sim_schedule_remove(call->api->jobs, s);
	call->reply->status = 200;
	sim_reply_field(call->reply, "RequestId", call->reply->request_id);
	sim_reply_field(call->reply, "Content-Length", "0");
}
