/*
 * The Redis store: one script call for each take.
 *
 * It is up once a call was answered as the script answers, and until one is not. A server that answers errors
 * (loading, out of memory, no right to run scripts, BUSY with somebody else's script) is as good as away: it is tried
 * once a second with the call that failed, taking nothing, until that is answered. So is every fresh connection, at
 * once.
 */
#include "gate/store_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "io/redis.h"
#include "rules/bucket_script.h"
#include "rules/returning_script.h"

#define STORE_TRY_AGAIN_US (1 * CLOCK_SECOND)
/* A key lives a second and more beyond the time in which its bucket fills: this leaves room for a slow answer. */
#define STORE_KEEP_US (700 * CLOCK_MS)
/* A bucket that begins: meanwhile every running instance has looked at it and told what it had heard of the one before. */
#define STORE_GRACE_US (1 * CLOCK_SECOND)
/* The largest number of numbers that a script takes. */
#define STORE_NUMBERS 12

/* People change it while the server runs, seldom. */
#define STORE_POLICY_US (10 * CLOCK_SECOND)

struct store_redis {
	struct store store;
	struct redis *redis;
	struct buf prefix;		/* owned */
	struct loop *loop;
	void (*on_state)(void *arg, bool up, const char *why);
	void *arg;
	bool proven;			/* the connection's last call was answered as it should be */
	bool told, told_up;		/* what on_state was told last */
	struct loop_timer try_again;
	struct loop_timer policy;	/* when to ask again what happens to keys when the memory is full */
	struct buf tried_identity;	/* of the call that failed last, at first the configuration's first */
	struct quota tried_quota;
	struct redis_call *calls;	/* under way: freed with the store, since no completion comes then */
};

struct redis_call {
	struct redis_call *next, **self;	/* in store->calls */
	struct store_redis *store;
	struct buf identity;		/* owned */
	struct quota quota;
	int64_t count, waiting, pause_us;
	struct bucket_heard heard;
	bool evaluated;			/* the text was sent: no second time */
	void (*on_answer)(void *arg, const struct store_answer *answer);
	void *arg;
};

static void on_script(void *arg, const struct redis_reply *reply);

/* Is there a connection whose last call went well? */
static bool
store_redis_is_up(const struct store *base)
{
	const struct store_redis *store = (const struct store_redis *)base;

	return store->proven && redis_is_up(store->redis);
}

/* Forget a call. */
static void
redis_call_free(struct redis_call *call)
{
	*call->self = call->next;
	if (call->next)
		call->next->self = call->self;
	buf_fini(&call->identity);
	free(call);
}

/* The numbers that its script takes; how many they are. */
static size_t
redis_call_numbers(const struct redis_call *call, int64_t values[STORE_NUMBERS])
{
	const struct quota *q = &call->quota;

	if (!q->returning) {
		const int64_t simple[] = { q->token, q->refill, q->depth, call->count, call->pause_us };

		memcpy(values, simple, sizeof(simple));
		return sizeof(simple) / sizeof(simple[0]);
	}
	const int64_t all[] = { q->requests, q->slot_us, q->depth, q->burst, call->count, call->waiting,
		call->heard.epoch, call->heard.total, call->heard.ago_us, STORE_GRACE_US, call->pause_us };

	memcpy(values, all, sizeof(all));
	return sizeof(all) / sizeof(all[0]);
}

/* The name of one of its identity's keys. */
static void
redis_call_key(const struct redis_call *call, const char *kind, struct buf *out)
{
	buf_add(out, buf_str(&call->store->prefix));
	buf_printf(out, ":" BUCKET_SCRIPT_LAYOUT ":{%.*s}:%s", STR_ARG(buf_str(&call->identity)), kind);
}

/* Send the script with the call's numbers: by its digest, or whole. */
static bool
redis_call_send(struct redis_call *call, bool whole)
{
	bool returning = call->quota.returning;
	const char *text = returning ? returning_script_text : bucket_script_text;
	const char *sha1 = returning ? returning_script_sha1 : bucket_script_sha1;
	char numbers[STORE_NUMBERS][24];
	int64_t values[STORE_NUMBERS];
	size_t count = redis_call_numbers(call, values);
	struct buf keys[2] = { BUF_EMPTY, BUF_EMPTY };
	struct str parts[5 + STORE_NUMBERS + 1] = { whole ? STR("EVAL") : STR("EVALSHA"), str_from(whole ? text : sha1),
		STR("2") };
	bool sent;

	for (int i = 0; i < 2; i++) {
		redis_call_key(call, i ? "pause" : "bucket", &keys[i]);
		parts[3 + i] = buf_str(&keys[i]);
	}
	for (size_t i = 0; i < count; i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "%" PRId64, values[i]);
		parts[5 + i] = str_from(numbers[i]);
	}
	parts[5 + count] = STR("");	/* the server's own time */
	sent = redis_command(call->store->redis, parts, 6 + count, on_script, call);
	buf_fini(&keys[0]);
	buf_fini(&keys[1]);
	return sent;
}

/* Make a call and send it. */
static bool
redis_call_new(struct store_redis *store, const struct store_call *ask,
    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg)
{
	struct redis_call *call = calloc(1, sizeof(*call));

	check(call != NULL);
	*call = (struct redis_call){ .store = store, .quota = *ask->quota, .count = ask->count, .waiting = ask->waiting,
		.pause_us = ask->pause_us, .heard = ask->heard, .on_answer = on_answer, .arg = arg };
	buf_add(&call->identity, ask->identity);
	call->next = store->calls;
	call->self = &store->calls;
	if (call->next)
		call->next->self = &call->next;
	store->calls = call;
	if (redis_call_send(call, false))
		return true;
	redis_call_free(call);
	return false;
}

/* Tell the owner where the condition has changed. */
static void
store_redis_tell(struct store_redis *store, bool up, const char *why)
{
	if (store->told && store->told_up == up)
		return;
	store->told = true;
	store->told_up = up;
	store->on_state(store->arg, up, why);
}

/* The server answers, but not as it should: try again later. */
static void
store_redis_ail(struct redis_call *call, const struct redis_reply *reply)
{
	struct store_redis *store = call->store;

	store->proven = false;
	store->tried_quota = call->quota;
	buf_clear(&store->tried_identity);
	buf_add(&store->tried_identity, buf_str(&call->identity));
	loop_timer_at(&store->try_again, mono_add(loop_now(store->loop), STORE_TRY_AGAIN_US));
	store_redis_tell(store, false, reply->kind == REDIS_ERROR ? reply->string.p : "an answer of another shape");
}

/* Read the script's answer; false where it is none. */
static bool
script_answer(const struct redis_reply *reply, int64_t count, struct bucket_take *take)
{
	const struct redis_reply *e = reply->elements;

	if (reply->kind != REDIS_ARRAY || reply->element_count != 7)
		return false;
	for (size_t i = 0; i < 7; i++)
		if (e[i].kind != REDIS_INT || e[i].integer < 0)
			return false;
	*take = (struct bucket_take){ e[0].integer, e[1].integer, e[2].integer, e[3].integer, e[4].integer,
		e[5].integer, e[6].integer };
	/* No wait is longer than the slowest token's time, two hours. */
	return take->granted <= count && take->wait_us <= INT64_C(7300000000) && take->left <= QUOTA_REQUESTS_MAX
	    && take->refill >= 1 && take->refill <= QUOTA_REQUESTS_MAX && take->paused_us <= BUCKET_PAUSE_MAX_US;
}

/* The script's answer, or what came in its place. */
static void
on_script(void *arg, const struct redis_reply *reply)
{
	struct redis_call *call = arg;
	struct store_redis *store = call->store;
	struct store_answer answer = { 0 };
	void (*on_answer)(void *, const struct store_answer *) = call->on_answer;
	void *on_answer_arg = call->arg;

	if (reply->kind == REDIS_ERROR && str_starts(reply->string, STR("NOSCRIPT")) && !call->evaluated) {
		call->evaluated = true;		/* EVAL also loads it, so this is once after each restart */
		if (redis_call_send(call, true))
			return;
	}
	answer.ok = script_answer(reply, call->count, &answer.take);
	if (!answer.ok && reply->kind != REDIS_LOST)
		store_redis_ail(call, reply);
	if (answer.ok && !store->proven) {
		store->proven = true;
		loop_timer_clear(&store->try_again);
		store_redis_tell(store, true, "answers");
	}
	redis_call_free(call);
	on_answer(on_answer_arg, &answer);
}

/* A trial's answer has done its work in on_script. */
static void
on_trial(void *arg, const struct store_answer *answer)
{
	(void)arg;
	(void)answer;
}

/* Try the call that failed again, taking nothing, and once more if that does not end well. */
static void
on_try_again(void *arg)
{
	struct store_redis *store = arg;

	loop_timer_at(&store->try_again, mono_add(loop_now(store->loop), STORE_TRY_AGAIN_US));
	redis_call_new(store, &(struct store_call){ .identity = buf_str(&store->tried_identity),
		.quota = &store->tried_quota, .heard.ago_us = -1 }, on_trial, NULL);
}

/* What the server does when its memory is full; who may not or will not say it is not asked again on this connection. */
static void
on_policy(void *arg, const struct redis_reply *reply)
{
	struct store_redis *store = arg;
	const struct redis_reply *e = reply->elements;
	bool evicts;

	if (reply->kind != REDIS_ARRAY || reply->element_count != 2 || e[1].kind != REDIS_STRING)
		return;
	loop_timer_at(&store->policy, mono_add(loop_now(store->loop), STORE_POLICY_US));
	evicts = !str_eq(e[1].string, STR("noeviction"));
	if (evicts == store->store.evicts)
		return;
	store->store.evicts = evicts;
	log_line(evicts ? LOG_WARN : LOG_INFO, evicts ? "store may evict buckets" : "store keeps buckets",
	    log_s("maxmemory_policy", e[1].string));
	if (store->proven)
		store->on_state(store->arg, true, "its maxmemory-policy has changed");
}

/* Ask for the policy. */
static void
on_policy_due(void *arg)
{
	struct store_redis *store = arg;

	redis_command(store->redis, (struct str[]){ STR("CONFIG"), STR("GET"), STR("maxmemory-policy") }, 3, on_policy, store);
}

/* The connection is there, and has to prove itself, or not. */
static void
on_redis_state(void *arg, bool up, const char *why)
{
	struct store_redis *store = arg;

	store->proven = false;
	loop_timer_clear(&store->policy);
	if (up) {
		on_policy_due(store);	/* first, so that it is known before the store is told to be up */
		on_try_again(store);
		return;
	}
	loop_timer_clear(&store->try_again);
	store_redis_tell(store, false, why);
}

/* Take, where the store is up. */
static bool
store_redis_take(struct store *base, const struct store_call *call,
    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg)
{
	return store_redis_is_up(base)
	    && redis_call_new((struct store_redis *)base, call, on_answer, arg);
}

/* Free everything; calls under way are forgotten. */
static void
store_redis_free(struct store *base)
{
	struct store_redis *store = (struct store_redis *)base;

	redis_free(&store->redis);
	while (store->calls)
		redis_call_free(store->calls);
	loop_timer_fini(&store->try_again);
	loop_timer_fini(&store->policy);
	buf_fini(&store->prefix);
	buf_fini(&store->tried_identity);
	free(store);
}

static const struct store_kind redis_kind = {
	.keep_us = STORE_KEEP_US,
	.is_up = store_redis_is_up,
	.take = store_redis_take,
	.free = store_redis_free,
};

struct store *
store_redis_new(struct loop *loop, struct resolver *resolver, const struct config *config, struct str password,
    void (*on_state)(void *arg, bool up, const char *why), void *arg)
{
	struct redis_settings settings = {
		.host = config->store.host, .port = config->store.port, .db = config->store.db,
		.service = config->store.service, .tls = config->store.tls, .ca_file = config->store.ca_file,
		.username = config->store.username, .password = password, .timeout_us = config->store.timeout_us,
	};
	struct store_redis *store = calloc(1, sizeof(*store));
	struct redis_endpoint *sentinels = calloc(config->store.sentinel_count + 1, sizeof(*sentinels));
	const char *fault;

	check(store != NULL && sentinels != NULL);
	for (size_t i = 0; i < config->store.sentinel_count; i++)
		sentinels[i] = (struct redis_endpoint){ config->store.sentinels[i].host, config->store.sentinels[i].port };
	settings.sentinels = sentinels;
	settings.sentinel_count = config->store.sentinel_count;
	check(quota_derive(&config->identities[0].quota, &store->tried_quota, &fault));
	buf_add(&store->tried_identity, config->identities[0].name);
	store->store.kind = &redis_kind;
	store->loop = loop;
	store->on_state = on_state;
	store->arg = arg;
	buf_add(&store->prefix, config->store.prefix);
	loop_timer_init(&store->try_again, loop, on_try_again, store);
	loop_timer_init(&store->policy, loop, on_policy_due, store);
	store->redis = redis_new(loop, resolver, &settings, on_redis_state, store);
	free(sentinels);	/* copied */
	return &store->store;
}
