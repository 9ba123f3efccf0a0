/* Redis: the first words on a connection. A Sentinel says where the primary is; a server, who it is. */
#include "io/redis_private.h"

#include <stdio.h>

/* Take the host and port that a Sentinel names; false where its answer names none. */
static bool
greet_read_address(const struct redis_reply *reply, struct str *host, uint16_t *port)
{
	const struct redis_reply *e = reply->elements;
	uint64_t number;

	if (reply->kind != REDIS_ARRAY || reply->element_count != 2 || e[0].kind != REDIS_STRING || e[0].string.n == 0
	    || e[0].string.n > 255 || !str_to_u64(e[1].string, &number) || number == 0 || number > UINT16_MAX)
		return false;
	*host = e[0].string;
	*port = (uint16_t)number;
	return true;
}

/* A Sentinel's word. */
static void
on_address(void *arg, const struct redis_reply *reply)
{
	struct redis *redis = arg;
	struct str host;
	uint16_t port;

	if (reply->kind == REDIS_LOST)
		return;
	if (greet_read_address(reply, &host, &port))
		redis_aim(redis, host, port, false);
	else if (reply->kind == REDIS_ERROR && str_starts(reply->string, STR("NOAUTH")) && !redis->introduced
	    && redis->password.n)
		redis_greet(redis);
	else if (reply->kind == REDIS_ERROR)
		redis_miss(redis, reply->string.p);
	else
		redis_miss(redis, reply->kind == REDIS_NIL ? "the Sentinel does not know this service" :
		    "the Sentinel answers oddly");
}

/* An answer to the greeting that must be OK: AUTH, SELECT. */
static void
on_greeting(void *arg, const struct redis_reply *reply)
{
	struct redis *redis = arg;

	if (reply->kind != REDIS_LOST && (reply->kind != REDIS_STRING || !str_eq(reply->string, STR("OK"))))
		redis_miss(redis, reply->kind == REDIS_ERROR ? reply->string.p : "the server greets oddly");
}

/* Show user and password. */
static void
greet_authenticate(struct redis *redis)
{
	struct str user = buf_str(&redis->username), password = buf_str(&redis->password);

	if (user.n > 0)
		redis_send(redis, (struct str[]){ STR("AUTH"), user, password }, 3, on_greeting, redis);
	else if (password.n > 0)
		redis_send(redis, (struct str[]){ STR("AUTH"), password }, 2, on_greeting, redis);
}

/* Ask a Sentinel: at first without a password, which most have none of, and which is not theirs to know. */
static void
greet_sentinel(struct redis *redis)
{
	if (redis->state == REDIS_GREETING) {	/* it has demanded one */
		redis->introduced = true;
		greet_authenticate(redis);
	}
	redis->state = REDIS_GREETING;
	redis_send(redis, (struct str[]){ STR("SENTINEL"), STR("get-master-addr-by-name"), redis->settings.service }, 3,
	    on_address, redis);
}

/* The last answer of the greeting: only a primary will do. */
static void
on_role(void *arg, const struct redis_reply *reply)
{
	struct redis *redis = arg;

	if (reply->kind == REDIS_LOST)
		return;
	/* Some managed kinds have no ROLE: a replica there shows by READONLY. Behind Sentinels it must be known. */
	if (reply->kind == REDIS_ERROR && str_starts(reply->string, STR("ERR unknown command"))
	    && redis->settings.sentinel_count == 0)
		redis_rise(redis);
	else if (reply->kind == REDIS_ERROR)
		redis_miss(redis, reply->string.p);
	else if (reply->kind != REDIS_ARRAY || reply->element_count == 0
	    || !str_eq(reply->elements[0].string, STR("master")))
		redis_miss(redis, "the server is not a primary (ROLE)");
	else
		redis_rise(redis);
}

void
redis_greet(struct redis *redis)
{
	char db[16];

	if (redis->asking) {
		greet_sentinel(redis);
		return;
	}
	redis->state = REDIS_GREETING;
	greet_authenticate(redis);
	if (redis->settings.db > 0) {
		snprintf(db, sizeof(db), "%d", redis->settings.db);
		redis_send(redis, (struct str[]){ STR("SELECT"), str_from(db) }, 2, on_greeting, redis);
	}
	/* An old server does not know it, a strict one forbids it: no matter. */
	redis_send(redis, (struct str[]){ STR("CLIENT"), STR("SETNAME"), STR("jobgate") }, 3, redis_on_indifferent, redis);
	redis_send(redis, (struct str[]){ STR("ROLE") }, 1, on_role, redis);
}
