/* Health on the callers' listeners. */
#include "gate/health.h"

#include "gate/worker.h"

/* Fill in an answer of our own. */
static void
health_fill(struct request *request, int status, struct str body)
{
	static struct http1_field fields[] = { { STR_INIT("Content-Type"), STR_INIT("application/json") },
		{ STR_INIT("Cache-Control"), STR_INIT("no-store") } };

	request->is_health = true;
	request->answer.status = status;
	request->answer.fields = fields;
	request->answer.field_count = 2;
	buf_add(&request->answer.body, body);
}

bool
health_answer(struct request *request)
{
	const struct http1_head *head = front_head(request->client);
	struct worker_shared *shared = request->worker->shared;

	if (!str_eq(head->method, STR("GET")) && !str_eq(head->method, STR("HEAD")))
		return false;
	if (str_eq(head->target, STR("/healthz"))) {
		health_fill(request, 200, STR("{\"status\":\"ok\"}"));
		return true;
	}
	if (!str_eq(head->target, STR("/readyz")))
		return false;
	if (shared->is_ready(shared->arg))
		health_fill(request, 200, STR("{\"status\":\"ok\"}"));
	else
		health_fill(request, 503, STR("{\"status\":\"unavailable\"}"));
	return true;
}
