/*
 * Redis: one pipelined connection that keeps itself up.
 *
 *   waiting -(back-off)-> resolving -> connecting -> greeting -(ROLE says master)-> up
 *      ^______________________|____________|____________|______(any loss)__________|
 *
 * Everything that goes wrong ends in redis_lose, which closes, fails what is under way, tells, and waits.
 */
#include "io/redis.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/util.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "io/loop_event.h"
#include "io/redis_reply.h"

#define REDIS_MAGIC 0x72656469u
#define REDIS_PENDING_MAX 1024			/* the header's promise; a power of two for the ring */
#define REDIS_ARGUMENTS_MAX 24			/* ours have eighteen at most */
#define REDIS_BACKOFF_MIN_US (50 * CLOCK_MS)
#define REDIS_BACKOFF_MAX_US (2 * CLOCK_SECOND)
#define REDIS_RESOLVE_US (5 * CLOCK_SECOND)	/* a name server answers in that time, or not at all */
#define REDIS_SETUP_MIN_US (1 * CLOCK_SECOND)	/* a lost SYN costs that; no command's time-out does */
#define REDIS_STEADY_US (1 * CLOCK_SECOND)	/* up for less than that: the back-off goes on growing */

enum redis_state { REDIS_WAITING, REDIS_RESOLVING, REDIS_CONNECTING, REDIS_GREETING, REDIS_UP };

struct redis_pending {
	void (*on_reply)(void *arg, const struct redis_reply *reply);
	void *arg;
	struct mono_time due;
};

struct redis {
	uint32_t magic;
	struct loop *loop;
	struct resolver *resolver;
	struct buf host, username, password;	/* owned; host ends in NUL */
	uint16_t port;
	int db;
	int64_t timeout_us;
	void (*on_state)(void *arg, bool up, const char *why);
	void *arg;

	enum redis_state state;
	bool told, told_up;		/* what on_state was told last */
	struct mono_time up_since;
	int64_t backoff_us;
	struct resolver_answer answer;	/* of this attempt, */
	size_t tried;			/* and how many of its addresses were tried */
	struct resolver_ask *ask;
	struct bufferevent *bev;
	struct redis_parser *parser;
	struct loop_timer timer;	/* back-off, set-up, or the oldest command's time-out, by state */
	struct redis_pending pending[REDIS_PENDING_MAX];	/* ring, in the order sent */
	size_t pending_first, pending_count;
	unsigned busy;			/* callbacks of ours on the stack */
	bool dead;			/* freed within one of them */
};

static void redis_lose(struct redis *redis, const char *why);
static void redis_greet(struct redis *redis);
static void on_event(struct bufferevent *bev, short what, void *arg);

/* Let the memory go, once no callback is on the stack. */
static void
redis_destroy(struct redis *redis)
{
	buf_fini(&redis->host);
	buf_wipe(&redis->username);
	buf_wipe(&redis->password);
	redis->magic = 0;
	free(redis);
}

/* Every callback stands between these two. */
static struct redis *
redis_enter(void *arg)
{
	struct redis *redis = arg;

	check_magic(redis, REDIS_MAGIC);
	redis->busy++;
	return redis;
}

/* Leave a callback; whoever let the connection go within it finds it gone now. */
static void
redis_leave(struct redis *redis)
{
	if (--redis->busy == 0 && redis->dead)
		redis_destroy(redis);
}

/* Close whatever the connection has. */
static void
redis_close(struct redis *redis)
{
	resolver_cancel(&redis->ask);
	if (redis->bev)
		bufferevent_free(redis->bev);
	redis->bev = NULL;
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

/* Close, fail what is under way, and try again after the back-off. */
static void
redis_lose(struct redis *redis, const char *why)
{
	struct redis_reply lost = { .kind = REDIS_LOST };
	struct arena arena;
	bool was_up = redis->state == REDIS_UP;
	uint32_t random;

	arena_init(&arena);
	lost.string = arena_copy(&arena, str_from(why));	/* WHY may lie in what is closed now */
	redis_close(redis);
	redis->state = REDIS_WAITING;
	if (was_up && mono_since(loop_now(redis->loop), redis->up_since) >= REDIS_STEADY_US)
		redis->backoff_us = REDIS_BACKOFF_MIN_US;
	/* Half to all of the back-off, so that a fleet does not return in step. */
	evutil_secure_rng_get_bytes(&random, sizeof(random));
	loop_timer_at(&redis->timer,
	    mono_add(loop_now(redis->loop), redis->backoff_us / 2 + random % (redis->backoff_us / 2 + 1)));
	redis->backoff_us = redis->backoff_us * 2 > REDIS_BACKOFF_MAX_US ? REDIS_BACKOFF_MAX_US : redis->backoff_us * 2;
	while (redis->pending_count > 0 && !redis->dead) {
		struct redis_pending pending = redis_pop(redis);

		pending.on_reply(pending.arg, &lost);
	}
	redis_tell(redis, false, lost.string.p);
	arena_fini(&arena);
}

/* Hand one reply to the command it answers. */
static void
redis_answer(struct redis *redis, const struct redis_reply *reply)
{
	struct redis_pending pending;

	if (redis->pending_count == 0) {
		redis_lose(redis, "an answer that nobody asked for");
		return;
	}
	pending = redis_pop(redis);
	if (redis->state == REDIS_UP) {
		if (redis->pending_count > 0)
			loop_timer_at(&redis->timer, redis->pending[redis->pending_first].due);
		else
			loop_timer_clear(&redis->timer);
	}
	pending.on_reply(pending.arg, reply);
	if (redis->state == REDIS_UP && redis_reply_disowns(reply))
		redis_lose(redis, reply->string.p);
}

/* Bytes came: answer what is whole. */
static void
on_read(struct bufferevent *bev, void *arg)
{
	struct redis *redis = redis_enter(arg);
	struct evbuffer *input = bufferevent_get_input(bev);
	struct str bytes = { (const char *)evbuffer_pullup(input, -1), evbuffer_get_length(input) };
	struct arena arena;
	struct redis_reply reply;
	enum redis_parsed parsed;

	arena_init(&arena);
	if (!redis_parser_feed(redis->parser, bytes)) {
		redis_lose(redis, redis_parser_why(redis->parser));
	} else {
		evbuffer_drain(input, bytes.n);
		while (!redis->dead && redis->bev == bev) {
			parsed = redis_parser_next(redis->parser, &arena, &reply);
			if (parsed == REDIS_PARSED_BROKEN)
				redis_lose(redis, redis_parser_why(redis->parser));
			if (parsed != REDIS_PARSED_REPLY)
				break;
			redis_answer(redis, &reply);
		}
	}
	arena_fini(&arena);
	redis_leave(redis);
}

/* Connect to the next address that the name has. */
static void
redis_connect(struct redis *redis)
{
	size_t i = redis->tried++;
	struct sockaddr *address = (struct sockaddr *)&redis->answer.addresses[i];
	int64_t setup_us = redis->timeout_us > REDIS_SETUP_MIN_US ? redis->timeout_us : REDIS_SETUP_MIN_US;
	struct bufferevent *bev = bufferevent_socket_new(loop_base(redis->loop), -1, BEV_OPT_CLOSE_ON_FREE);

	check(bev != NULL);
	redis_close(redis);
	redis->state = REDIS_CONNECTING;
	redis->bev = bev;
	redis->parser = redis_parser_new();
	bufferevent_setcb(bev, on_read, NULL, on_event, redis);
	loop_timer_at(&redis->timer, mono_add(loop_now(redis->loop), setup_us));
	/*
	 * libevent reports a failure by on_event, at once or later, or not at all; where it did, BEV is no longer
	 * ours.
	 */
	if (bufferevent_socket_connect(bev, address, (int)redis->answer.lengths[i]) != 0 && redis->bev == bev)
		redis_lose(redis, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
}

/* One address did not answer: the next one, or the attempt has failed. */
static void
redis_refused(struct redis *redis, const char *why)
{
	if (redis->state == REDIS_CONNECTING && redis->tried < redis->answer.count)
		redis_connect(redis);
	else
		redis_lose(redis, why);
}

/* The connection was made, refused, ended or reset. */
static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct redis *redis = redis_enter(arg);
	int one = 1, error = EVUTIL_SOCKET_ERROR();

	if (what & BEV_EVENT_CONNECTED) {
		/* Without it a second command waits for the first one's acknowledgement. */
		setsockopt(bufferevent_getfd(bev), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		redis_greet(redis);
	} else if (what & BEV_EVENT_EOF) {
		redis_lose(redis, "the connection was closed");
	} else {
		redis_refused(redis, error ? evutil_socket_error_to_string(error) : "the connection failed");
	}
	redis_leave(redis);
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
		redis_lose(redis, gai_strerror(redis->answer.error));
	else if (redis->answer.count == 0)
		redis_lose(redis, "the name has no address");
	else
		redis_connect(redis);
	redis_leave(redis);
}

/* Begin an attempt. */
static void
redis_resolve(struct redis *redis)
{
	redis->state = REDIS_RESOLVING;
	loop_timer_at(&redis->timer, mono_add(loop_now(redis->loop), REDIS_RESOLVE_US));
	redis->ask = resolver_ask(redis->resolver, redis->loop, redis->host.p, redis->port, on_resolved, redis);
}

/* Time is up: of the back-off, of an attempt, or of the oldest command. */
static void
on_due(void *arg)
{
	struct redis *redis = redis_enter(arg);

	switch (redis->state) {
	case REDIS_WAITING:
		redis_resolve(redis);
		break;
	case REDIS_RESOLVING:
		redis_lose(redis, "the name was not resolved in time");
		break;
	case REDIS_CONNECTING:
		redis_refused(redis, "no connection in time");
		break;
	case REDIS_GREETING:
		redis_lose(redis, "no answer to the greeting in time");
		break;
	case REDIS_UP:
		redis_lose(redis, "no answer in time");
		break;
	}
	redis_leave(redis);
}

struct redis *
redis_new(struct loop *loop, struct resolver *resolver, const struct redis_settings *settings,
    void (*on_state)(void *arg, bool up, const char *why), void *arg)
{
	struct redis *redis = calloc(1, sizeof(*redis));

	check(redis != NULL && settings->timeout_us > 0);
	redis->magic = REDIS_MAGIC;
	redis->loop = loop;
	redis->resolver = resolver;
	buf_add(&redis->host, settings->host);
	buf_add_char(&redis->host, '\0');
	buf_add(&redis->username, settings->username);
	buf_add(&redis->password, settings->password);
	redis->port = settings->port;
	redis->db = settings->db;
	redis->timeout_us = settings->timeout_us;
	redis->on_state = on_state;
	redis->arg = arg;
	redis->backoff_us = REDIS_BACKOFF_MIN_US;
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

/* Format a command, queue its bytes and its completion. */
static bool
redis_send(struct redis *redis, const struct str *arguments, size_t count,
    void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg)
{
	const char *words[REDIS_ARGUMENTS_MAX];
	size_t lengths[REDIS_ARGUMENTS_MAX];
	char *bytes = NULL;
	int n;

	check(count > 0 && count <= REDIS_ARGUMENTS_MAX);
	if (redis->pending_count == REDIS_PENDING_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		words[i] = arguments[i].p ? arguments[i].p : "";
		lengths[i] = arguments[i].n;
	}
	n = redisFormatCommandArgv(&bytes, (int)count, words, lengths);
	check(n > 0);
	bufferevent_write(redis->bev, bytes, (size_t)n);
	explicit_bzero(bytes, (size_t)n);	/* one of them carries the password */
	redisFreeCommand(bytes);
	redis->pending[(redis->pending_first + redis->pending_count) % REDIS_PENDING_MAX] =
	    (struct redis_pending){ on_reply, arg, mono_add(loop_now(redis->loop), redis->timeout_us) };
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
		loop_timer_at(&redis->timer, redis->pending[redis->pending_first].due);
	return true;
}

/* An answer to the greeting that must be OK: AUTH, SELECT. */
static void
on_greeting(void *arg, const struct redis_reply *reply)
{
	struct redis *redis = arg;

	if (reply->kind != REDIS_LOST && (reply->kind != REDIS_STRING || !str_eq(reply->string, STR("OK"))))
		redis_lose(redis, reply->kind == REDIS_ERROR ? reply->string.p : "the server greets oddly");
}

/* An answer that does not matter: an old server knows no CLIENT SETNAME, a strict one forbids it. */
static void
on_indifferent(void *arg, const struct redis_reply *reply)
{
	(void)arg;
	(void)reply;
}

/* The last answer of the greeting: only a primary will do. */
static void
on_role(void *arg, const struct redis_reply *reply)
{
	struct redis *redis = arg;

	if (reply->kind == REDIS_LOST)
		return;
	if (reply->kind == REDIS_ERROR) {
		redis_lose(redis, reply->string.p);
	} else if (reply->kind != REDIS_ARRAY || reply->element_count == 0
	    || !str_eq(reply->elements[0].string, STR("master"))) {
		redis_lose(redis, "the server is not a primary (ROLE)");
	} else {
		redis->state = REDIS_UP;
		redis->up_since = loop_now(redis->loop);
		loop_timer_clear(&redis->timer);
		redis_tell(redis, true, "connected");
	}
}

/* Say who we are, all in one write. */
static void
redis_greet(struct redis *redis)
{
	struct str user = buf_str(&redis->username), password = buf_str(&redis->password);
	char db[16];

	redis->state = REDIS_GREETING;
	bufferevent_enable(redis->bev, EV_READ | EV_WRITE);
	if (user.n > 0)
		redis_send(redis, (struct str[]){ STR("AUTH"), user, password }, 3, on_greeting, redis);
	else if (password.n > 0)
		redis_send(redis, (struct str[]){ STR("AUTH"), password }, 2, on_greeting, redis);
	if (redis->db > 0) {
		snprintf(db, sizeof(db), "%d", redis->db);
		redis_send(redis, (struct str[]){ STR("SELECT"), str_from(db) }, 2, on_greeting, redis);
	}
	redis_send(redis, (struct str[]){ STR("CLIENT"), STR("SETNAME"), STR("jobgate") }, 3, on_indifferent, redis);
	redis_send(redis, (struct str[]){ STR("ROLE") }, 1, on_role, redis);
}
