/* What crosses the gate: the head that goes upstream, and what comes back. */
#include "gate/steps.h"

#include "gate/worker.h"
#include "rules/header.h"
#include "rules/jobbody.h"
#include "rules/location.h"
#include "rules/proxy.h"

/* Most heads that go upstream fit: memory is taken once. */
#define FORWARD_HEAD_BYTES 1024

/* Whether the answers of this request's caller have their Locations rewritten. */
static bool
forward_rewrites(const struct request *request)
{
	return request->caller->location == CONFIG_LOCATION_REWRITE;
}

/* A list whose continuationUri must be rewritten has to come without content coding. */
static bool
forward_rewrites_list(const struct request *request)
{
	enum operation op = request->route.operation;

	return forward_rewrites(request) && (op == OPERATION_LIST || op == OPERATION_SCHEDULE_LIST);
}

/* Append a field line. */
static void
forward_add(struct buf *out, struct str name, struct str value)
{
	buf_add(out, name);
	buf_add(out, STR(": "));
	buf_add(out, value);
	buf_add(out, STR("\r\n"));
}

/* Whether the answer is asked for without content coding: so that it can be rewritten, or its state read. */
static bool
forward_asks_plain(const struct request *request)
{
	return forward_rewrites_list(request)
	    || (request->poll.phase == POLL_NEW && request->route.operation == OPERATION_GET);
}

/* Append the caller's fields that go upstream, as they stand; and to SELECTING those that a poll's answer depends on. */
static void
forward_add_callers(struct buf *out, struct buf *selecting, const struct request *request, const struct http1_head *head)
{
	bool plain = forward_asks_plain(request);

	for (size_t i = 0; i < head->field_count; i++) {
		const struct http1_field *field = &head->fields[i];

		if (!header_goes_upstream(head, field) || str_eq_nocase(field->name, STR("Via")))
			continue;
		if (plain && str_eq_nocase(field->name, STR("Accept-Encoding")))
			continue;
		if ((authorize_is_ours(request) || request->key_in_authorization) && str_eq_nocase(field->name, STR("Authorization")))
			continue;
		forward_add(out, field->name, field->value);
		if (poll_selects(field))
			forward_add(selecting, field->name, field->value);
	}
	if (plain) {
		forward_add(out, STR("Accept-Encoding"), STR("identity"));
		forward_add(selecting, STR("Accept-Encoding"), STR("identity"));
	}
}

/* Append Via: what the caller's proxies said, and us (RFC 9110 7.6.3). */
static void
forward_add_via(struct buf *out, const struct http1_head *head)
{
	buf_add(out, STR("Via: "));
	for (size_t i = 0; i < head->field_count; i++)
		if (str_eq_nocase(head->fields[i].name, STR("Via"))) {
			buf_add(out, head->fields[i].value);
			buf_add(out, STR(", "));
		}
	buf_add(out, head->minor > 0 ? STR("1.1 jobgate\r\n") : STR("1.0 jobgate\r\n"));
}

/* How many bytes of body the request has by its framing, where that is known already. */
static bool
forward_expects_length(const struct http1_head *head)
{
	/* A method that means something to be sent has a length, be it 0 (RFC 9110 8.6); another only with a body. */
	return str_eq(head->method, STR("POST")) || str_eq(head->method, STR("PUT")) || str_eq(head->method, STR("PATCH"))
	    || head->framing == HTTP1_CHUNKED || (head->framing == HTTP1_LENGTH && head->content_length > 0);
}

/* Append the start line and Host. */
static void
forward_add_start(struct buf *out, const struct request *request)
{
	buf_add(out, request->method);
	buf_add_char(out, ' ');
	buf_add(out, request->route.upstream_target);
	buf_add(out, STR(" HTTP/1.1\r\nHost: "));
	proxy_add_private_prefix(request->config, request->route.workspace, out);
	buf_add(out, request->config->upstream.authority);
	buf_add(out, STR("\r\n"));
}

void
forward_head_keep(struct request *request)
{
	const struct http1_head *head = front_head(request->client);
	struct buf out = BUF_EMPTY, selecting = BUF_EMPTY;

	buf_room(&out, FORWARD_HEAD_BYTES);
	forward_add_start(&out, request);
	forward_add_callers(&out, &selecting, request, head);
	forward_add_via(&out, head);
	forward_add(&out, STR("X-Request-Id"), request_id(request));
	request->upstream_head = arena_copy(&request->arena, buf_str(&out));
	request->sends_length = forward_expects_length(head);
	poll_name(request, buf_str(&selecting));
	buf_fini(&out);
	buf_fini(&selecting);
}

void
forward_head_errand(struct request *request, struct str authorization)
{
	struct buf out = BUF_EMPTY;

	buf_room(&out, request->route.upstream_target.n + authorization.n + 1024);	/* growing leaves no copy of a token */
	forward_add_start(&out, request);
	forward_add(&out, STR("Accept"), STR("application/json"));
	forward_add(&out, STR("Accept-Encoding"), STR("identity"));
	forward_add(&out, STR("Via"), STR("1.1 jobgate"));
	forward_add(&out, STR("X-Request-Id"), request_id(request));
	if (authorization.n > 0 && !authorize_is_ours(request))
		forward_add(&out, STR("Authorization"), authorization);
	request->upstream_head = arena_copy(&request->arena, buf_str(&out));
	buf_wipe(&out);
}

struct str
forward_authorization(const struct request *request)
{
	static const struct str name = STR_INIT("Authorization: ");
	struct str rest = request->upstream_head, line;

	while (str_next(&rest, '\n', &line))
		if (str_starts_nocase(line, name))
			return str_trim(str_sub(line, name.n, line.n - 1));	/* without its CR */
	return (struct str){ NULL, 0 };
}

void
forward_message(struct request *request)
{
	struct str authorization = authorize_value(request);
	struct buf *out;

	if (request->upstream_head.p == NULL)
		forward_head_keep(request);
	out = upstream_message(request->call, request->upstream_head.n + authorization.n + 64 + request->body.n);
	buf_add(out, request->upstream_head);
	if (authorization.n > 0)
		forward_add(out, STR("Authorization"), authorization);
	if (request->sends_length) {
		buf_add(out, STR("Content-Length: "));
		buf_add_int(out, (int64_t)request->body.n);
		buf_add(out, STR("\r\n"));
	}
	buf_add(out, STR("\r\n"));
	buf_add(out, buf_str(&request->body));	/* stays: as long as nothing was written it may be sent on another connection */
}

/* The origin that this request is sent to: the workspace's own under private_link. */
static struct str
forward_origin(struct request *request)
{
	const struct config *config = request->config;
	struct buf prefix = BUF_EMPTY;
	struct str origin = config->upstream.origin;

	proxy_add_private_prefix(config, request->route.workspace, &prefix);
	if (prefix.n > 0)
		origin = arena_printf(&request->arena, "https://%.*s%.*s", STR_ARG(buf_str(&prefix)), STR_ARG(config->upstream.authority));
	buf_fini(&prefix);
	return origin;
}

/* VALUE as REWRITE makes it, by the upstream's general origin or by that which this request was sent to. */
static struct str
forward_rewrite(struct request *request, struct str value,
    struct str (*rewrite)(struct arena *arena, struct str value, const struct location_rule *rule))
{
	const struct config *config = request->config;
	struct location_rule rule = { config->upstream.origin, config->public_origin, config->public_path };
	struct str out = rewrite(&request->arena, value, &rule);

	if (out.p != value.p || !config->upstream.private_link)
		return out;
	rule.upstream_origin = forward_origin(request);
	return rewrite(&request->arena, value, &rule);
}

struct str
forward_instances_location(struct request *request)
{
	const struct config *config = request->config;

	if (request->route.instances_path.p == NULL)
		return (struct str){ NULL, 0 };
	if (forward_rewrites(request))
		return arena_printf(&request->arena, "%.*s%.*s%.*s", STR_ARG(config->public_origin),
		    STR_ARG(config->public_path), STR_ARG(request->route.instances_path));
	return arena_printf(&request->arena, "%.*s%.*s", STR_ARG(forward_origin(request)),
	    STR_ARG(request->route.instances_path));
}

/* Where a response's fields begin, and where their copy in the arena does. */
struct forward_copy {
	const char *from, *to;
};

/* Copy all fields of HEAD into the arena at once; forward_moved finds a part of them there. */
static struct forward_copy
forward_copy_fields(struct request *request, const struct http1_head *head)
{
	struct str run = { NULL, 0 }, last;

	if (head->field_count > 0) {
		last = head->fields[head->field_count - 1].value;
		run = (struct str){ head->fields[0].name.p, (size_t)(last.p + last.n - head->fields[0].name.p) };
	}
	return (struct forward_copy){ run.p, arena_copy(&request->arena, run).p };
}

/* What S, a part of the fields, is in their copy. */
static struct str
forward_moved(struct forward_copy copy, struct str s)
{
	return (struct str){ copy.to + (s.p - copy.from), s.n };
}

/* Keep one field of the response, already in the arena, for the caller. */
static void
forward_take_field(struct request *request, struct http1_field field)
{
	struct http1_field *kept = &request->answer.fields[request->answer.field_count++];

	*kept = field;
	if (!str_eq_nocase(field.name, STR("Location")))
		return;
	request->location = kept->value;
	if (forward_rewrites(request))
		kept->value = forward_rewrite(request, kept->value, location_rewrite);
}

/* The value of a response's field, in the arena; p NULL where there is none. */
static struct str
forward_value(struct forward_copy copy, const struct http1_head *head, struct str name)
{
	const struct http1_field *field = http1_find(head, name);

	return field ? forward_moved(copy, field->value) : (struct str){ NULL, 0 };
}

/* Keep the body, a list's continuationUri rewritten where the caller's Locations are. */
static void
forward_take_body(struct request *request, const struct upstream_response *response)
{
	struct str body = response->body;

	if (forward_rewrites_list(request) && response->head->status == 200)
		body = forward_rewrite(request, body, location_rewrite_list);
	buf_add(&request->answer.body, body);
}

/* Read what an error says of itself: the header repeats errorCode, the body may say that it is retriable. */
static void
forward_take_error(struct request *request, const struct upstream_response *response, struct forward_copy copy)
{
	struct jobbody_error error = jobbody_read_error(&request->arena, response->body);

	request->upstream_retriable = error.is_retriable;
	request->upstream_error_code = forward_value(copy, response->head, STR("x-ms-public-api-error-code"));
	if (request->upstream_error_code.p == NULL)
		request->upstream_error_code = error.error_code;
}

/* Whether FIELD challenges for a token that is ours to have: of no use to the caller. */
static bool
forward_is_challenge(const struct request *request, const struct http1_field *field)
{
	return authorize_is_ours(request) && str_eq_nocase(field->name, STR("WWW-Authenticate"));
}

/* Whether FIELD repeats Date: an answer has one (contract, "Requests"). */
static bool
forward_is_second_date(const struct http1_head *head, const struct http1_field *field)
{
	return str_eq_nocase(field->name, STR("Date")) && http1_find(head, STR("Date")) != field;
}

void
forward_answer_take(struct request *request, const struct upstream_response *response)
{
	const struct http1_head *head = response->head;
	struct request_answer *answer = &request->answer;
	struct forward_copy copy = forward_copy_fields(request, head);

	request->upstream_status = answer->status = head->status;
	/* Three more: of HEAD, or what a kept answer says of its time. */
	answer->fields = arena_alloc(&request->arena, (head->field_count + 3) * sizeof(*answer->fields));
	answer->field_count = 0;
	for (size_t i = 0; i < head->field_count; i++)
		if (header_is_relayed(head, &head->fields[i]) && !forward_is_second_date(head, &head->fields[i])
		    && !forward_is_challenge(request, &head->fields[i]))
			forward_take_field(request, (struct http1_field){ forward_moved(copy, head->fields[i].name),
			    forward_moved(copy, head->fields[i].value) });
	if (str_eq(request->method, STR("HEAD")) && http1_count(head, STR("Content-Length")) == 1)
		answer->fields[answer->field_count++] = (struct http1_field){ STR("Content-Length"),
			forward_value(copy, head, STR("Content-Length")) };
	request->upstream_request_id = forward_value(copy, head, STR("RequestId"));
	if (head->status >= 400)
		forward_take_error(request, response, copy);
	else if (operation_is_trigger(request->route.operation))
		request->instance_id = location_instance_id(&request->arena, request->location,
		    forward_value(copy, head, STR("x-ms-job-id")));
	forward_take_body(request, response);
}
