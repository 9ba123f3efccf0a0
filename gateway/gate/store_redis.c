/*
 * The Redis store: one script call for each take.
 *
 * It is up once a call was answered as the script answers, and until one is not. A server that answers errors
 * (loading, out of memory, no right to run scripts, BUSY with somebody else's script) is as good as away: it is tried
 * once a second at the bucket whose call failed, with a call that takes and says nothing, until that is answered. So is
 * every fresh connection, at once.
 */
#include "gate/store_heads.h"
#include "gate/store_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "io/redis.h"
#include "rules/bucket_script.h"

#define STORE_TRY_AGAIN_US (1 * CLOCK_SECOND)
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
	struct buf tried_identity;	/* of the call that failed last */
	struct bucket_ask tried;
	struct quota tried_quota;	/* its own */
	struct store_heads heads;
	struct redis_call *calls;	/* under way: freed with the store, since no completion comes then */
};

struct redis_call {
	struct redis_call *next, **self;	/* in store->calls */
	struct store_redis *store;
	struct buf identity;		/* owned */
	struct bucket_ask ask;
	struct store_look *looks;	/* owned */
	size_t look_count;
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

/* Take a call out of the store's list. */
static void
redis_call_unlink(struct redis_call *call)
{
	*call->self = call->next;
	if (call->next)
		call->next->self = call->self;
}

/* Forget a call that is in no list. */
static void
redis_call_free(struct redis_call *call)
{
	buf_fini(&call->identity);
	free(call->looks);
	free(call);
}

/* The name of its identity's key. */
static struct str
redis_call_key(const struct redis_call *call, struct arena *arena)
{
	return arena_printf(arena, "%.*s:" BUCKET_SCRIPT_LAYOUT ":{%.*s}:bucket", STR_ARG(buf_str(&call->store->prefix)),
	    STR_ARG(buf_str(&call->identity)));
}

/*
 * The names of the lost answers' keys, in WORDS, which point into KEYS then; returns which lane each is for, a character for each.
 */
static struct str
redis_call_looks(const struct redis_call *call, struct arena *arena, struct buf *keys, struct str *words)
{
	char *lanes = arena_alloc(arena, call->look_count + 1);

	for (size_t i = 0; i < call->look_count; i++) {
		size_t before = keys->n;

		lost_key(keys, buf_str(&call->store->prefix), buf_str(&call->identity), call->looks[i].name);
		words[i].n = keys->n - before;
		lanes[i] = (char)('@' + call->looks[i].lane);
	}
	for (size_t i = 0, at = 0; i < call->look_count; at += words[i++].n)
		words[i].p = keys->p + at;
	return (struct str){ lanes, call->look_count };
}

/* Send the script with the call's arguments: by its digest, or whole. */
static bool
redis_call_send(struct redis_call *call, bool whole)
{
	struct arena arena;
	struct buf keys = BUF_EMPTY, mark = BUF_EMPTY;
	struct str *arguments, *words;
	size_t count, looks = call->look_count;
	bool sent;

	arena_init(&arena);
	arguments = bucket_script_arguments(&arena, &call->ask, 0, &count);
	words = arena_alloc(&arena, (5 + looks + count + 1) * sizeof(*words));
	words[0] = whole ? STR("EVAL") : STR("EVALSHA");
	words[1] = str_from(whole ? bucket_script_text : bucket_script_sha1);
	words[2] = arena_int(&arena, (int64_t)(2 + looks));
	words[3] = redis_call_key(call, &arena);
	lost_mark_key(&mark, buf_str(&call->store->prefix), buf_str(&call->identity));
	words[4] = buf_str(&mark);
	memcpy(words + 5 + looks, arguments, count * sizeof(*words));
	words[5 + looks + count] = redis_call_looks(call, &arena, &keys, words + 5);
	sent = redis_command(call->store->redis, words, 5 + looks + count + 1, on_script, call);
	buf_fini(&mark);
	buf_fini(&keys);
	arena_fini(&arena);
	return sent;
}

/* Make a call and send it. */
static bool
redis_call_new(struct store_redis *store, struct str identity, const struct bucket_ask *ask, const struct store_look *looks, size_t look_count,
    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg)
{
	struct redis_call *call = malloc(sizeof(*call));

	check(call != NULL);
	call->store = store;
	bucket_ask_copy(&call->ask, ask);
	call->evaluated = false;
	call->on_answer = on_answer;
	call->arg = arg;
	call->identity = BUF_EMPTY;
	buf_add(&call->identity, identity);
	call->looks = malloc((look_count + 1) * sizeof(*looks));
	check(call->looks != NULL);
	if (look_count > 0)
		memcpy(call->looks, looks, look_count * sizeof(*looks));
	call->look_count = look_count;
	call->next = store->calls;
	call->self = &store->calls;
	if (call->next)
		call->next->self = &call->next;
	store->calls = call;
	if (redis_call_send(call, false))
		return true;
	redis_call_unlink(call);
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

/*
 * Remember whose bucket a connection is to be tried with. The trial is a good-bye of nobody: what its asker said then, of its
 * predecessor, a pause, or its own tokens, is old when it is tried, and would hold once more.
 */
static void
store_redis_remember(struct store_redis *store, struct str identity, const struct bucket_ask *ask)
{
	struct buf name = BUF_EMPTY;

	buf_add(&name, identity);
	buf_fini(&store->tried_identity);
	store->tried_identity = name;
	store->tried_quota = *ask->quota;
	store->tried = (struct bucket_ask){ .id = "trial", .start = 1, .sent_ago_us = -1, .leave = true,
		.quota = &store->tried_quota };
}

/* The server answers, but not as it should: try again later. */
static void
store_redis_ail(struct redis_call *call, const struct redis_reply *reply)
{
	struct store_redis *store = call->store;

	store->proven = false;
	store_redis_remember(store, buf_str(&call->identity), &call->ask);
	loop_timer_at(&store->try_again, mono_add(loop_now(store->loop), STORE_TRY_AGAIN_US));
	store_redis_tell(store, false, reply->kind == REDIS_ERROR ? reply->string.p : "an answer of another shape");
}

/* The most values of an answer: of 64 members and 32 lanes, and lost answers. */
#define SCRIPT_VALUES_MAX (400 + 2 * STORE_LOOKS_MAX)

/* What was found of what was looked for. */
struct script_found { struct str texts[STORE_LOOKS_MAX]; bool known; };

/*
 * Read what was found: at the end stand the number of each and its text, how many there are, and whether all is known here. Returns
 * how many values stand before; 0 where it is none.
 */
static size_t
script_found(const struct redis_call *call, const struct bucket_script_value *values, size_t count, struct script_found *found)
{
	size_t pairs = count > 1 && !values[count - 2].is_text ? (size_t)values[count - 2].integer : SIZE_MAX;

	for (size_t i = 0; i < call->look_count; i++)
		found->texts[i] = STR("");
	if (pairs > call->look_count || count < 2 * pairs + 2 || values[count - 1].is_text)
		return 0;
	found->known = values[count - 1].integer == 1;
	for (const struct bucket_script_value *v = values + count - 2 - 2 * pairs; v < values + count - 2; v += 2) {
		if (v[0].is_text || !v[1].is_text || (uint64_t)v[0].integer >= call->look_count)
			return 0;
		found->texts[v[0].integer] = v[1].text;
	}
	return count - 2 - 2 * pairs;
}

/* Read the script's answer; false where it is none. */
static bool
script_answer(const struct redis_call *call, const struct redis_reply *reply, struct bucket_answer *answer, struct script_found *found)
{
	struct bucket_script_value values[SCRIPT_VALUES_MAX];
	size_t count;

	if (reply->kind != REDIS_ARRAY || reply->element_count > SCRIPT_VALUES_MAX)
		return false;
	for (size_t i = 0; i < reply->element_count; i++) {
		const struct redis_reply *e = &reply->elements[i];

		if (e->kind != REDIS_INT && e->kind != REDIS_STRING)
			return false;
		values[i] = (struct bucket_script_value){ e->kind == REDIS_STRING, e->integer, e->string };
	}
	count = script_found(call, values, reply->element_count, found);
	return bucket_script_answer(&call->ask, values, count, answer);
}

/* The script's answer, or what came in its place. */
static void
on_script(void *arg, const struct redis_reply *reply)
{
	struct redis_call *call = arg;
	struct store_redis *store = call->store;
	struct script_found found;
	struct bucket_answer heard;
	bool ok;

	if (reply->kind == REDIS_ERROR && str_starts(reply->string, STR("NOSCRIPT")) && !call->evaluated) {
		call->evaluated = true;		/* EVAL also loads it, so this is once after each restart */
		if (redis_call_send(call, true))
			return;
	}
	ok = script_answer(call, reply, &heard, &found);
	if (!ok && reply->kind != REDIS_LOST)
		store_redis_ail(call, reply);
	redis_call_unlink(call);	/* a completion may free the store */
	if (ok && !store->proven) {
		store->proven = true;
		loop_timer_clear(&store->try_again);
		store_redis_tell(store, true, "answers");
	}
	call->on_answer(call->arg, &(struct store_answer){ ok, &call->ask, &heard, found.texts, ok ? call->look_count : 0,
	    ok && found.known });
	redis_call_free(call);
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
	redis_call_new(store, buf_str(&store->tried_identity), &store->tried, NULL, 0, on_trial, NULL);
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
store_redis_take(struct store *base, struct str identity, const struct bucket_ask *ask, const struct store_look *looks, size_t look_count,
    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg)
{
	return store_redis_is_up(base)
	    && redis_call_new((struct store_redis *)base, identity, ask, looks, look_count, on_answer, arg);
}

/* What stands at the mark, or nothing. */
static void
on_mark(void *arg, const struct redis_reply *reply)
{
	struct store_glance *glance = arg;

	glance->on_known(glance->arg, reply->kind == REDIS_NIL
	    || (reply->kind == REDIS_STRING && lost_mark_is_of(reply->string, str_from(glance->self->id), glance->self->start)));
}

/* Read the mark, where the store is up. */
static bool
store_redis_glance(struct store *base, struct str identity, struct store_glance *glance)
{
	struct store_redis *store = (struct store_redis *)base;
	struct buf key = BUF_EMPTY;
	bool sent;

	if (!store_redis_is_up(base))
		return false;
	lost_mark_key(&key, buf_str(&store->prefix), identity);
	sent = redis_command(store->redis, (struct str[]){ STR("GET"), buf_str(&key) }, 2, on_mark, glance);
	buf_fini(&key);
	return sent;
}

/* Show a head, where the store is up. */
static bool
store_redis_show(struct store *base, const struct heads_head *own, int64_t keep_ms,
    void (*on_heads)(void *arg, const struct heads *heads, const char *why), void *arg)
{
	struct store_redis *store = (struct store_redis *)base;

	return store_redis_is_up(base) && store_heads_show(&store->heads, own, keep_ms, on_heads, arg);
}

/* Free everything; calls under way are forgotten. */
static void
store_redis_free(struct store *base)
{
	struct store_redis *store = (struct store_redis *)base;

	redis_free(&store->redis);
	while (store->calls) {
		struct redis_call *call = store->calls;

		redis_call_unlink(call);
		redis_call_free(call);
	}
	loop_timer_fini(&store->try_again);
	loop_timer_fini(&store->policy);
	buf_fini(&store->prefix);
	buf_fini(&store->tried_identity);
	free(store);
}

static const struct store_kind redis_kind = {
	.is_up = store_redis_is_up,
	.take = store_redis_take,
	.glance = store_redis_glance,
	.show = store_redis_show,
	.free = store_redis_free,
};

struct store *
store_redis_new(struct loop *loop, struct resolver *resolver, const struct config *config, struct str password,
    struct str identity, const struct bucket_ask *first, void (*on_state)(void *arg, bool up, const char *why), void *arg)
{
	struct redis_settings settings = {
		.host = config->store.host, .port = config->store.port, .db = config->store.db,
		.service = config->store.service, .tls = config->store.tls, .ca_file = config->store.ca_file,
		.username = config->store.username, .password = password, .timeout_us = config->store.timeout_us,
	};
	struct store_redis *store = calloc(1, sizeof(*store));
	struct redis_endpoint *sentinels = calloc(config->store.sentinel_count + 1, sizeof(*sentinels));

	check(store != NULL && sentinels != NULL);
	for (size_t i = 0; i < config->store.sentinel_count; i++)
		sentinels[i] = (struct redis_endpoint){ config->store.sentinels[i].host, config->store.sentinels[i].port };
	settings.sentinels = sentinels;
	settings.sentinel_count = config->store.sentinel_count;
	store_redis_remember(store, identity, first);
	store->store.kind = &redis_kind;
	store->loop = loop;
	store->on_state = on_state;
	store->arg = arg;
	buf_add(&store->prefix, config->store.prefix);
	loop_timer_init(&store->try_again, loop, on_try_again, store);
	loop_timer_init(&store->policy, loop, on_policy_due, store);
	store->redis = redis_new(loop, resolver, &settings, on_redis_state, store);
	free(sentinels);	/* copied */
	store_heads_init(&store->heads, store->redis, buf_str(&store->prefix));
	return &store->store;
}
