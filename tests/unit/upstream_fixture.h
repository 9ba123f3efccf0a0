/*
 * What the upstream's component tests share: names without a name server, identities, one upstream against one peer,
 * exchanges.
 */
#ifndef JOBGATE_TESTS_UPSTREAM_FIXTURE_H
#define JOBGATE_TESTS_UPSTREAM_FIXTURE_H

#include <dlfcn.h>
#include <netdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/upstream.h"
#include "upstream_peer.h"

#define NAME "upstream.test"

/* --- names --- */

static const struct fixture_name { const char *name, *addresses[3]; } fixture_names[] = {
	{ NAME, { "127.0.0.1" } },
	{ "second.test", { "127.0.0.2", "127.0.0.1" } },	/* nobody listens on 127.0.0.2 */
	{ "third.test", { "127.0.0.3", "127.0.0.1" } },		/* a full backlog on 127.0.0.3 */
};

static sem_t fixture_slow;	/* lets slow.test go on */

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* This program's definition comes before libc's. */
int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	struct addrinfo numeric = *hints, **tail = list;
	getaddrinfo_fn *real;

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (hints->ai_flags & AI_NUMERICHOST)
		return real(node, service, hints, list);
	if (strcmp(node, "slow.test") == 0)
		sem_wait(&fixture_slow);
	numeric.ai_flags = AI_NUMERICHOST;
	for (size_t i = 0; i < sizeof(fixture_names) / sizeof(fixture_names[0]); i++) {
		if (strcmp(node, fixture_names[i].name) != 0)
			continue;
		for (size_t k = 0; k < 3 && fixture_names[i].addresses[k]; k++, tail = &(*tail)->ai_next)
			check(real(fixture_names[i].addresses[k], service, &numeric, tail) == 0);
		return 0;
	}
	return EAI_NONAME;
}

/* --- identities, made once --- */

static struct certs_identity fixture_ca, fixture_good;
static char fixture_folder[PATH_MAX], fixture_ca_file[PATH_MAX];

/* A leaf of the good authority for NAME. */
static inline struct certs_identity
fixture_leaf(const char *names, const char *usage, long from_s, long to_s)
{
	return certs_make(&fixture_ca, &(struct certs_request){ NAME, names, NULL, usage, from_s, to_s });
}

static inline int
fixture_set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	sem_init(&fixture_slow, 0, 0);
	certs_folder(fixture_folder);
	fixture_ca = certs_authority("jobgate test authority");
	fixture_good = fixture_leaf("DNS:" NAME ",DNS:second.test,DNS:third.test,IP:127.0.0.1", "serverAuth", -60, 3600);
	certs_write_certificate(certs_path(fixture_ca_file, fixture_folder, "ca.pem"), fixture_ca.certificate);
	return 0;
}

static inline int
fixture_tear_down(void **state)
{
	(void)state;
	certs_drop(&fixture_good);
	certs_drop(&fixture_ca);
	unlink(fixture_ca_file);
	rmdir(fixture_folder);
	return 0;
}

/* --- one upstream against one peer --- */

struct fixture {
	struct peer peer;
	struct loop *loop;
	struct resolver *resolver;
	struct tls_client *tls;
	struct upstream *upstream;
	struct loop_timer poll;
	bool (*until)(struct fixture *fixture);
	struct mono_time give_up;
	struct exchange *exchange;	/* the newest */
};

struct exchange {
	struct fixture *fixture;
	struct upstream_call *call;
	const char *method;
	struct buf body;
	size_t body_n;
	int64_t begin_ms, deadline_ms;
	bool hold;			/* do not send in on_ready */
	bool cancel_in_hook;
	int readies, responses, failures;
	int status;
	size_t idle_after;		/* pooled connections when the response was told */
	struct buf got;			/* the response's body */
	char location[64];
	uint64_t written;
	struct upstream_failure failure;
	struct mono_time ended_at;	/* when the failure was told */
};

static inline void
fixture_send(struct exchange *x)
{
	struct buf *message = upstream_message(x->call, 256 + x->body.n);

	buf_printf(message, "%s /x HTTP/1.1\r\nHost: " NAME "\r\nContent-Length: %zu\r\n\r\n", x->method, x->body.n);
	buf_add(message, buf_str(&x->body));
	upstream_send(x->call, str_from(x->method), mono_add(clock_now_mono(), x->begin_ms * CLOCK_MS),
	    mono_add(clock_now_mono(), x->deadline_ms * CLOCK_MS));
}

static inline void
on_exchange_ready(void *arg)
{
	struct exchange *x = arg;

	x->readies++;
	if (!x->hold)
		fixture_send(x);
	else if (x->cancel_in_hook)
		upstream_cancel(&x->call);
}

static inline void
on_exchange_response(void *arg, const struct upstream_response *response)
{
	struct exchange *x = arg;
	const struct http1_field *location = http1_find(response->head, STR("location"));

	if (x->cancel_in_hook)
		upstream_cancel(&x->call);
	x->responses++;
	x->status = response->head->status;
	x->written = response->written_bytes;
	x->idle_after = upstream_counts(x->fixture->upstream).idle;
	buf_add(&x->got, response->body);
	if (location)
		snprintf(x->location, sizeof(x->location), "%.*s", STR_ARG(location->value));
}

static inline void
on_exchange_failed(void *arg, const struct upstream_failure *failure)
{
	struct exchange *x = arg;

	if (x->cancel_in_hook)
		upstream_cancel(&x->call);
	x->failures++;
	x->failure = *failure;
	x->ended_at = clock_now_mono();
}

static const struct upstream_hooks fixture_hooks = { on_exchange_ready, on_exchange_response, on_exchange_failed };

static inline void
on_fixture_poll(void *arg)
{
	struct fixture *f = arg;

	if (f->until(f) || mono_since(clock_now_mono(), f->give_up) > 0)
		loop_stop(f->loop);
	else
		loop_timer_at(&f->poll, mono_add(clock_now_mono(), CLOCK_MS));
}

/* Run the loop until UNTIL holds; a test that waits longer than 10 s has failed. */
static inline void
fixture_run(struct fixture *f, bool (*until)(struct fixture *f))
{
	f->until = until;
	f->give_up = mono_add(clock_now_mono(), 10 * CLOCK_SECOND);
	loop_timer_at(&f->poll, clock_now_mono());
	loop_run(f->loop);
	assert_true(until(f));
}

static inline bool
until_never(struct fixture *f)
{
	(void)f;
	return false;
}

/* Run the loop for a while, to see that nothing comes. */
static inline void
fixture_run_ms(struct fixture *f, int ms)
{
	f->until = until_never;
	f->give_up = mono_add(clock_now_mono(), (int64_t)ms * CLOCK_MS);
	loop_timer_at(&f->poll, clock_now_mono());
	loop_run(f->loop);
}

static inline bool
until_ended(struct fixture *f)
{
	return f->exchange->responses + f->exchange->failures > 0;
}

static inline bool
until_ready(struct fixture *f)
{
	return f->exchange->readies + f->exchange->failures > 0;
}

static inline bool
until_accepted(struct fixture *f)
{
	return atomic_load(&f->peer.accepted) > 0;
}

static inline bool
until_requested(struct fixture *f)
{
	return atomic_load(&f->peer.requests) > 0;
}

static inline bool
until_empty_pool(struct fixture *f)
{
	return upstream_counts(f->upstream).idle == 0;
}

struct fixture_options {
	const char *host;			/* NAME */
	const char *server_name;		/* NAME */
	const struct certs_identity *identity;	/* the good one */
	int max_version;			/* 0: any */
	int64_t connect_ms, idle_ms;		/* 5000, 5000 */
	uint16_t port;				/* the peer's */
	bool plain;
	struct upstream_proxy proxy;
};

static inline void
fixture_init(struct fixture *f, const struct fixture_options *o)
{
	struct buf error = BUF_EMPTY;
	struct upstream_settings settings = { .response_head_bytes = 65536, .response_body_bytes = 2 << 20 };

	memset(f, 0, sizeof(*f));
	peer_start(&f->peer, o->identity ? o->identity : &fixture_good, o->max_version);
	f->peer.plain = o->plain;
	f->loop = loop_new();
	f->resolver = resolver_new();
	f->tls = tls_client_new(fixture_ca_file, o->server_name ? o->server_name : NAME, &error);
	assert_non_null(f->tls);
	settings.host = str_from(o->host ? o->host : NAME);
	settings.proxy = o->proxy;
	settings.port = o->port ? o->port : f->peer.port;
	settings.connect_timeout_us = (o->connect_ms ? o->connect_ms : 5000) * CLOCK_MS;
	settings.idle_timeout_us = (o->idle_ms ? o->idle_ms : 5000) * CLOCK_MS;
	f->upstream = upstream_new(f->loop, f->resolver, o->plain ? NULL : f->tls, &settings);
	loop_timer_init(&f->poll, f->loop, on_fixture_poll, f);
	buf_fini(&error);
}

static inline void
fixture_fini(struct fixture *f)
{
	upstream_free(&f->upstream);
	resolver_free(&f->resolver);
	loop_timer_fini(&f->poll);
	loop_free(&f->loop);
	tls_client_free(&f->tls);
	peer_stop(&f->peer);
}

/* Begin an exchange; its settings may be changed before the loop runs. */
static inline void
exchange_begin(struct fixture *f, struct exchange *x, bool fresh, const char *method, size_t body_n)
{
	*x = (struct exchange){ .fixture = f, .method = method, .begin_ms = 8000, .deadline_ms = 8000 };
	for (size_t i = 0; i < body_n; i++)
		buf_add_char(&x->body, (char)('a' + i % 23));
	f->exchange = x;
	x->call = upstream_borrow(f->upstream, fresh, &fixture_hooks, x);
	assert_int_equal(x->readies + x->responses + x->failures, 0);	/* nothing inside the function that asked */
}

static inline void
exchange_end(struct exchange *x)
{
	upstream_cancel(&x->call);
	buf_fini(&x->body);
	buf_fini(&x->got);
}

/* A whole exchange. */
static inline void
exchange_run(struct fixture *f, struct exchange *x, bool fresh, const char *method, size_t body_n)
{
	exchange_begin(f, x, fresh, method, body_n);
	fixture_run(f, until_ended);
	assert_int_equal(x->responses + x->failures, 1);
	upstream_cancel(&x->call);
}

#endif
