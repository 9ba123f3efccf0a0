/*
 * Opening a connection: resolve, then TCP, a proxy's tunnel where there is one, and TLS, at one address after another.
 *
 * Each address gets an equal share of what is left of the connect timeout, so that one that is silent does not cost
 * the others their chance. A peer that is not who it should be ends it at once: that is no accident of one address to
 * be tried around.
 */
#include "io/upstream_private.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "io/loop_event.h"
#include "io/upstream_open.h"
#include "io/upstream_tunnel.h"
#include "io/upstream_wire.h"

/*
 * A peer that vanished without a word is noticed after 30 + 3 * 10 s, far below the five minutes that an answer is
 * waited for.
 */
#define UPSTREAM_KEEPALIVE_IDLE_S 30
#define UPSTREAM_KEEPALIVE_STEP_S 10
#define UPSTREAM_KEEPALIVE_COUNT 3
/*
 * As many connections keep their buffers while they are idle: 2 MB for those that a busy upstream's requests take turns on. Those of
 * a burst beyond have none but in use.
 */
#define UPSTREAM_WARM_CONNECTIONS 64

static void open_next(struct upstream_connection *connection, enum upstream_reason reason, const char *why);

/* Whether a proxy stands between us and the peer. */
static bool
open_is_proxied(const struct upstream *upstream)
{
	return upstream->proxy.port != 0 && upstream->tls != NULL;
}

/* Hear no more of the present attempt to connect. */
static void
open_forget_attempt(struct upstream_opening *opening)
{
	if (opening->connecting)
		event_free(opening->connecting);
	opening->connecting = NULL;
	upstream_tunnel_free(&opening->tunnel);
}

void
upstream_opening_free(struct upstream_opening **opening_p)
{
	struct upstream_opening *opening = *opening_p;

	if (opening == NULL)
		return;
	*opening_p = NULL;
	open_forget_attempt(opening);
	resolver_cancel(&opening->ask);
	loop_timer_fini(&opening->timer);
	free(opening);
}

void
upstream_open_phase(struct upstream_connection *connection, enum upstream_phase phase)
{
	connection->opening->phase = phase;
	if (connection->call)
		connection->call->phase = phase;
}

void
upstream_open_fail(struct upstream_connection *connection, enum upstream_reason reason, const char *detail)
{
	if (connection->call)
		upstream_call_fail(connection->call, reason, detail);
	else
		upstream_connection_close(connection, false);
}

/* Give up the present attempt. */
static void
open_drop_attempt(struct upstream_connection *connection)
{
	open_forget_attempt(connection->opening);
	upstream_connection_unlisten(connection);
	upstream_wire_free(connection);
	if (connection->fd >= 0)
		close(connection->fd);
	connection->fd = -1;
}

/* An attempt's share, or the whole time, is over. */
static void
on_open_timer(void *arg)
{
	struct upstream_connection *connection = arg;
	enum upstream_phase phase;

	check_magic(connection, UPSTREAM_CONNECTION_MAGIC);
	phase = connection->opening->phase;
	if (phase == UPSTREAM_RESOLVE) {
		upstream_open_fail(connection, UPSTREAM_REASON_TIMEOUT, "the name was not resolved in time");
		return;
	}
	open_drop_attempt(connection);
	open_next(connection, UPSTREAM_REASON_TIMEOUT, phase == UPSTREAM_TLS ? "the TLS handshake did not end in time" :
	    phase == UPSTREAM_TUNNEL ? "the proxy has given no tunnel in time" : "no TCP connection in time");
}

/* Set the socket's options; one that fails costs speed or a late notice, not correctness. */
static void
open_set_options(int fd)
{
	static const struct { int level, name, value; } options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, UPSTREAM_KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, UPSTREAM_KEEPALIVE_STEP_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, UPSTREAM_KEEPALIVE_COUNT },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

/* Let the connection keep its buffers, where not enough others do. */
static void
open_warm(struct upstream_connection *connection)
{
	connection->warm = connection->upstream->warm_count < UPSTREAM_WARM_CONNECTIONS;
	if (!connection->warm)
		return;
	connection->upstream->warm_count++;
	upstream_wire_keep_buffers(connection);
}

/* The handshake is over, where there is one: the connection lives if the peer is who it should be. */
static void
open_done(struct upstream_connection *connection)
{
	const char *verdict = connection->ssl ? tls_client_verdict(connection->ssl) : NULL;

	if (verdict != NULL) {
		upstream_open_fail(connection, UPSTREAM_REASON_TLS, verdict);
		return;
	}
	connection->open = true;
	connection->opened_at = connection->idle_since = clock_now_mono();
	connection->upstream->opened++;
	open_warm(connection);
	upstream_opening_free(&connection->opening);
	if (connection->call == NULL) {
		upstream_give_back(connection, connection->opened_at);
		return;
	}
	upstream_move(connection, UPSTREAM_BORROWED);
	upstream_call_opened(connection->call);
}

void
upstream_open_shake(struct upstream_connection *connection)
{
	int n = upstream_wire_shake(connection);

	if (n > 0)
		open_done(connection);
	else if (n < 0)
		upstream_open_fail(connection, UPSTREAM_REASON_TLS, upstream_wire_shake_failure(connection));
	else if (upstream_wire_wants_room(connection))
		check(event_add(connection->writable, NULL) == 0);
}

void
upstream_open_wire(struct upstream_connection *connection)
{
	upstream_open_phase(connection, UPSTREAM_TLS);
	upstream_wire_begin(connection);
	upstream_connection_listen(connection);
	upstream_open_shake(connection);
}

/* TCP is connected: ask the proxy for a tunnel, or begin with the peer itself. */
static void
open_begin(struct upstream_connection *connection)
{
	if (open_is_proxied(connection->upstream))
		upstream_tunnel_begin(connection);
	else
		upstream_open_wire(connection);
}

/* The socket is connected, or has failed. */
static void
on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct upstream_connection *connection = arg;
	int error = 0;
	socklen_t n = sizeof(error);

	(void)what;
	check_magic(connection, UPSTREAM_CONNECTION_MAGIC);
	event_free(connection->opening->connecting);
	connection->opening->connecting = NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
		error = errno;
	if (error == 0) {
		open_begin(connection);
		return;
	}
	open_drop_attempt(connection);
	open_next(connection, UPSTREAM_REASON_REFUSED, strerror(error));
}

/* Begin to connect to one address; false with errno where that fails at once. */
static bool
open_connect(struct upstream_connection *connection, size_t i)
{
	struct upstream_opening *opening = connection->opening;
	const struct sockaddr *address = (const struct sockaddr *)&opening->addresses.addresses[i];
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return false;
	connection->fd = fd;
	open_set_options(fd);
	if (connect(fd, address, opening->addresses.lengths[i]) != 0 && errno != EINPROGRESS)
		return false;
	opening->connecting = event_new(loop_base(connection->upstream->loop), fd, EV_WRITE, on_connected, connection);
	check(opening->connecting != NULL && event_add(opening->connecting, NULL) == 0);
	return true;
}

/* Try the next address; where there is none left, fail with what the last one said. */
static void
open_next(struct upstream_connection *connection, enum upstream_reason reason, const char *why)
{
	struct upstream_opening *opening = connection->opening;
	struct mono_time now = clock_now_mono();
	int64_t left_us = mono_since(opening->deadline, now);

	upstream_open_phase(connection, UPSTREAM_CONNECT);
	while (left_us > 0 && opening->address_next < opening->addresses.count) {
		size_t i = opening->address_next++;

		loop_timer_at(&opening->timer, mono_add(now, left_us / (int64_t)(opening->addresses.count - i)));
		if (open_connect(connection, i))
			return;
		reason = UPSTREAM_REASON_REFUSED;
		why = strerror(errno);
		open_drop_attempt(connection);
	}
	upstream_open_fail(connection, reason, why);
}

/* The resolver has answered. */
static void
on_addresses(void *arg, const struct resolver_answer *answer)
{
	struct upstream_connection *connection = arg;

	check_magic(connection, UPSTREAM_CONNECTION_MAGIC);
	resolver_cancel(&connection->opening->ask);
	if (answer->error != 0) {
		upstream_open_fail(connection, UPSTREAM_REASON_RESOLVE, gai_strerror(answer->error));
		return;
	}
	connection->opening->addresses = *answer;
	open_next(connection, UPSTREAM_REASON_TIMEOUT, "no TCP connection in time");
}

/* Ask for the addresses to connect to: the proxy's, where there is one; the name of the peer is then the proxy's to resolve. */
static void
open_ask(struct upstream_connection *connection)
{
	struct upstream *upstream = connection->upstream;
	bool proxied = open_is_proxied(upstream);

	connection->opening->ask = resolver_ask(upstream->resolver, upstream->loop, proxied ? upstream->proxy.host.p : upstream->host,
	    proxied ? upstream->proxy.port : upstream->settings.port, on_addresses, connection);
}

struct upstream_connection *
upstream_connection_open(struct upstream *upstream, struct upstream_call *call)
{
	struct upstream_connection *connection = calloc(1, sizeof(*connection));
	struct upstream_opening *opening = calloc(1, sizeof(*opening));

	check(connection != NULL && opening != NULL);
	connection->magic = UPSTREAM_CONNECTION_MAGIC;
	connection->upstream = upstream;
	connection->call = call;
	connection->fd = -1;
	connection->idle_us = upstream->settings.idle_timeout_us;
	connection->generation = upstream->generation;
	connection->place = UPSTREAM_OPENING;
	TAILQ_INSERT_HEAD(&upstream->places[UPSTREAM_OPENING], connection, entry);
	upstream->place_counts[UPSTREAM_OPENING]++;
	connection->opening = opening;
	upstream_open_phase(connection, UPSTREAM_RESOLVE);
	opening->deadline = mono_add(clock_now_mono(), upstream->settings.connect_timeout_us);
	loop_timer_init(&opening->timer, upstream->loop, on_open_timer, connection);
	loop_timer_at(&opening->timer, opening->deadline);
	open_ask(connection);
	return connection;
}
