/* Step out: what is recorded, what the caller is answered, what is counted. */
#include "gate/steps.h"

#include <stdio.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/worker.h"
#include "rules/ratelimit.h"

/* The answer waits for its record's write, but no longer than this where the disk hangs. */
#define OUT_RECORD_WAIT_US (2 * (int64_t)CLOCK_SECOND)
/* Fields of an error of our own. */
#define OUT_FIELDS_MAX 16

/* The status that the client gets. */
static int
out_status(const struct request *request)
{
	return request->refusal != REFUSAL_NONE ? refusal_status(request->refusal) : request->answer.status;
}

/* The code that goes with it; p NULL for a relayed success. */
static struct str
out_error_code(const struct request *request)
{
	return request->refusal != REFUSAL_NONE ? refusal_code(request->refusal) : request->upstream_error_code;
}

/* Microseconds spent waiting for a token, and upstream. */
static int64_t
out_wait_us(const struct request *request)
{
	return mono_since(request->wait_ended, request->wait_began);
}

/* Microseconds from sending until now or the answer. */
static int64_t
out_upstream_us(const struct request *request)
{
	if (!request->was_sent)
		return 0;
	if (request->received.us)
		return mono_since(request->received, request->sent);
	return mono_since(request->ended.us ? request->ended : loop_now(request->worker->loop), request->sent);
}

struct out_fields {
	struct http1_field *list;
	size_t count;
};

/* Append a field. */
static void
out_add(struct out_fields *fields, struct str name, struct str value)
{
	fields->list[fields->count++] = (struct http1_field){ name, value };
}

/* Say what became of the caller's wish how long to wait (RFC 7240 3), where it came to waiting. */
static void
out_add_preference(struct request *request, struct out_fields *fields)
{
	if (request->prefer_wait_s < 0 || request->wait_max_us == 0)
		return;
	/* Rounded up: it has not waited longer than that. */
	out_add(fields, STR("Preference-Applied"), arena_printf(&request->arena, "wait=%d",
	    (int)((request->wait_max_us + CLOCK_SECOND - 1) / CLOCK_SECOND)));
}

/* Append US in milliseconds, with one digit behind the point. */
static void
out_put_ms(struct buf *out, int64_t us)
{
	int64_t tenths = us > 0 ? (us + 50) / 100 : 0;

	buf_add_int(out, tenths / 10);
	buf_add_char(out, '.');
	buf_add_int(out, tenths % 10);
}

/* Say how long it waited here, and for the upstream. */
static void
out_add_timing(struct request *request, struct out_fields *fields)
{
	struct buf *text = worker_text(request->worker);

	buf_add(text, STR("wait;dur="));
	out_put_ms(text, out_wait_us(request));
	buf_add(text, STR(", upstream;dur="));
	out_put_ms(text, out_upstream_us(request));
	out_add(fields, STR("Server-Timing"), arena_copy(&request->arena, buf_str(text)));
}

/* The fields that every answer carries. */
static void
out_add_common(struct request *request, struct out_fields *fields)
{
	out_add(fields, STR("X-Request-Id"), request_id(request));
	out_add_timing(request, fields);
	out_add_preference(request, fields);
	if (request->replayed)
		out_add(fields, STR("Idempotency-Replayed"), STR("true"));
}

/* Say when to come again, where that is known. */
static void
out_add_retry_after(struct request *request, struct out_fields *fields)
{
	struct buf *text;

	if (request->retry_after_s <= 0)
		return;
	text = worker_text(request->worker);
	buf_add_int(text, request->retry_after_s);
	out_add(fields, STR("Retry-After"), arena_copy(&request->arena, buf_str(text)));
}

/* Say what the identity's quota is, that nothing is left of it, and for how long. */
static void
out_add_ratelimit(struct request *request, struct out_fields *fields)
{
	const struct config_identity *identity;
	struct buf *text;

	if (refusal_status(request->refusal) != 429 || request->caller == NULL)
		return;
	identity = &request->config->identities[request->caller->identity];
	text = worker_text(request->worker);
	ratelimit_policy(text, identity);
	out_add(fields, STR("RateLimit-Policy"), arena_copy(&request->arena, buf_str(text)));
	buf_clear(text);
	ratelimit_exhausted(text, identity, request->retry_after_s);
	out_add(fields, STR("RateLimit"), arena_copy(&request->arena, buf_str(text)));
}

/* The fields of an error of our own. */
static void
out_add_refusal(struct request *request, struct out_fields *fields)
{
	struct str location = { NULL, 0 }, proxy_status[] = { STR("jobgate; error="), refusal_proxy_error(request->refusal) };

	out_add(fields, STR("Content-Type"), STR("application/json"));
	out_add(fields, STR("X-Content-Type-Options"), STR("nosniff"));	/* its words may repeat the caller's: never a page */
	out_add(fields, STR("RequestId"), request_id(request));
	out_add(fields, STR("x-ms-public-api-error-code"), refusal_code(request->refusal));
	out_add(fields, STR("Proxy-Status"), arena_join(&request->arena, proxy_status, 2));
	out_add_retry_after(request, fields);
	out_add_ratelimit(request, fields);
	if (request->allow)
		out_add(fields, STR("Allow"), str_from(request->allow));
	if (request->refusal == REFUSAL_UNAUTHENTICATED)
		out_add(fields, STR("WWW-Authenticate"), request->token_refused ? STR("Bearer error=\"invalid_token\"") :
		    STR("ApiKey realm=\"jobgate\""));
	if (request->refusal == REFUSAL_OUTCOME_UNKNOWN)
		location = forward_instances_location(request);
	if (location.p)
		out_add(fields, STR("Location"), location);
}

/* Answer with an error of our own. */
static void
out_answer_refusal(struct request *request)
{
	struct http1_field list[OUT_FIELDS_MAX];
	struct out_fields fields = { list, 0 };
	struct front_reply reply;
	struct buf *body;

	out_add_refusal(request, &fields);
	out_add_common(request, &fields);
	body = worker_text(request->worker);
	reply_error_body(body, request->refusal, request_id(request), request->message, request->details,
	    request->detail_count);
	reply = (struct front_reply){ out_status(request), reply_reason(out_status(request)), list, fields.count,
		buf_str(body), request->must_close };
	front_reply(request->client, &reply);
}

/* Relay the upstream's answer (or one of our own health). */
static void
out_answer_relay(struct request *request)
{
	struct request_answer *answer = &request->answer;
	struct out_fields fields = { arena_alloc(&request->arena, (answer->field_count + 6) * sizeof(struct http1_field)), 0 };
	struct front_reply reply;

	for (size_t i = 0; i < answer->field_count; i++)
		out_add(&fields, answer->fields[i].name, answer->fields[i].value);
	out_add_common(request, &fields);
	reply = (struct front_reply){ answer->status, reply_reason(answer->status), fields.list, fields.count,
		buf_str(&answer->body), request->must_close || request->draining };
	front_reply(request->client, &reply);
}

void
step_out_answer(struct request *request)
{
	if (request->client == NULL)
		return;
	request->answered = out_status(request);
	front_set_owner(request->client, lost_delivery(request));
	if (request->refusal != REFUSAL_NONE)
		out_answer_refusal(request);
	else
		out_answer_relay(request);
	request->client = NULL;	/* the front's until it is sent */
}

/* The outcome's record is written, or kept by the journal. */
static void
on_outcome(struct journal_entry *entry, bool ok)
{
	struct request *request = entry->arg;

	(void)ok;	/* the journal announces its own illness; the answer goes out all the same */
	check_magic(request, REQUEST_MAGIC);
	request->outcome_done = true;
	request_make_ready(request);
}

/* What came of an intent that was refused or cancelled before the first byte. */
static enum record_result
out_unsent_result(const struct request *request)
{
	if (request->refusal == REFUSAL_CALLER_GONE)
		return RESULT_CANCELLED;
	if (request->refusal == REFUSAL_UPSTREAM || request->refusal == REFUSAL_UPSTREAM_TIMEOUT)
		return RESULT_FAILED;
	return RESULT_REFUSED;
}

/* Say what has become of a run, for who looks for another one. */
static void
out_tell_runs(struct request *request, const struct record_outcome *outcome)
{
	enum runs_fate fate = RUNS_NOTHING;

	if (request->route.operation != OPERATION_RUN)
		return;
	if (outcome->result == RESULT_UNKNOWN || outcome->result == RESULT_ACCEPTED)
		fate = outcome->instance_id.n > 0 ? RUNS_INSTANCE : RUNS_UNKNOWN;
	runs_ended(request->worker->shared->runs, request_id(request), fate, outcome->instance_id);
}

/* Hand the outcome to the journal. */
static void
out_put_outcome(struct request *request)
{
	struct record_outcome outcome = {
		.result = request->was_sent ? request->result : out_unsent_result(request),
		.status = request->upstream_status,
		.answered = request->answered ? request->answered : request->client ? out_status(request) : 0,
		.error_code = out_error_code(request),
		.location = request->location,
		.instance_id = request->instance_id,
		.upstream_request_id = request->upstream_request_id,
		.attempts = request->attempts,
		.wait_ms = out_wait_us(request) / 1000,
		.duration_ms = mono_since(request->ended, request->arrived) / 1000,
	};
	struct buf *members = worker_text(request->worker);

	stats_add(&request->worker->stats->outcomes[outcome.result], 1);
	out_tell_runs(request, &outcome);
	record_outcome(members, request->entry.lent, &outcome);	/* which are the intent's still */
	request->outcome_put = true;
	check(request_put_record(request, JOURNAL_OUTCOME, buf_str(members), on_outcome));
}

/* Record that the answer is another request's. */
static void
out_put_replay(struct request *request)
{
	struct record_request record = request_record(request);

	audit_replay(request->worker->shared->audit, &record, (struct str){ request->first_id, sizeof(request->first_id) },
	    request->client ? out_status(request) : 0);
}

/* Whether a refusal before any intent is recorded: triggers', and what nobody could tell to be none. */
static bool
out_records_refusal(const struct request *request)
{
	enum operation op = request->route.operation;

	return request->refusal != REFUSAL_NONE
	    && (operation_is_trigger(op) || op == OPERATION_NONE || request->refusal == REFUSAL_UNAUTHENTICATED);
}

/* Record a refusal before any intent. In a flood nearly all are only counted: what a record says of them is not made. */
static void
out_put_refusal(struct request *request)
{
	struct audit *audit = request->worker->shared->audit;
	struct str caller = request->caller ? request->caller->name : (struct str){ NULL, 0 };
	struct record_request record;

	if (!out_records_refusal(request) || audit_count_refusal(audit, caller, request->refusal))
		return;
	record = request_record(request);
	audit_refusal(audit, &record, request->refusal, refusal_status(request->refusal));
}

/* Count what the upstream answered, and how soon. */
static void
out_count_upstream(struct request *request)
{
	struct stats *stats = request->worker->stats;

	if (request->caller && request->upstream_status && request->turned_back == 0)	/* that one was counted when it came */
		stats_add(&stats->upstream[stats_identity_slot(request->caller->identity)][stats_code_slot(request->upstream_status)], 1);
	if (request->was_sent)
		stats_observe(&stats->upstream_duration, out_upstream_us(request));
}

/* Count and log a request at its end. */
static void
out_account(struct request *request)
{
	struct stats *stats = request->worker->stats;
	size_t caller = stats_caller_slot(request->caller);
	enum operation op = request->route.operation;
	int64_t duration = mono_since(request->ended, request->arrived);

	stats_add(&stats->requests[caller][op][stats_code_slot(request->answered)], 1);
	stats_observe(&stats->duration[op], duration);
	if (request->refusal != REFUSAL_NONE)
		stats_add(&stats->refusals[caller][request->refusal], 1);
	if (request->refusal == REFUSAL_UNAUTHENTICATED)
		stats_add(&stats->unauthenticated[request->credential_failure], 1);
	if (request->caller) {
		size_t identity = stats_identity_slot(request->caller->identity);

		if (operation_is_metered(op) && request->poll.how != POLLS_HIT && request->poll.how != POLLS_JOIN)
			stats_observe(&stats->wait[identity], out_wait_us(request));
	}
	out_count_upstream(request);
	if (request->poll.how != POLLS_NONE)
		stats_add(&stats->polls[request->poll.how], 1);
	log_line(request->refusal == REFUSAL_NONE ? LOG_INFO : LOG_WARN, "request",
	    log_s("request_id", request_id(request)), log_s("client_request_id", request->client_request_id),
	    log_s("caller", request->caller ? request->caller->name : STR("unknown")), log_s("peer", request->peer),
	    log_s("credential", request->credential), log_s("reason", credential_failure_name(request->credential_failure)),
	    log_s("suspect", request->suspect ? request->suspect->name : STR("")),
	    log_s("operation", operation_name(op)), log_s("method", request->method),
	    log_s("workspace", request->route.workspace), log_s("item", request->route.item),
	    log_s("job_type", request->route.job_type), log_i("status", request->answered),
	    log_i("upstream_status", request->upstream_status),
	    log_z("cache", polls_how_name(request->poll.how)), log_s("error_code", out_error_code(request)),
	    log_s("message", request->message), log_i("wait_ms", out_wait_us(request) / 1000),
	    log_i("duration_ms", duration / 1000));
}

/* Begin the ending: what was to be recorded is on its way. */
static void
out_begin(struct request *request)
{
	request->ended = loop_now(request->worker->loop);
	if (!request->was_sent && request->intent_put && !request->intent_done)
		return;		/* not known yet whether there is an intent to be closed */
	claim_end(request);
	if (request->replayed)
		out_put_replay(request);
	if (request->intent_ok)
		out_put_outcome(request);
	else if (!request->is_health && !request->replayed)
		out_put_refusal(request);
	poll_end(request);
	request->recorded = true;
}

/* The end of a request whose answer and record are out. */
static void
out_end(struct request *request)
{
	if (request->on_errand) {
		out_count_upstream(request);
		request->on_errand(request->errand_arg, request);
	} else if (!request->is_health) {
		out_account(request);
	}
	if (request->outcome_put && request->was_sent && request->result == RESULT_UNKNOWN)
		resolutions_begin(request->worker->resolutions, request);
	request_goto(request, REQUEST_DONE);
}

/* Whether the answer still waits because there were too many like it; not for who has gone, nor at the end. */
static bool
out_is_slowed(const struct request *request)
{
	return request->slow_until.us != 0 && request->client && !request->draining
	    && mono_since(request->slow_until, loop_now(request->worker->loop)) > 0;
}

void
step_recording(struct request *request)
{
	if (!request->recorded)
		out_begin(request);
	if (request->call)
		upstream_cancel(&request->call);
	if (out_is_slowed(request)) {
		request_set_deadline(request, request->slow_until);
	} else if (request->recorded && request->outcome_put == request->outcome_done) {
		step_out_answer(request);
		lost_end(request);
		out_end(request);
	} else if (request->timer_due) {
		step_out_answer(request);
	} else if (!request->timer.pending && request->client) {
		request_set_deadline(request, mono_add(request->ended, OUT_RECORD_WAIT_US));
	}
}
