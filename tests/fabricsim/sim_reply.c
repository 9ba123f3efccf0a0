/* Answers of the simulated Fabric and their bytes. */
#include "sim_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Begin an answer with an id of its own. */
void
sim_reply_init(struct sim_reply *r, uint64_t *random)
{
	memset(r, 0, sizeof(*r));
	sim_random_uuid(random, r->request_id);
}

/* Take all back but the id: what was executed is known by it whatever is answered. */
void
sim_reply_restart(struct sim_reply *r)
{
	buf_clear(&r->fields);
	buf_clear(&r->body);
	r->status = 0;
}

/* Free an answer's memory. */
void
sim_reply_fini(struct sim_reply *r)
{
	buf_fini(&r->fields);
	buf_fini(&r->body);
}

/* Add a field. */
void
sim_reply_field(struct sim_reply *r, const char *name, const char *value)
{
	buf_printf(&r->fields, "%s: %s\r\n", name, value);
}

/* Answer with JSON. */
void
sim_reply_json(struct sim_reply *r, int status, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);
	char length[24];

	check(text != NULL);
	json_decref(body);
	r->status = status;
	buf_clear(&r->body);
	buf_add_z(&r->body, text);
	free(text);
	(void)snprintf(length, sizeof(length), "%zu", r->body.n);
	sim_reply_field(r, "Content-Type", "application/json; charset=utf-8");
	sim_reply_field(r, "RequestId", r->request_id);
	sim_reply_field(r, "Content-Length", length);
	sim_reply_field(r, "Access-Control-Expose-Headers", "RequestId,Location,Retry-After");
}

/* Answer with an error. */
void
sim_reply_error(struct sim_reply *r, int status, const char *code, const char *message, bool retriable)
{
	json_t *body = json_pack("{s:s, s:s, s:s, s:b}", "requestId", r->request_id, "errorCode", code, "message",
	    message, "isRetriable", (int)retriable);

	check(body != NULL);
	sim_reply_field(r, "x-ms-public-api-error-code", code);
	sim_reply_json(r, status, body);
}

/* Answer that the quota is used up. */
void
sim_reply_blocked(struct sim_reply *r, int64_t wait_us, struct wall_time now)
{
	int64_t seconds = (wait_us + CLOCK_SECOND - 1) / CLOCK_SECOND;
	struct civil_time t = clock_civil((struct wall_time){ now.us + seconds * CLOCK_SECOND });
	char retry[24], message[160];

	(void)snprintf(retry, sizeof(retry), "%lld", (long long)seconds);
	(void)snprintf(message, sizeof(message),
	    "Request is blocked by the upstream service until: %d/%d/%d %d:%02d:%02d %s (UTC)", t.month, t.day, t.year,
	    t.hour % 12 == 0 ? 12 : t.hour % 12, t.minute, t.second, t.hour < 12 ? "AM" : "PM");
	sim_reply_field(r, "Retry-After", retry);
	sim_reply_error(r, 429, "RequestBlocked", message, true);
}

/* Answer with a status that a test asked for. */
void
sim_reply_fault(struct sim_reply *r, int status, int64_t retry_after, struct wall_time now)
{
	char seconds[24];

	if (status == 429) {
		sim_reply_blocked(r, retry_after * CLOCK_SECOND, now);
		return;
	}
	if (status == 401)
		sim_reply_field(r, "WWW-Authenticate",
		    "Bearer realm=\"\", error=\"invalid_token\", error_description=\"The token has expired\"");
	if (status == 503) {
		(void)snprintf(seconds, sizeof(seconds), "%lld", (long long)retry_after);
		sim_reply_field(r, "Retry-After", seconds);
	}
	sim_reply_error(r, status, status == 401 ? "TokenExpired" : status < 500 ? "InvalidRequest" : "InternalError",
	    "A fault that was asked of the simulator", status == 503);
}

/* Name a status. */
static const char *
reply_reason(int status)
{
	switch (status) {
	case 200: return "OK";
	case 201: return "Created";
	case 202: return "Accepted";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 429: return "Too Many Requests";
	case 500: return "Internal Server Error";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	default: return "Error";
	}
}

/* Write an answer out. */
void
sim_reply_write(const struct sim_reply *r, struct wall_time now, bool head_only, struct buf *out)
{
	char date[CLOCK_HTTP_BYTES];

	clock_format_http(now, date);
	buf_printf(out, "HTTP/1.1 %d %s\r\n", r->status, reply_reason(r->status));
	buf_add(out, buf_str(&r->fields));
	buf_printf(out, "Date: %s\r\n\r\n", date);
	if (!head_only)
		buf_add(out, buf_str(&r->body));
}
