/* Operations on job instances: run, get, list, cancel. */
#include "sim_call.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"

/* Write a time as Fabric does. */
struct str
sim_call_time(struct sim_call *call, struct wall_time t)
{
	struct civil_time c = clock_civil(t);

	return arena_printf(call->arena, "%04d-%02d-%02dT%02d:%02d:%02d.%06d0", c.year, c.month, c.day, c.hour,
	    c.minute, c.second, c.microsecond);
}

/* Say where something of this item is. */
void
sim_call_location(struct sim_call *call, const char *rest)
{
	sim_reply_field(call->reply, "Location", arena_printf(call->arena, "%s%.*s/%s", call->api->options->origin,
	    STR_ARG(call->base), rest).p);
}

/* Say after how many seconds to ask again. */
static void
call_retry_after(struct sim_call *call)
{
	sim_reply_field(call->reply, "Retry-After",
	    arena_printf(call->arena, "%lld", (long long)call->api->options->retry_after).p);
}

/* Answer 202 as recorded, field for field (fabric.md 3). */
static void
call_accepted(struct sim_call *call, const char *rest, const char *job_id)
{
	struct sim_reply *r = call->reply;

	r->status = 202;
	sim_call_location(call, rest);
	call_retry_after(call);
	sim_reply_field(r, "RequestId", r->request_id);
	sim_reply_field(r, "x-ms-job-id", job_id);
	sim_reply_field(r, "Content-Encoding", "gzip");
	sim_reply_field(r, "Content-Length", "0");
	sim_reply_field(r, "Content-Type", "application/octet-stream");
	sim_reply_field(r, "home-cluster-uri", "https://wabi-west-europe-redirect.analysis.windows.net/");
	sim_reply_field(r, "Access-Control-Expose-Headers", "RequestId,Location,Retry-After");
}

/* Tell whether a run's body is what the service takes: nothing, "" or an object. */
static bool
call_body_ok(struct sim_call *call)
{
	json_t *json;
	bool ok;

	if (call->body.n == 0)
		return true;
	json = json_loadb(call->body.p, call->body.n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
	ok = json_is_object(json) || (json_is_string(json) && json_string_length(json) == 0);
	json_decref(json);
	return ok;
}

/* Start a job instance. */
void
sim_call_run(struct sim_call *call)
{
	struct sim_job *job;

	if (call->type.n == 0) {
		sim_reply_error(call->reply, 400, "InvalidJobType", "The job type is missing or invalid", false);
		return;
	}
	if (!call_body_ok(call)) {
		sim_reply_error(call->reply, 400, "InvalidParameter", "The request body is invalid", false);
		return;
	}
	job = sim_jobs_start(call->api->jobs, call->item, call->type, call->reply->request_id, call->now);
	/* The reference page's examples for Execute have a Location without an id. */
	if (str_eq_nocase(call->type, STR("Execute")))
		call_accepted(call, "instances?jobType=Execute", job->id);
	else
		call_accepted(call, arena_printf(call->arena, "instances/%s", job->id).p, job->id);
}

/* Start a job instance whose type stands in the query. */
void
sim_call_run_legacy(struct sim_call *call)
{
	call->type = call->query_type;
	sim_call_run(call);
}

/* Make the JSON of an instance. */
static json_t *
call_instance(struct sim_call *call, const struct sim_job *job)
{
	bool ended = sim_job_is_ended(job, call->now);
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:n}", "id", job->id, "itemId",
	    arena_copy(call->arena, call->item_id).p, "jobType", job->type, "invokeType", "Manual", "status",
	    sim_job_status(job, call->now), "rootActivityId", job->activity, "startTimeUtc",
	    sim_call_time(call, job->started).p, "endTimeUtc", ended ? sim_call_time(call, job->ended).p : NULL,
	    "failureReason");

	check(json != NULL);
	return json;
}

/* Find the call's instance, or answer that there is none. */
static struct sim_job *
call_find(struct sim_call *call)
{
	struct sim_job *job = sim_jobs_find(call->api->jobs, call->item, call->id);

	if (job == NULL)
		sim_reply_error(call->reply, 404, "EntityNotFound",
		    "The requested job instance could not be found", false);
	return job;
}

/* Answer with an instance. */
void
sim_call_get(struct sim_call *call)
{
	struct sim_job *job = call_find(call);

	if (job == NULL)
		return;
	if (!sim_job_is_ended(job, call->now))
		call_retry_after(call);
	sim_reply_json(call->reply, 200, call_instance(call, job));
}

/* Answer with a page of instances, newest first; the token is the id of the last one given. */
void
sim_call_list(struct sim_call *call)
{
	struct sim_job *job = sim_jobs_newest(call->api->jobs, call->item), *last = NULL;
	json_t *body = json_object(), *value = json_array();
	const struct sim_options *o = call->api->options;

	if (call->token.p != NULL) {
		last = sim_jobs_find(call->api->jobs, call->item, call->token);
		job = last != NULL ? last->older : NULL;
	}
	for (int64_t i = 0; i < o->page && job != NULL; i++, last = job, job = job->older)
		check(json_array_append_new(value, call_instance(call, job)) == 0);
	check(json_object_set_new(body, "value", value) == 0);
	if (job != NULL && last != NULL) {
		struct str uri = arena_printf(call->arena, "%s%.*s/instances?continuationToken=%s", o->origin,
		    STR_ARG(call->base), last->id);

		check(json_object_set_new(body, "continuationToken", json_string(last->id)) == 0);
		check(json_object_set_new(body, "continuationUri", json_string(uri.p)) == 0);
	}
	sim_reply_json(call->reply, 200, body);
}

/* Cancel an instance. */
void
sim_call_cancel(struct sim_call *call)
{
	struct sim_job *job = call_find(call);

	if (job == NULL)
		return;
	if (sim_job_is_ended(job, call->now)) {
		sim_reply_error(call->reply, 400, "JobAlreadyCompleted", "The job instance has ended already", false);
		return;
	}
	sim_job_cancel(job, call->now);
	call_accepted(call, arena_printf(call->arena, "instances/%s", job->id).p, job->id);
}
