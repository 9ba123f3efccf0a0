/* A request's life: the object, its states and the one mover. The chart stands in request.h. */
#include "gate/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gate/settings.h"
#include "gate/steps.h"
#include "gate/worker.h"
#include "rules/uuid.h"

#define TO(state) (1u << (state))

static const struct {
	const char *name;
	void (*step)(struct request *request);
	unsigned next;		/* states that may follow */
} states[REQUEST_STATE_COUNT] = {
	[REQUEST_HEAD] = { "head", step_head, TO(REQUEST_BODY) | TO(REQUEST_RECORDING) },
	[REQUEST_BODY] = { "body", step_body, TO(REQUEST_POLLING) | TO(REQUEST_CLAIMING) | TO(REQUEST_RECORDING) },
	[REQUEST_POLLING] = { "polling", step_polling, TO(REQUEST_WAITING) | TO(REQUEST_RECORDING) },
	[REQUEST_CLAIMING] = { "claiming", step_claiming, TO(REQUEST_WAITING) | TO(REQUEST_RECORDING) },
	[REQUEST_WAITING] = { "waiting", step_waiting, TO(REQUEST_NEXT) | TO(REQUEST_POLLING) | TO(REQUEST_RECORDING) },
	[REQUEST_NEXT] = { "next", step_next, TO(REQUEST_READY) | TO(REQUEST_POLLING) | TO(REQUEST_RECORDING) },
	[REQUEST_READY] = { "ready", step_ready, TO(REQUEST_FORWARDING) | TO(REQUEST_WAITING) | TO(REQUEST_CLAIMING)
		| TO(REQUEST_POLLING) | TO(REQUEST_RECORDING) },
	[REQUEST_FORWARDING] = { "forwarding", step_forwarding, TO(REQUEST_READY) | TO(REQUEST_WAITING) | TO(REQUEST_POLLING)
		| TO(REQUEST_RECORDING) },
	[REQUEST_RECORDING] = { "recording", step_recording, TO(REQUEST_DONE) },
	[REQUEST_DONE] = { "done", NULL, 0 },
};

/* The deadline of the present state has passed. */
static void
on_timer(void *arg)
{
	struct request *request = arg;

	check_magic(request, REQUEST_MAGIC);
	request->timer_due = true;
	request_make_ready(request);
}

/* A request under CONFIG that is nobody's yet. */
static struct request *
request_make(struct worker *worker, struct config *config)
{
	struct request *request = spares_take(&worker->request_memory);
	uint8_t random[REQUEST_RANDOM_BYTES];

	memset(request, 0, sizeof(*request));
	request->magic = REQUEST_MAGIC;
	request->worker = worker;
	request->config = config_ref(config);
	request->arrived = request->wait_began = request->wait_ended = loop_now(worker->loop);
	request->body_bytes = -1;
	request->route.operation = OPERATION_NONE;
	request->draining = worker->draining;
	arena_init_from(&request->arena, &worker->arena_memory);
	worker_random(worker, random);
	uuid_v7(clock_now_wall(), random, request->id);
	loop_timer_init(&request->timer, worker->loop, on_timer, request);
	worker_add(worker, request);
	return request;
}

struct request *
request_new(struct worker *worker, struct front_request *client)
{
	struct request *request = request_make(worker, worker->config);

	request->client = client;
	front_set_owner(client, request);
	address_client(request);
	return request;
}

struct request *
request_new_errand(struct worker *worker, const struct request_errand *errand)
{
	struct request *request = request_make(worker, errand->config);
	struct arena *arena = &request->arena;

	request->state = REQUEST_WAITING;
	request->method = STR("GET");
	request->caller = errand->caller;
	request->principal = arena_copy(arena, errand->principal);
	request->route = errand->route;
	request->route.workspace = arena_copy(arena, errand->route.workspace);
	request->route.item = arena_copy(arena, errand->route.item);
	request->route.upstream_target = arena_copy(arena, errand->route.upstream_target);
	request->prefer_wait_s = -1;
	request->wait_max_us = errand->wait_us;
	request->on_errand = errand->on_done;
	request->errand_arg = errand->arg;
	forward_head_errand(request, errand->authorization);
	request_make_ready(request);
	return request;
}

/* Free a request that is done: nothing of it is pending anywhere. */
static void
request_free(struct request *request)
{
	check(request->client == NULL && request->call == NULL);
	check(request->intent_put == request->intent_done && request->outcome_put == request->outcome_done);
	worker_remove(request->worker, request);
	loop_timer_fini(&request->timer);
	buf_fini(&request->body);
	buf_fini(&request->answer.body);
	if (request->poll.event)
		poll_answer_unref(&request->poll.event->answer);
	poll_answer_unref(&request->poll.result);
	buf_fini(&request->claim_event.answer);
	buf_fini(&request->lost_found.answer);
	arena_wipe(&request->arena);	/* the caller's token is in it */
	config_unref(&request->config);
	request->magic = 0;
	spares_give(&request->worker->request_memory, request);
}

void
request_run(struct request *request)
{
	enum request_state before;

	check_magic(request, REQUEST_MAGIC);
	do {
		before = request->state;
		states[before].step(request);
	} while (request->state != before && request->state != REQUEST_DONE);
	if (request->state == REQUEST_DONE)
		request_free(request);
}

void
request_make_ready(struct request *request)
{
	worker_make_ready(request->worker, request);
}

void
request_goto(struct request *request, enum request_state state)
{
	check(states[request->state].next & TO(state));
	loop_timer_clear(&request->timer);
	request->timer_due = false;
	request->state = state;
}

const char *
request_state_name(enum request_state state)
{
	return states[state].name;
}

void
request_refuse(struct request *request, enum refusal refusal, const char *format, ...)
{
	char text[512];
	va_list args;

	if (request->refusal != REFUSAL_NONE)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	request_refuse_with(request, refusal, str_from(text));
}

void
request_refuse_with(struct request *request, enum refusal refusal, struct str message)
{
	if (request->refusal != REFUSAL_NONE)
		return;
	request->refusal = refusal;
	request->message = arena_copy(&request->arena, message);
}

void
request_add_detail(struct request *request, struct str code, struct str message)
{
	if (request->detail_count == REQUEST_DETAILS_MAX)
		return;
	if (request->details == NULL)
		request->details = arena_alloc(&request->arena, REQUEST_DETAILS_MAX * sizeof(*request->details));
	request->details[request->detail_count].code = arena_copy(&request->arena, code);
	request->details[request->detail_count++].message = arena_copy(&request->arena, message);
}

void
request_set_deadline(struct request *request, struct mono_time due)
{
	request->timer_due = false;
	loop_timer_at(&request->timer, due);
}

bool
request_put_record(struct request *request, enum journal_kind kind, struct str members,
    void (*on_done)(struct journal_entry *entry, bool ok))
{
	check(kind == JOURNAL_INTENT || request->intent_put == request->intent_done);
	request->entry = (struct journal_entry){
		.kind = kind,
		.lent = arena_copy(&request->arena, members),
		.time = clock_now_wall(),
		.loop = request->worker->loop,
		.on_done = on_done,
		.arg = request,
	};
	return worker_record(request->worker, &request->entry);
}

struct str
request_id(const struct request *request)
{
	return (struct str){ request->id, sizeof(request->id) };
}

void
request_digest_body(struct request *request)
{
	struct str body = buf_str(&request->body);

	if (request->body_digested || request->body_bytes < 0)
		return;
	digest_sha256(body, request->body_digest);
	settings_body_digest(request->config, body, request->body_digest, request->body_sha256);
	request->body_digested = true;
}

struct record_request
request_record(struct request *request)
{
	const struct config_caller *caller = request->caller;
	const struct str none = { NULL, 0 };

	request_digest_body(request);
	return (struct record_request){
		.request_id = request_id(request),
		.client_request_id = request->client_request_id,
		.caller = caller ? caller->name : none,
		.key = caller ? request->credential : none,
		.identity = caller ? request->config->identities[caller->identity].name : none,
		.peer = request->peer,
		.operation = request->route.operation,
		.workspace = request->route.workspace,
		.item = request->route.item,
		.job_type = request->route.job_type,
		.legacy = request->route.legacy,
		.body_bytes = request->body_bytes,
		.body_sha256 = request->body_bytes < 0 ? none : (struct str){ request->body_sha256, sizeof(request->body_sha256) },
	};
}
