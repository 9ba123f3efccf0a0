/*
 * Redis: opening a connection. A Sentinel's word where there are any, its name's addresses one after another, TCP, TLS.
 *
 * TCP is connected by hand and only then given to a bufferevent, plain or TLS, as for the upstream: so no library's
 * idea of a failed connect is in the way.
 */
#include "io/redis_private.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "io/loop_event.h"

#define REDIS_RESOLVE_US (5 * CLOCK_SECOND)	/* a name server answers in that time, or not at all */
#define REDIS_SETUP_MIN_US (1 * CLOCK_SECOND)	/* a lost SYN costs that; no command's time-out does */

/* Whether the file of authorities is still the one that was read; the system's own is read once. */
static bool
open_same_file(struct redis *redis, const struct stat *now)
{
	const struct stat *then = &redis->tls_file;

	return redis->settings.ca_file.n == 0 || (then->st_ino == now->st_ino && then->st_size == now->st_size
	    && then->st_mtim.tv_sec == now->st_mtim.tv_sec && then->st_mtim.tv_nsec == now->st_mtim.tv_nsec);
}

/* Have the TLS settings, fresh where their file has changed (a renewed authority needs no restart); or say why not. */
static bool
open_tls_ready(struct redis *redis, struct buf *error)
{
	struct stat now = { 0 };
	struct tls_client *fresh;

	if (redis->settings.ca_file.n && stat(redis->settings.ca_file.p, &now) != 0 && redis->tls)
		return true;	/* it is being replaced: what was read serves on */
	if (redis->tls && open_same_file(redis, &now))
		return true;
	fresh = tls_client_new(redis->settings.ca_file.p, redis->settings.host.p, error);
	if (fresh == NULL)
		return redis->tls != NULL;
	tls_client_drop_alpn(fresh);
	tls_client_free(&redis->tls);
	redis->tls = fresh;
	redis->tls_file = now;
	return true;
}

/* Ready to greet, unless the peer is not who it should be. */
static void
open_connected(struct redis *redis)
{
	const char *verdict = redis->ssl ? tls_client_verdict(redis->ssl) : NULL;

	if (verdict)
		redis_miss(redis, verdict);
	else
		redis_greet(redis);
}

/* Why an attempt or a connection failed. */
static const char *
open_reason(struct redis *redis, int error)
{
	const char *reason = redis->ssl ? tls_client_failure(redis->ssl, bufferevent_get_openssl_error(redis->bev)) : NULL;

	if (reason)
		return reason;
	if (error)
		return strerror(error);
	return redis->state == REDIS_CONNECTING ? "the connection was closed during the handshake"
						 : "the connection was closed";
}

/* The handshake has ended, or the connection. */
static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	int error = what & BEV_EVENT_EOF ? 0 : errno;
	struct redis *redis = redis_enter(arg);

	(void)bev;
	if (what & BEV_EVENT_CONNECTED)
		open_connected(redis);
	else if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		redis_miss(redis, open_reason(redis, error));
	redis_leave(redis);
}

/* TCP is there: give the socket to a bufferevent. */
static void
open_begin(struct redis *redis)
{
	struct event_base *base = loop_base(redis->loop);
	struct buf error = BUF_EMPTY;

	if (redis->settings.tls && !open_tls_ready(redis, &error)) {
		buf_add_char(&error, '\0');
		redis_miss(redis, error.p);
		buf_fini(&error);
		return;
	}
	buf_fini(&error);
	redis->ssl = redis->settings.tls ? tls_client_ssl(redis->tls) : NULL;
	redis->bev = redis->ssl ? bufferevent_openssl_socket_new(base, redis->fd, redis->ssl, BUFFEREVENT_SSL_CONNECTING,
	    BEV_OPT_CLOSE_ON_FREE) : bufferevent_socket_new(base, redis->fd, BEV_OPT_CLOSE_ON_FREE);
	check(redis->bev != NULL);
	redis->fd = -1;
	redis->parser = redis_parser_new();
	bufferevent_setcb(redis->bev, redis_on_read, NULL, on_event, redis);
	bufferevent_enable(redis->bev, EV_READ | EV_WRITE);
	if (redis->ssl == NULL)
		open_connected(redis);
}

/* The socket is connected, or has failed. */
static void
on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct redis *redis = redis_enter(arg);
	int error = 0;
	socklen_t n = sizeof(error);

	(void)what;
	event_free(redis->connecting);
	redis->connecting = NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
		error = errno;
	if (error)
		redis_miss(redis, strerror(error));
	else
		open_begin(redis);
	redis_leave(redis);
}

/* Begin to connect to the next address that the name has; false with errno where that fails at once. */
static bool
open_connect(struct redis *redis)
{
	size_t i = redis->tried++;
	const struct sockaddr *address = (const struct sockaddr *)&redis->answer.addresses[i];
	int64_t setup_us = redis->settings.timeout_us > REDIS_SETUP_MIN_US ? redis->settings.timeout_us : REDIS_SETUP_MIN_US;
	int one = 1;

	redis_close(redis);
	redis->state = REDIS_CONNECTING;
	redis->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (redis->fd < 0)
		return false;
	/* Without it a second command waits for the first one's acknowledgement. */
	setsockopt(redis->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(redis->fd, address, redis->answer.lengths[i]) != 0 && errno != EINPROGRESS)
		return false;
	redis->connecting = event_new(loop_base(redis->loop), redis->fd, EV_WRITE, on_connected, redis);
	check(redis->connecting != NULL && event_add(redis->connecting, NULL) == 0);
	loop_timer_at(&redis->timer, mono_add(loop_now(redis->loop), setup_us));
	return true;
}

/* Connect to the first address from here on that does not fail at once. */
static void
open_next(struct redis *redis)
{
	if (!open_connect(redis))
		redis_miss(redis, strerror(errno));
}

/* The name has addresses, or not. */
static void
on_resolved(void *arg, const struct resolver_answer *answer)
{
	struct redis *redis = redis_enter(arg);

	redis->answer = *answer;
	redis->tried = 0;
	resolver_cancel(&redis->ask);	/* frees it; ANSWER is gone */
	if (redis->answer.error)
		redis_miss(redis, gai_strerror(redis->answer.error));
	else if (redis->answer.count == 0)
		redis_miss(redis, "the name has no address");
	else
		open_next(redis);
	redis_leave(redis);
}

void
redis_aim(struct redis *redis, struct str host, uint16_t port, bool asking)
{
	struct buf name = BUF_EMPTY;

	buf_add(&name, host);
	buf_add_char(&name, '\0');
	redis_close(redis);
	buf_fini(&redis->host);
	redis->host = name;
	redis->port = port;
	redis->asking = asking;
	redis->introduced = false;
	redis->tried = redis->answer.count = 0;
	redis->state = REDIS_RESOLVING;
	loop_timer_at(&redis->timer, mono_add(loop_now(redis->loop), REDIS_RESOLVE_US));
	redis->ask = resolver_ask(redis->resolver, redis->loop, redis->host.p, port, on_resolved, redis);
}

/* Ask the Sentinel whose turn it is. */
static void
open_ask_sentinel(struct redis *redis)
{
	const struct redis_endpoint *sentinel = &redis->settings.sentinels[redis->sentinel];

	redis->asked++;
	redis_aim(redis, sentinel->host, sentinel->port, true);
}

void
redis_open(struct redis *redis)
{
	redis->asked = 0;
	if (redis->settings.sentinel_count)
		open_ask_sentinel(redis);
	else
		redis_aim(redis, redis->settings.host, redis->settings.port, false);
}

void
redis_miss(struct redis *redis, const char *why)
{
	if (redis->state == REDIS_CONNECTING && redis->tried < redis->answer.count) {
		open_next(redis);
		return;
	}
	/* Its word, or its silence, was of no use: another one is asked first the next time. */
	if (redis->settings.sentinel_count && redis->state != REDIS_UP)
		redis->sentinel = (redis->sentinel + 1) % redis->settings.sentinel_count;
	if (redis->asking && redis->asked < redis->settings.sentinel_count) {
		redis_close(redis);
		redis_drop_pending(redis, STR("another Sentinel is asked"));
		if (!redis->dead)
			open_ask_sentinel(redis);
		return;
	}
	redis_lose(redis, why);
}
