/* How the instance stands, as one JSON object for people: itself, and what its limiter says. */
#include "base/jsonw.h"
#include "gate/instance_private.h"

/* What it is and since when. */
static void
status_self(const struct instance *instance, struct jsonw *w)
{
	char time[CLOCK_RFC3339_BYTES];

	clock_format_rfc3339(clock_now_wall(), time);
	jsonw_string(w, "program", STR("jobgate"));
	jsonw_string(w, "version", STR(JOBGATE_VERSION));
	jsonw_string(w, "instance", buf_str(&instance->name));
	jsonw_string(w, "member", journal_uuid(instance->journal));
	jsonw_string(w, "time", str_from(time));
	jsonw_int(w, "uptime_ms", mono_since(loop_now(instance->loop), instance->started) / CLOCK_MS);
	jsonw_string(w, "phase", atomic_load(&instance->draining) ? STR("draining")
		: atomic_load(&instance->open) ? STR("serving") : STR("starting"));
}

/* What readiness knows. */
static void
status_health(struct instance *instance, struct jsonw *w)
{
	struct buf reasons = BUF_EMPTY;
	int status = instance_readiness(instance, &reasons);

	jsonw_string(w, "status", status != 200 ? STR("unavailable") : reasons.n ? STR("degraded") : STR("ok"));
	jsonw_array(w, "reasons");
	if (reasons.n)
		jsonw_raw(w, NULL, buf_str(&reasons));
	jsonw_end_array(w);
	jsonw_object(w, "journal");
	jsonw_bool(w, "up", journal_is_up(instance->journal));
	jsonw_end_object(w);
	jsonw_object(w, "upstream");
	jsonw_string(w, "url", instance->config->upstream.url);
	jsonw_bool(w, "up", !condition_is_ill(&instance->upstream));
	jsonw_end_object(w);
	buf_fini(&reasons);
}

/* The limiter's part has come; on main's loop. */
static void
on_limiter_status(void *arg, struct buf *json)
{
	struct instance *instance = arg;
	struct buf out = BUF_EMPTY;
	struct jsonw w = { &out, false };

	jsonw_object(&w, NULL);
	status_self(instance, &w);
	status_health(instance, &w);
	jsonw_raw(&w, "limiter", buf_str(json));
	jsonw_end_object(&w);
	buf_add_char(&out, '\n');
	admin_tell_status(instance->admin, buf_str(&out));
	buf_fini(&out);
}

void
instance_ask_status(void *arg)
{
	struct instance *instance = arg;

	limiter_status(instance->limiter, instance->loop, on_limiter_status, instance);
}
