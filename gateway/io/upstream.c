/*
 * The pool of connections to the upstream, and what is told at the end of a turn.
 *
 * connection:  OPENING ─► BORROWED ─► IDLE ─► BORROWED ...      any ─► DEAD ─► freed at the end of the turn
 *              OPENING ─► UNCLAIMED (its call has gone) ─► IDLE
 * call:        opening ─► ready (on_ready) ─► sent ─► ended (on_response or on_failed) ─► upstream_cancel ─► freed at the end of the turn
 *
 * libevent's callbacks and the functions called from outside only record news; upstream_tell, a hook of the turn's
 * end, calls the owners' hooks. Messages too are written at its end, all together, and what is read
 * is handed over when all is read: what TLS runs through for one record fills the processor's cache of instructions, and is there for the
 * next if nothing comes between. So no completion runs inside the function that caused it, and a hook may cancel or
 * borrow what it likes.
 */
#include "io/upstream_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* A connection is used so long, so that a changed address of the upstream is followed. */
#define UPSTREAM_AGE_MAX_US (300LL * CLOCK_SECOND)
/* Calls that are kept for the next ones: 1.2 MB at a busy upstream, nothing at one that is not called. */
#define UPSTREAM_SPARE_CALLS 256
/*
 * So many connections are opened to their end for whoever comes next, although nobody waits for them any more. Where waits are shorter
 * than a handshake, no connection would come into being otherwise; the bound is for an upstream that is silent.
 */
#define UPSTREAM_UNCLAIMED_MAX 64

const char *
upstream_phase_name(enum upstream_phase phase)
{
	static const char *const names[] = {
		[UPSTREAM_RESOLVE] = "resolve", [UPSTREAM_CONNECT] = "connect", [UPSTREAM_TUNNEL] = "tunnel",
		[UPSTREAM_TLS] = "tls", [UPSTREAM_READY] = "ready", [UPSTREAM_WRITE] = "write", [UPSTREAM_WAIT] = "wait", [UPSTREAM_READ] = "read",
	};

	check(phase < sizeof(names) / sizeof(names[0]));
	return names[phase];
}

const char *
upstream_reason_name(enum upstream_reason reason)
{
	static const char *const names[] = {
		[UPSTREAM_REASON_RESOLVE] = "resolve", [UPSTREAM_REASON_REFUSED] = "refused", [UPSTREAM_REASON_TIMEOUT] = "timeout",
		[UPSTREAM_REASON_PROXY] = "proxy", [UPSTREAM_REASON_TLS] = "tls", [UPSTREAM_REASON_LATE] = "late", [UPSTREAM_REASON_CLOSED] = "closed", [UPSTREAM_REASON_MALFORMED] = "malformed",
		[UPSTREAM_REASON_TOO_LARGE] = "too_large",
	};

	check(reason < sizeof(names) / sizeof(names[0]));
	return names[reason];
}

/* The end of a turn: free what died in it. */
static void
on_reap(void *arg)
{
	struct upstream *upstream = arg;
	struct upstream_connections *dead;
	struct upstream_call *call;

	check_magic(upstream, UPSTREAM_MAGIC);
	dead = &upstream->places[UPSTREAM_DEAD];
	for (struct upstream_connection *connection; (connection = TAILQ_FIRST(dead)) != NULL;) {
		TAILQ_REMOVE(dead, connection, entry);
		upstream->place_counts[UPSTREAM_DEAD]--;
		upstream_connection_free(connection);
	}
	while ((call = TAILQ_FIRST(&upstream->dead_calls)) != NULL) {
		TAILQ_REMOVE(&upstream->dead_calls, call, entry);
		upstream_call_free(call);
	}
}

void
upstream_look_by(struct upstream *upstream, struct mono_time due)
{
	if (upstream->looking && mono_since(upstream->look_at, due) <= 0)
		return;
	upstream->looking = true;
	upstream->look_at = due;
	loop_timer_at(&upstream->look, due);
}

/* Close what has been idle long enough. */
static void
upstream_look_at_pool(struct upstream *upstream, struct mono_time now)
{
	struct upstream_connection *next;

	for (struct upstream_connection *connection = TAILQ_FIRST(&upstream->places[UPSTREAM_IDLE]); connection; connection = next) {
		next = TAILQ_NEXT(connection, entry);
		if (mono_since(connection->idle_until, now) <= 0)
			upstream_connection_close(connection, true);
		else
			upstream_look_by(upstream, connection->idle_until);
	}
}

/* Something may be due: the timer was set for what was the first of all then. */
static void
on_look(void *arg)
{
	struct upstream *upstream = arg;
	struct mono_time now = clock_now_mono();
	struct upstream_call *call;

	check_magic(upstream, UPSTREAM_MAGIC);
	upstream_hear(upstream);	/* what has come in this turn has come in time */
	upstream->looking = false;
	TAILQ_FOREACH(call, &upstream->calls, entry)
		if (call->sent && !call->ended && !upstream_call_is_overdue(call, now))
			upstream_look_by(upstream, call->deadline);
	upstream_look_at_pool(upstream, now);
}

/* A copy of S that ends in NUL. */
static struct str
upstream_copy(struct str s)
{
	char *copy = strndup(s.n ? s.p : "", s.n);

	check(copy != NULL);
	return str_from(copy);
}

/* Keep a proxy of one's own. */
static void
upstream_keep_proxy(struct upstream *upstream, const struct upstream_proxy *proxy)
{
	upstream->proxy = (struct upstream_proxy){ upstream_copy(proxy->host), proxy->port, upstream_copy(proxy->authorization) };
}

/* Give the proxy's memory back; its password is wiped. */
static void
upstream_drop_proxy(struct upstream *upstream)
{
	char *host = (char *)(uintptr_t)upstream->proxy.host.p, *authorization = (char *)(uintptr_t)upstream->proxy.authorization.p;

	explicit_bzero(authorization, upstream->proxy.authorization.n);
	free(authorization);
	free(host);
}

struct upstream *
upstream_new(struct loop *loop, struct resolver *resolver, struct tls_client *tls, const struct upstream_settings *settings)
{
	struct upstream *upstream = calloc(1, sizeof(*upstream));

	check(upstream != NULL);
	upstream->magic = UPSTREAM_MAGIC;
	upstream->loop = loop;
	upstream->resolver = resolver;
	upstream->tls = tls;
	upstream->settings = *settings;
	upstream->host = strndup(settings->host.p, settings->host.n);
	check(upstream->host != NULL);
	upstream->settings.host = str_from(upstream->host);
	upstream_keep_proxy(upstream, &settings->proxy);
	for (size_t i = 0; i < UPSTREAM_PLACES; i++)
		TAILQ_INIT(&upstream->places[i]);
	TAILQ_INIT(&upstream->calls);
	TAILQ_INIT(&upstream->told);
	TAILQ_INIT(&upstream->unwritten);
	TAILQ_INIT(&upstream->heard_from);
	TAILQ_INIT(&upstream->dead_calls);
	spares_init(&upstream->call_memory, sizeof(struct upstream_call), UPSTREAM_SPARE_CALLS);
	upstream->hear = (struct loop_hook){ .fn = upstream_hear, .arg = upstream };
	upstream->write = (struct loop_hook){ .fn = upstream_write, .arg = upstream };
	upstream->tell = (struct loop_hook){ .fn = upstream_tell, .arg = upstream };
	upstream->reap = (struct loop_hook){ .fn = on_reap, .arg = upstream };
	loop_timer_init(&upstream->look, loop, on_look, upstream);
	return upstream;
}

void
upstream_free(struct upstream **upstream_p)
{
	struct upstream *upstream = *upstream_p;
	struct upstream_call *call;

	if (upstream == NULL)
		return;
	*upstream_p = NULL;
	check_magic(upstream, UPSTREAM_MAGIC);
	check(!upstream->telling);
	upstream_drop_pool(upstream);	/* what is given back from here on is closed */
	while ((call = TAILQ_FIRST(&upstream->calls)) != NULL)
		upstream_cancel(&call);
	upstream_hear(upstream);	/* it is nobody's any more; wiped */
	on_reap(upstream);
	loop_unhook(upstream->loop, &upstream->hear);
	loop_unhook(upstream->loop, &upstream->write);
	loop_unhook(upstream->loop, &upstream->tell);
	loop_unhook(upstream->loop, &upstream->reap);
	loop_timer_fini(&upstream->look);
	upstream->magic = 0;
	spares_fini(&upstream->call_memory);
	spare_bufs_fini(&upstream->head_memory);
	buf_wipe(&upstream->message);
	free(upstream->heard);
	free(upstream->host);
	upstream_drop_proxy(upstream);
	free(upstream);
}

void
upstream_move(struct upstream_connection *connection, enum upstream_place place)
{
	struct upstream *upstream = connection->upstream;

	TAILQ_REMOVE(&upstream->places[connection->place], connection, entry);
	upstream->place_counts[connection->place]--;
	connection->place = place;
	TAILQ_INSERT_HEAD(&upstream->places[place], connection, entry);
	upstream->place_counts[place]++;
	if (place == UPSTREAM_DEAD)
		loop_at_turn_end(upstream->loop, &upstream->reap);
}

void
upstream_unclaim(struct upstream_connection *connection)
{
	struct upstream *upstream = connection->upstream;

	if (connection->generation != upstream->generation || upstream->place_counts[UPSTREAM_UNCLAIMED] == UPSTREAM_UNCLAIMED_MAX)
		upstream_connection_close(connection, false);
	else
		upstream_move(connection, UPSTREAM_UNCLAIMED);
}

void
upstream_give_back(struct upstream_connection *connection, struct mono_time now)
{
	connection->call = NULL;
	connection->idle_until = mono_add(connection->idle_since, connection->idle_us);
	if (connection->generation != connection->upstream->generation || mono_since(connection->idle_until, now) <= 0 ||
	    mono_since(now, connection->opened_at) > UPSTREAM_AGE_MAX_US) {
		upstream_connection_close(connection, true);
		return;
	}
	upstream_move(connection, UPSTREAM_IDLE);
	upstream_look_by(connection->upstream, connection->idle_until);
}

void
upstream_drop_pool(struct upstream *upstream)
{
	struct upstream_connection *connection;

	check_magic(upstream, UPSTREAM_MAGIC);
	upstream->generation++;
	while ((connection = TAILQ_FIRST(&upstream->places[UPSTREAM_UNCLAIMED])) != NULL)
		upstream_connection_close(connection, false);
	while ((connection = TAILQ_FIRST(&upstream->places[UPSTREAM_IDLE])) != NULL)
		upstream_connection_close(connection, true);
}

void
upstream_set_proxy(struct upstream *upstream, const struct upstream_proxy *proxy)
{
	const struct upstream_proxy *old = &upstream->proxy;

	check_magic(upstream, UPSTREAM_MAGIC);
	if (old->port == proxy->port && str_eq(old->host, proxy->host) && str_eq(old->authorization, proxy->authorization))
		return;
	upstream_drop_proxy(upstream);
	upstream_keep_proxy(upstream, proxy);
	upstream_drop_pool(upstream);
}

void
upstream_set_timeouts(struct upstream *upstream, int64_t connect_us, int64_t idle_us)
{
	check_magic(upstream, UPSTREAM_MAGIC);
	upstream->settings.connect_timeout_us = connect_us;
	upstream->settings.idle_timeout_us = idle_us;
}

void
upstream_replace_tls(struct upstream *upstream, struct tls_client *tls)
{
	check_magic(upstream, UPSTREAM_MAGIC);
	upstream->tls = tls;
	upstream_drop_pool(upstream);
}

/*
 * The most recently used connection of the pool that its peer has left alone; those that are not so are closed. Within a turn what the
 * loop knows is enough, however long the turn is: upstream_send asks again.
 */
static struct upstream_connection *
upstream_take_idle(struct upstream *upstream)
{
	const struct mono_time any = { 0 };
	struct upstream_connection *connection;

	while ((connection = TAILQ_FIRST(&upstream->places[UPSTREAM_IDLE])) != NULL) {
		if (upstream_connection_is_quiet(connection, any))
			return connection;
		upstream_connection_close(connection, false);
	}
	return NULL;
}

struct upstream_call *
upstream_borrow(struct upstream *upstream, bool fresh, const struct upstream_hooks *hooks, void *arg)
{
	struct upstream_call *call = spares_take(&upstream->call_memory);
	struct upstream_connection *idle = NULL;

	check_magic(upstream, UPSTREAM_MAGIC);
	memset(call, 0, offsetof(struct upstream_call, failure));
	call->reader.head_bytes = call->reader.body = BUF_EMPTY;
	call->magic = UPSTREAM_CALL_MAGIC;
	call->upstream = upstream;
	call->hooks = *hooks;
	call->arg = arg;
	TAILQ_INSERT_TAIL(&upstream->calls, call, entry);
	upstream->call_count++;
	if (!fresh)
		idle = upstream_take_idle(upstream);
	if (idle == NULL) {
		call->connection = upstream_connection_open(upstream, call);
		return call;
	}
	upstream_move(idle, UPSTREAM_BORROWED);
	idle->call = call;
	idle->reused = true;
	call->connection = idle;
	call->reused = true;
	upstream->reused++;
	upstream_call_opened(call);
	return call;
}

struct upstream_counts
upstream_counts(const struct upstream *upstream)
{
	return (struct upstream_counts){
		.opened = upstream->opened,
		.reused = upstream->reused,
		.failed = upstream->failed,
		.idle = upstream->place_counts[UPSTREAM_IDLE],
		.calls = upstream->call_count,
		.busy = upstream->place_counts[UPSTREAM_OPENING] + upstream->place_counts[UPSTREAM_UNCLAIMED] +
		    upstream->place_counts[UPSTREAM_BORROWED],
	};
}
