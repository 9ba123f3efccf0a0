/* The admin listener: health, metrics and status. */
#include "gate/admin_private.h"

#include <stdlib.h>

#include "base/check.h"
#include "io/tls.h"
#include "rules/uuid.h"

/* Scrapers and probes are few. */
#define ADMIN_CONNECTIONS 256
#define ADMIN_HEAD_BYTES 16384
#define ADMIN_TARGET_BYTES 2048
/* What is asked in a body is a few words. */
#define ADMIN_BODY_BYTES 65536
#define ADMIN_TIMEOUT_US (10 * (int64_t)CLOCK_SECOND)
#define ADMIN_IDLE_US (180 * (int64_t)CLOCK_SECOND)

/* The path of a target, without its query. */
static struct str
admin_path(struct str target)
{
	return str_sub(target, 0, str_find_char(target, '?'));
}

/* Answer readyz with its reasons. */
static void
admin_readyz(struct admin *admin, struct admin_answer *answer)
{
	struct buf reasons = BUF_EMPTY;

	answer->status = admin->hooks.readiness(admin->arg, &reasons);
	answer->content_type = STR("application/json");
	buf_printf(&answer->body, "{\"status\":\"%s\",\"reasons\":[%.*s]}\n",
	    answer->status != 200 ? "unavailable" : reasons.n ? "degraded" : "ok", STR_ARG(buf_str(&reasons)));
	buf_fini(&reasons);
}

/* Answer with metrics, in the format that the scraper can read. */
static void
admin_metrics(struct admin *admin, const struct http1_head *head, struct admin_answer *answer)
{
	const struct http1_field *accept = http1_find(head, STR("Accept"));
	bool classic = accept && str_find(accept->value, STR("openmetrics")) == accept->value.n
	    && str_find(accept->value, STR("text/plain")) < accept->value.n;
	struct metrics_source source;

	answer->status = 503;
	if (!admin->hooks.metrics(admin->arg, &source)) {
		answer->refusal = REFUSAL_UNAVAILABLE;
		answer->message = STR("The instance is starting.");
		return;
	}
	answer->status = 200;
	answer->content_type = classic ? STR("text/plain; version=0.0.4; charset=utf-8")
				       : STR("application/openmetrics-text; version=1.0.0; charset=utf-8");
	metrics_write(&answer->body, &source, !classic);
}

/* Decide what is answered; false where the answer comes later. */
static bool
admin_decide(struct admin *admin, const struct http1_head *head, struct admin_answer *answer)
{
	struct str path = admin_path(head->target);
	bool status = str_eq(path, STR("/status")), known = status || str_eq(path, STR("/healthz"))
	    || str_eq(path, STR("/readyz")) || str_eq(path, STR("/metrics"));

	if (!known) {
		answer->refusal = REFUSAL_NO_ROUTE;
		answer->message = STR("There is /healthz, /readyz, /metrics and /status.");
	} else if (!str_eq(head->method, STR("GET")) && !str_eq(head->method, STR("HEAD"))) {
		answer->refusal = REFUSAL_BAD_METHOD;
		answer->message = STR("Only GET and HEAD are known here.");
		answer->extra_name = STR("Allow");
		answer->extra_value = STR("GET, HEAD");
	} else if (status) {
		return false;
	} else if (str_eq(path, STR("/readyz"))) {
		admin_readyz(admin, answer);
	} else if (str_eq(path, STR("/metrics"))) {
		admin_metrics(admin, head, answer);
	} else {
		answer->status = 200;
		answer->content_type = STR("application/json");
		buf_add(&answer->body, STR("{\"status\":\"ok\"}\n"));
	}
	return true;
}

void
admin_reply(struct front_request *client, struct admin_answer *answer)
{
	struct http1_field fields[6];
	char id[UUID_BYTES];
	uint8_t random[10];
	size_t n = 0;
	struct front_reply reply;

	random_bytes(random, sizeof(random));
	uuid_v7(clock_now_wall(), random, id);
	if (answer->refusal != REFUSAL_NONE) {
		answer->status = refusal_status(answer->refusal);
		answer->content_type = STR("application/json");
		reply_error_body(&answer->body, answer->refusal, (struct str){ id, sizeof(id) }, answer->message, NULL, 0);
		fields[n++] = (struct http1_field){ STR("x-ms-public-api-error-code"), refusal_code(answer->refusal) };
	}
	fields[n++] = (struct http1_field){ STR("Content-Type"), answer->content_type };
	fields[n++] = (struct http1_field){ STR("X-Request-Id"), { id, sizeof(id) } };
	fields[n++] = (struct http1_field){ STR("Cache-Control"), STR("no-store") };
	if (answer->extra_name.n)
		fields[n++] = (struct http1_field){ answer->extra_name, answer->extra_value };
	reply = (struct front_reply){ answer->status, reply_reason(answer->status), fields, n, buf_str(&answer->body),
		answer->close };
	front_reply(client, &reply);
	buf_fini(&answer->body);
}

/* A head is there; what follows it changes nothing. */
static void
on_request(void *arg, struct front_request *client)
{
	struct admin_answer answer = { .status = 500 };

	if (!admin_admits(arg, client, &answer) || admin_decide(arg, front_head(client), &answer))
		admin_reply(client, &answer);
	else
		admin_status_wait(arg, client);
}

/* Only of who waits for the status: all others were answered at their heads. */
static void
on_body(void *arg, struct front_request *client)
{
	(void)arg;
	check(front_owner(client) != NULL);
}

/* Malformed, slow or too many. */
static void
on_fault(void *arg, struct front_request *client, enum front_fault fault)
{
	struct admin_answer answer = { .close = true };

	(void)arg;
	admin_status_forget(client);
	answer.refusal = fault == FRONT_FAULT_TIMEOUT ? REFUSAL_TIMEOUT
	    : fault == FRONT_FAULT_OVERLOAD	      ? REFUSAL_UNAVAILABLE
						      : refusal_from_http1(front_http1_fault(client));
	answer.message = fault == FRONT_FAULT_SYNTAX ? str_from(http1_fault_text(front_http1_fault(client)))
						     : STR("Too slow, or too many connections.");
	admin_reply(client, &answer);
}

/* It waits for nothing any more. */
static void
on_gone(void *arg, struct front_request *client)
{
	(void)arg;
	admin_status_forget(client);
}

/* Nothing is kept for an answer. */
static void
on_sent(void *arg, struct front_request *client, bool delivered)
{
	(void)arg;
	(void)client;
	(void)delivered;
}

struct admin *
admin_new(struct loop *loop, int fd, const struct admin_hooks *hooks, void *arg)
{
	struct front_settings settings = {
		.limits = { ADMIN_CONNECTIONS, ADMIN_HEAD_BYTES, ADMIN_TARGET_BYTES, ADMIN_BODY_BYTES, ADMIN_TIMEOUT_US, ADMIN_TIMEOUT_US,
		    ADMIN_IDLE_US, ADMIN_TIMEOUT_US },
		.hooks = { on_request, on_body, on_fault, on_gone, on_sent },
	};
	struct admin *admin = calloc(1, sizeof(*admin));

	check(admin != NULL);
	admin->loop = loop;
	admin->hooks = *hooks;
	admin->arg = arg;
	LIST_INIT(&admin->waiting);
	settings.arg = admin;
	admin->front = front_new(loop, &settings);
	front_listen(admin->front, fd, NULL);
	return admin;
}

void
admin_free(struct admin **admin)
{
	if (*admin == NULL)
		return;
	front_free(&(*admin)->front);
	check(LIST_EMPTY(&(*admin)->waiting));	/* each was told that its client is gone */
	buf_fini(&(*admin)->instance);
	free(*admin);
	*admin = NULL;
}
