/*
 * One exchange over an upstream client of its own.
 *
 *   fetch_start ─► borrowed ─► sent ─► on_done ─► fetch_cancel: freed, inside on_done at the end of the turn
 *
 * What cannot even begin (a malformed URL, a CA file that is not there) is told at the end of the turn like any other failure.
 */
#include "io/fetch.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "io/proxy.h"
#include "io/tls.h"
#include "io/upstream.h"
#include "io/url.h"

#define FETCH_MAGIC 0x66657463
/* The answer of a token endpoint or key set has a small head. */
#define FETCH_HEAD_BYTES 32768

struct fetch {
	uint32_t magic;
	struct loop *loop;
	struct tls_client *tls;		/* owned; NULL for http */
	struct upstream *upstream;	/* owned; NULL where it could not begin */
	struct upstream_call *call;
	char method[16];
	struct buf message;		/* to be sent */
	struct mono_time deadline;
	struct loop_hook end;		/* tells that it could not begin, or frees what was cancelled in on_done */
	struct buf error;		/* why it could not begin */
	bool told, telling, cancelled;
	void (*on_done)(void *arg, const struct fetch_result *result);
	void *arg;
};

/* Tell how it ended, once. */
static void
fetch_tell(struct fetch *fetch, const struct fetch_result *result)
{
	check(!fetch->told);
	fetch->told = fetch->telling = true;
	fetch->on_done(fetch->arg, result);
	fetch->telling = false;
}

static void
on_fetch_ready(void *arg)
{
	struct fetch *fetch = arg;

	check_magic(fetch, FETCH_MAGIC);
	buf_add(upstream_message(fetch->call, fetch->message.n), buf_str(&fetch->message));
	upstream_send(fetch->call, str_from(fetch->method), fetch->deadline, fetch->deadline);
	buf_wipe(&fetch->message);
}

static void
on_fetch_response(void *arg, const struct upstream_response *response)
{
	struct fetch *fetch = arg;
	struct fetch_result result = { response->head->status, response->head, response->body, NULL };

	check_magic(fetch, FETCH_MAGIC);
	fetch_tell(fetch, &result);
}

static void
on_fetch_failed(void *arg, const struct upstream_failure *failure)
{
	struct fetch *fetch = arg;
	struct fetch_result result = { .status = 0 };

	check_magic(fetch, FETCH_MAGIC);
	buf_printf(&fetch->error, "%s: %s", upstream_phase_name(failure->phase), failure->detail);
	buf_add_char(&fetch->error, '\0');
	result.error = fetch->error.p;
	fetch_tell(fetch, &result);
}

/* Give everything back. */
static void
fetch_free(struct fetch *fetch)
{
	upstream_free(&fetch->upstream);
	tls_client_free(&fetch->tls);
	loop_unhook(fetch->loop, &fetch->end);
	buf_wipe(&fetch->message);
	buf_fini(&fetch->error);
	fetch->magic = 0;
	free(fetch);
}

/* The end of the turn: tell that it could not begin, or free what was cancelled. */
static void
on_fetch_end(void *arg)
{
	struct fetch *fetch = arg;
	struct fetch_result result = { .status = 0 };

	check_magic(fetch, FETCH_MAGIC);
	if (fetch->cancelled) {
		fetch_free(fetch);
		return;
	}
	buf_add_char(&fetch->error, '\0');
	result.error = fetch->error.p;
	fetch_tell(fetch, &result);
}

/* What is to be sent; room is made once, so that growing leaves no copy of a credential. */
static void
fetch_make_message(struct fetch *fetch, const struct fetch_request *request, const struct url *url)
{
	size_t room = request->method.n + url->target.n + url->authority.n + request->body.n + 256;

	for (size_t i = 0; i < request->field_count; i++)
		room += request->fields[i].name.n + request->fields[i].value.n + 8;
	buf_room(&fetch->message, room);
	buf_printf(&fetch->message, "%.*s %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: jobgate/" JOBGATE_VERSION "\r\nConnection: close\r\n",
	    STR_ARG(request->method), STR_ARG(url->target), STR_ARG(url->authority));
	for (size_t i = 0; i < request->field_count; i++)
		buf_printf(&fetch->message, "%.*s: %.*s\r\n", STR_ARG(request->fields[i].name), STR_ARG(request->fields[i].value));
	if (request->body.n > 0 || str_eq(request->method, STR("POST")))
		buf_printf(&fetch->message, "Content-Length: %zu\r\n", request->body.n);
	buf_add_z(&fetch->message, "\r\n");
	buf_add(&fetch->message, request->body);
}

/* The TLS side of an https URL; false with a sentence in FETCH->error. */
static bool
fetch_make_tls(struct fetch *fetch, const struct fetch_request *request, const struct url *url)
{
	char *ca_file = strndup(request->ca_file.n ? request->ca_file.p : "", request->ca_file.n);
	char *name = strndup(url->host.p, url->host.n);

	check(ca_file != NULL && name != NULL);
	if (request->trust)
		fetch->tls = tls_client_like(request->trust, name, &fetch->error);
	else
		fetch->tls = tls_client_new(ca_file, name, &fetch->error);
	free(ca_file);
	free(name);
	return fetch->tls != NULL;
}

/* Make what is to be sent and begin; false with a sentence in FETCH->error. */
static bool
fetch_begin(struct fetch *fetch, struct resolver *resolver, const struct fetch_request *request)
{
	static const struct upstream_hooks hooks = { on_fetch_ready, on_fetch_response, on_fetch_failed };
	struct buf authorization = BUF_EMPTY;
	struct upstream_settings settings = { .connect_timeout_us = request->timeout_us, .idle_timeout_us = CLOCK_SECOND,
		.response_head_bytes = FETCH_HEAD_BYTES, .response_body_bytes = request->body_bytes_max };
	struct url url;
	const char *why = url_split(request->url, &url);

	if (why == NULL && url.userinfo.p != NULL)
		why = "the URL has a user in it";
	if (why == NULL)
		why = proxy_from_url(url.tls ? request->proxy : (struct str){ NULL, 0 }, &settings.proxy, &authorization);
	if (why != NULL)
		buf_add_z(&fetch->error, why);
	if (why == NULL && (!url.tls || fetch_make_tls(fetch, request, &url))) {
		fetch_make_message(fetch, request, &url);
		settings.host = url.host;
		settings.port = url.port;
		fetch->upstream = upstream_new(fetch->loop, resolver, fetch->tls, &settings);
		fetch->call = upstream_borrow(fetch->upstream, true, &hooks, fetch);
	}
	buf_wipe(&authorization);
	return fetch->call != NULL;
}

struct fetch *
fetch_start(struct loop *loop, struct resolver *resolver, const struct fetch_request *request,
    void (*on_done)(void *arg, const struct fetch_result *result), void *arg)
{
	struct fetch *fetch = calloc(1, sizeof(*fetch));

	check(fetch != NULL && request->method.n < sizeof(fetch->method));
	fetch->magic = FETCH_MAGIC;
	fetch->loop = loop;
	fetch->on_done = on_done;
	fetch->arg = arg;
	fetch->end = (struct loop_hook){ .fn = on_fetch_end, .arg = fetch };
	fetch->deadline = mono_add(clock_now_mono(), request->timeout_us);
	memcpy(fetch->method, request->method.p, request->method.n);
	if (!fetch_begin(fetch, resolver, request))
		loop_at_turn_end(loop, &fetch->end);
	return fetch;
}

void
fetch_cancel(struct fetch **fetch_p)
{
	struct fetch *fetch = *fetch_p;

	if (fetch == NULL)
		return;
	*fetch_p = NULL;
	check_magic(fetch, FETCH_MAGIC);
	fetch->cancelled = true;
	if (!fetch->telling) {
		fetch_free(fetch);
		return;
	}
	upstream_cancel(&fetch->call);
	loop_at_turn_end(fetch->loop, &fetch->end);
}
