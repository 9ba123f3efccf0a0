/*
 * Redis: one pipelined connection that keeps itself up.
 *
 *   waiting -(back-off)-> resolving -> connecting -> greeting -(ROLE says master)-> up
 *      ^         (a Sentinel) ^____________|____________|                          |
 *      |______________________|____________|____________|______(any loss)__________|
 *
 * Everything that goes wrong ends in redis_lose, which closes, fails what is under way, tells, and waits. What goes
 * wrong before it is up goes there by redis_miss, which first tries what else there is.
 */
#include "io/redis_private.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "io/loop_event.h"

#define REDIS_ARGUMENTS_MAX 3072		/* the bucket script has 2,981 at the most, some thirty as a rule */
#define REDIS_BACKOFF_MIN_US (50 * CLOCK_MS)
#define REDIS_BACKOFF_MAX_US (1 * CLOCK_SECOND)	/* nothing is sent while it lasts, and one attempt a second harms nobody */
#define REDIS_STEADY_US (1 * CLOCK_SECOND)	/* up for less than that: the back-off goes on growing */
#define REDIS_IDLE_US (10 * CLOCK_SECOND)	/* managed kinds cut what is idle for 10 minutes, firewalls earlier */

/* Let the memory go, once no callback is on the stack. */
static void
redis_destroy(struct redis *redis)
{
	tls_client_free(&redis->tls);
	arena_fini(&redis->arena);
	buf_fini(&redis->host);
	buf_wipe(&redis->username);
	buf_wipe(&redis->password);
	redis->magic = 0;
	free(redis);
}

struct redis *
redis_enter(void *arg)
{
	struct redis *redis = arg;

	check_magic(redis, REDIS_MAGIC);
	redis->busy++;
	return redis;
}

void
redis_leave(struct redis *redis)
{
	if (--redis->busy == 0 && redis->dead)
		redis_destroy(redis);
}

void
redis_close(struct redis *redis)
{
	resolver_cancel(&redis->ask);
	loop_unhook(redis->loop, &redis->write_hook);
	if (redis->connecting)
		event_free(redis->connecting);
	redis->connecting = NULL;
	if (redis->fd >= 0)
		close(redis->fd);
	redis->fd = -1;
	if (redis->bev) {
		/* A TLS bufferevent on whose callback's stack we are reads on until it is told not to. */
		bufferevent_disable(redis->bev, EV_READ | EV_WRITE);
		bufferevent_free(redis->bev);
	}
	redis->bev = NULL;
	redis->ssl = NULL;
	redis_parser_free(&redis->parser);
}

/* Tell the owner where the condition has changed. */
static void
redis_tell(struct redis *redis, bool up, const char *why)
{
	if (redis->dead || (redis->told && redis->told_up == up))
		return;
	redis->told = true;
	redis->told_up = up;
	redis->on_state(redis->arg, up, why);
}

/* Take the oldest command off the ring. */
static struct redis_pending
redis_pop(struct redis *redis)
{
	struct redis_pending pending = redis->pending[redis->pending_first];

	redis->pending_first = (redis->pending_first + 1) % REDIS_PENDING_MAX;
	redis->pending_count--;
	return pending;
}

void
redis_drop_pending(struct redis *redis, struct str why)
{
	struct redis_reply lost = { .kind = REDIS_LOST, .string = why };

	while (redis->pending_count > 0 && !redis->dead) {
		struct redis_pending pending = redis_pop(redis);

		pending.on_reply(pending.arg, &lost);
	}
}

void
redis_lose(struct redis *redis, const char *why)
{
	struct str told;
	struct arena arena;
	bool was_up = redis->state == REDIS_UP;
	uint32_t random;

	arena_init(&arena);
	told = arena_copy(&arena, str_from(why));	/* WHY may lie in what is closed now */
	redis_close(redis);
	redis->state = REDIS_WAITING;
	if (was_up && mono_since(loop_now(redis->loop), redis->up_since) >= REDIS_STEADY_US)
		redis->backoff_us = REDIS_BACKOFF_MIN_US;
	/* Half to all of the back-off, so that a fleet does not return in step. */
	evutil_secure_rng_get_bytes(&random, sizeof(random));
	loop_timer_at(&redis->timer,
	    mono_add(loop_now(redis->loop), redis->backoff_us / 2 + random % (redis->backoff_us / 2 + 1)));
	redis->backoff_us = redis->backoff_us * 2 > REDIS_BACKOFF_MAX_US ? REDIS_BACKOFF_MAX_US : redis->backoff_us * 2;
	redis_drop_pending(redis, told);
	redis_tell(redis, false, told.p);
	arena_fini(&arena);
}

/* Up: wake when the oldest command is due, or when there has been nothing to say for so long. */
static void
redis_set_timer(struct redis *redis)
{
	if (redis->pending_count > 0)
		loop_timer_at(&redis->timer, redis->pending[redis->pending_first].due);
	else
		loop_timer_at(&redis->timer, mono_add(loop_now(redis->loop), redis->settings.idle_us));
}

void
redis_rise(struct redis *redis)
{
	redis->state = REDIS_UP;
	redis->up_since = loop_now(redis->loop);
	redis_set_timer(redis);
	redis_tell(redis, true, "connected");
}

/* Hand one reply to the command it answers. */
static void
redis_answer(struct redis *redis, const struct redis_reply *reply)
{
	struct redis_pending pending;

	if (redis->pending_count == 0) {
		redis_miss(redis, "an answer that nobody asked for");
		return;
	}
	pending = redis_pop(redis);
	if (redis->state == REDIS_UP)
		redis_set_timer(redis);
	pending.on_reply(pending.arg, reply);
	if (redis->state == REDIS_UP && redis_reply_disowns(reply))
		redis_lose(redis, reply->string.p);
}

void
redis_on_read(struct bufferevent *bev, void *arg)
{
	struct redis *redis = redis_enter(arg);
	struct evbuffer *input = bufferevent_get_input(bev);
	struct str bytes = { (const char *)evbuffer_pullup(input, -1), evbuffer_get_length(input) };
	struct arena arena;
	struct redis_reply reply;
	enum redis_parsed parsed;

	arena_init(&arena);
	if (!redis_parser_feed(redis->parser, bytes)) {
		redis_miss(redis, redis_parser_why(redis->parser));
	} else {
		evbuffer_drain(input, bytes.n);
		while (!redis->dead && redis->bev == bev) {
			parsed = redis_parser_next(redis->parser, &arena, &reply);
			if (parsed == REDIS_PARSED_BROKEN)
				redis_miss(redis, redis_parser_why(redis->parser));
			if (parsed != REDIS_PARSED_REPLY)
				break;
			redis_answer(redis, &reply);
		}
	}
	arena_fini(&arena);
	redis_leave(redis);
}

/* Nothing was said for a while: say something, lest somebody on the way cuts the connection. */
static void
redis_ping(struct redis *redis)
{
	redis_send(redis, (struct str[]){ STR("PING") }, 1, redis_on_indifferent, redis);
	redis_set_timer(redis);
}

/* Time is up: of the back-off, of an attempt, of the oldest command, or of silence. */
static void
on_due(void *arg)
{
	struct redis *redis = redis_enter(arg);

	switch (redis->state) {
	case REDIS_WAITING:
		redis_open(redis);
		break;
	case REDIS_RESOLVING:
		redis_miss(redis, "the name was not resolved in time");
		break;
	case REDIS_CONNECTING:
		redis_miss(redis, redis->bev ? "the TLS handshake did not end in time" : "no connection in time");
		break;
	case REDIS_GREETING:
		redis_miss(redis, "no answer to the greeting in time");
		break;
	case REDIS_UP:
		if (redis->pending_count > 0)
			redis_lose(redis, "no answer in time");
		else
			redis_ping(redis);
		break;
	}
	redis_leave(redis);
}

/* The turn is over: write its commands, at once where the socket takes them. */
static void
on_turn_over(void *arg)
{
	struct redis *redis = arg;

	check_magic(redis, REDIS_MAGIC);
	if (redis->bev && !loop_write_now(redis->bev))
		bufferevent_enable(redis->bev, EV_WRITE);
}

/* Keep the settings; texts end in NUL (arena_copy), secrets apart. */
static void
redis_copy_settings(struct redis *redis, const struct redis_settings *from)
{
	struct redis_settings *to = &redis->settings;
	struct redis_endpoint *sentinels;

	arena_init(&redis->arena);
	*to = *from;
	if (to->idle_us == 0)
		to->idle_us = REDIS_IDLE_US;
	to->host = arena_copy(&redis->arena, from->host);
	to->service = arena_copy(&redis->arena, from->service);
	to->ca_file = arena_copy(&redis->arena, from->ca_file);
	sentinels = arena_alloc(&redis->arena, (from->sentinel_count + 1) * sizeof(*sentinels));
	for (size_t i = 0; i < from->sentinel_count; i++)
		sentinels[i] = (struct redis_endpoint){ arena_copy(&redis->arena, from->sentinels[i].host),
			from->sentinels[i].port };
	to->sentinels = sentinels;
	buf_add(&redis->username, from->username);
	buf_add(&redis->password, from->password);
	to->username = to->password = (struct str){ NULL, 0 };
}

struct redis *
redis_new(struct loop *loop, struct resolver *resolver, const struct redis_settings *settings,
    void (*on_state)(void *arg, bool up, const char *why), void *arg)
{
	struct redis *redis = calloc(1, sizeof(*redis));

	check(redis != NULL && settings->timeout_us > 0 && !(settings->tls && settings->sentinel_count));
	redis->magic = REDIS_MAGIC;
	redis->loop = loop;
	redis->resolver = resolver;
	redis->fd = -1;
	redis_copy_settings(redis, settings);
	redis->on_state = on_state;
	redis->arg = arg;
	redis->backoff_us = REDIS_BACKOFF_MIN_US;
	redis->write_hook = (struct loop_hook){ .fn = on_turn_over, .arg = redis };
	loop_timer_init(&redis->timer, loop, on_due, redis);
	loop_timer_at(&redis->timer, loop_now(loop));	/* the first attempt: in the loop's first turn */
	return redis;
}

void
redis_free(struct redis **redis_p)
{
	struct redis *redis = *redis_p;

	if (redis == NULL)
		return;
	*redis_p = NULL;
	check_magic(redis, REDIS_MAGIC);
	redis_close(redis);
	loop_timer_fini(&redis->timer);
	redis->state = REDIS_WAITING;
	redis->dead = true;
	if (redis->busy == 0)
		redis_destroy(redis);
}

bool
redis_is_up(const struct redis *redis)
{
	return redis->state == REDIS_UP;
}

/* Have BYTES written. */
static void
redis_write(struct redis *redis, struct str bytes)
{
	if (redis->ssl == NULL) {
		bufferevent_disable(redis->bev, EV_WRITE);
		loop_at_turn_last(redis->loop, &redis->write_hook);
	}
	bufferevent_write(redis->bev, bytes.p, bytes.n);
}

/* Append a length as the protocol has it, behind MARK. */
static void
redis_add_length(struct buf *out, char mark, size_t length)
{
	buf_add_char(out, mark);
	buf_add_int(out, (int64_t)length);
	buf_add(out, STR("\r\n"));
}

/* A command's bytes; hiredis prints each length by printf. */
static struct buf
redis_format(const struct str *arguments, size_t count)
{
	struct buf out = BUF_EMPTY;
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += arguments[i].n + sizeof("$4294967295\r\n\r\n");
	buf_grow(&out, bytes + sizeof("*4294967295\r\n"));	/* at once: nothing secret is left where it grew from */
	redis_add_length(&out, '*', count);
	for (size_t i = 0; i < count; i++) {
		redis_add_length(&out, '$', arguments[i].n);
		buf_add(&out, arguments[i]);
		buf_add(&out, STR("\r\n"));
	}
	return out;
}

bool
redis_send(struct redis *redis, const struct str *arguments, size_t count,
    void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg)
{
	struct buf bytes;

	check(count > 0 && count <= REDIS_ARGUMENTS_MAX);
	if (redis->pending_count == REDIS_PENDING_MAX)
		return false;
	bytes = redis_format(arguments, count);
	redis_write(redis, buf_str(&bytes));
	buf_wipe(&bytes);	/* one of them carries the password */
	redis->pending[(redis->pending_first + redis->pending_count) % REDIS_PENDING_MAX] =
	    (struct redis_pending){ on_reply, arg, mono_add(loop_now(redis->loop), redis->settings.timeout_us) };
	redis->pending_count++;
	return true;
}

bool
redis_command(struct redis *redis, const struct str *arguments, size_t count,
    void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg)
{
	if (redis->state != REDIS_UP || redis->dead || !redis_send(redis, arguments, count, on_reply, arg))
		return false;
	if (redis->pending_count == 1)
		redis_set_timer(redis);
	return true;
}

void
redis_on_indifferent(void *arg, const struct redis_reply *reply)
{
	(void)arg;
	(void)reply;
}
