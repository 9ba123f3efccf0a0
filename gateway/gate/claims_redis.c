/*
 * Claims in Redis: one script call for each, on a connection of their own.
 *
 *   queued -(up, and has room)----> asked -(script and ROLE have answered)-> heard
 *      |                               |          '- taken, and there are replicas -> gathered -> waiting -(WAIT)-> heard
 *      '------------(lost)-------------'----------------(lost, or no acknowledgement)--> away, and withdrawn
 *
 * One WAIT is under way at a time; it speaks for all claims that were taken before it was sent. Whether there are replicas
 * is asked with each claim, and once there was one on this connection there must be one: a primary that has lost its
 * replicas may be one that others have left.
 *
 * What is settled waits in order until the store has answered it; on a new connection all of it goes before any claim.
 */
#include "gate/claims_redis_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* EVALSHA, the digest, how many keys, the key. */
#define CLAIMS_WORDS (CLAIM_SCRIPT_ARGUMENTS + 4)

static void on_claim(void *arg, const struct redis_reply *reply);
static void on_role(void *arg, const struct redis_reply *reply);
static void on_wait(void *arg, const struct redis_reply *reply);

bool
claims_redis_send(struct claims_redis *redis, struct arena *arena, bool whole, const uint8_t *name, const struct str *arguments,
    size_t count, void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg)
{
	struct str words[CLAIMS_WORDS] = { whole ? STR("EVAL") : STR("EVALSHA"),
		str_from(whole ? claim_script_text : claim_script_sha1), STR("1"),
		claim_script_key(arena, redis->config->store.prefix, name) };

	memcpy(words + 4, arguments, count * sizeof(*words));
	return redis_command(redis->redis, words, count + 4, on_reply, arg);
}

/* Tell who asked, and forget the claim, which is in LIST. */
static void
redis_claim_end(struct redis_claims *list, struct redis_claim *claim, bool ok)
{
	TAILQ_REMOVE(list, claim, link);
	claim->answer.answer = buf_str(&claim->kept);
	claim->on_heard(claim->arg, ok ? &claim->answer : NULL);
	buf_fini(&claim->kept);
	free(claim);
}

/* The store is away for a claim in LIST that it may have: it is given back. */
static void
redis_claim_fail(struct redis_claims *list, struct redis_claim *claim)
{
	struct claims_redis *redis = claim->redis;

	if (!redis->freeing && (!claim->answered || claim->answer.state == CLAIM_TAKEN))
		claims_redis_settle(redis, &claim->ask, CLAIM_FATE_WITHDRAW, STR(""));
	redis_claim_end(list, claim, false);
}

/* Ask a replica to acknowledge what was taken, where nobody is asked already. */
static void
claims_redis_wait(struct claims_redis *redis)
{
	struct redis_claim *claim;
	struct arena arena;

	if (redis->waiting_under_way || TAILQ_EMPTY(&redis->gathered))
		return;
	TAILQ_CONCAT(&redis->waiting, &redis->gathered, link);
	arena_init(&arena);
	redis->waiting_under_way = redis_command(redis->redis, (struct str[]){ STR("WAIT"), STR("1"),
	    arena_printf(&arena, "%" PRId64, redis->config->store.timeout_us / 1000) }, 3, on_wait, redis);
	arena_fini(&arena);
	while (!redis->waiting_under_way && (claim = TAILQ_FIRST(&redis->waiting)) != NULL)
		redis_claim_fail(&redis->waiting, claim);
}

/* A replica has what was taken before, or none says so in time. */
static void
on_wait(void *arg, const struct redis_reply *reply)
{
	struct claims_redis *redis = arg;
	struct redis_claim *claim;
	bool ok = reply->kind == REDIS_INT && reply->integer >= 1;

	redis->waiting_under_way = false;
	while ((claim = TAILQ_FIRST(&redis->waiting)) != NULL) {
		if (ok)
			redis_claim_end(&redis->waiting, claim, true);
		else
			redis_claim_fail(&redis->waiting, claim);
	}
	claims_redis_wait(redis);
}

/* Ask for replicas, and send a claim's script behind it; false where neither went. */
static bool
redis_claim_send(struct redis_claim *claim)
{
	struct claims_redis *redis = claim->redis;
	struct str arguments[CLAIM_SCRIPT_ARGUMENTS];
	struct arena arena;
	size_t count;

	if (!redis_command(redis->redis, (struct str[]){ STR("ROLE") }, 1, on_role, claim))
		return false;
	claim->pending++;
	arena_init(&arena);
	count = claim_script_take(&arena, &claim->ask, arguments);
	if (claims_redis_send(redis, &arena, claim->evaluated, claim->ask.name, arguments, count, on_claim, claim))
		claim->pending++;
	arena_fini(&arena);
	return true;
}

/* A reply to a claim has come: with the last one it is known how it stands. */
static void
redis_claim_heard(struct redis_claim *claim)
{
	struct claims_redis *redis = claim->redis;

	if (--claim->pending > 0)
		return;
	redis->asked_count--;
	if (!claim->answered) {
		redis_claim_fail(&redis->asked, claim);
	} else if (claim->answer.state != CLAIM_TAKEN || !redis->replicated) {
		redis_claim_end(&redis->asked, claim, true);
	} else {
		TAILQ_REMOVE(&redis->asked, claim, link);
		TAILQ_INSERT_TAIL(&redis->gathered, claim, link);
		claims_redis_wait(redis);
	}
	claims_redis_send_queued(redis);
}

/* Read the script's answer to a claim; false where it is none. */
static bool
redis_claim_read(struct redis_claim *claim, const struct redis_reply *reply)
{
	const struct redis_reply *e = reply->elements;

	if (reply->kind != REDIS_ARRAY || reply->element_count != 4 || e[0].kind != REDIS_STRING || e[1].kind != REDIS_STRING
	    || e[2].kind != REDIS_INT || e[3].kind != REDIS_STRING
	    || !claim_script_answer(e[0].string, e[1].string, e[2].integer, e[3].string, &claim->answer))
		return false;
	buf_add(&claim->kept, claim->answer.answer);
	return true;
}

/* The script's answer, or what came in its place. */
static void
on_claim(void *arg, const struct redis_reply *reply)
{
	struct redis_claim *claim = arg;

	if (reply->kind == REDIS_ERROR && str_starts(reply->string, STR("NOSCRIPT")) && !claim->evaluated) {
		claim->evaluated = true;	/* EVAL also loads it, so this is once after each restart */
		redis_claim_send(claim);
	} else {
		claim->answered = redis_claim_read(claim, reply);
	}
	redis_claim_heard(claim);
}

/* How many replicas there are; a server that does not say has none that could be waited for. */
static void
on_role(void *arg, const struct redis_reply *reply)
{
	struct redis_claim *claim = arg;
	const struct redis_reply *e = reply->elements;

	if (reply->kind == REDIS_ARRAY && reply->element_count == 3 && e[2].kind == REDIS_ARRAY && e[2].element_count > 0)
		claim->redis->replicated = true;
	redis_claim_heard(claim);
}

void
claims_redis_send_queued(struct claims_redis *redis)
{
	struct redis_claim *claim;

	while (redis_is_up(redis->redis) && redis->telling_count == redis->end_count && redis->asked_count < CLAIMS_ASKED_MAX
	    && (claim = TAILQ_FIRST(&redis->queued)) != NULL) {
		TAILQ_REMOVE(&redis->queued, claim, link);
		TAILQ_INSERT_TAIL(&redis->asked, claim, link);
		redis->asked_count++;
		if (redis_claim_send(claim))
			continue;
		redis->asked_count--;
		redis_claim_fail(&redis->asked, claim);
	}
}

/* The connection is there, or not. */
static void
on_redis_state(void *arg, bool up, const char *why)
{
	struct claims_redis *redis = arg;
	struct redis_claim *claim;

	redis->told = true;
	redis->told_up = up;
	redis->replicated = false;
	redis->on_state(redis->arg, up, why);
	if (up) {
		claims_redis_flush(redis);
		claims_redis_send_queued(redis);
	}
	/* Those that nothing is sent of are not the store's: nothing is to be withdrawn. */
	while (!up && (claim = TAILQ_FIRST(&redis->queued)) != NULL)
		redis_claim_end(&redis->queued, claim, false);
	while (!up && (claim = TAILQ_FIRST(&redis->gathered)) != NULL)
		redis_claim_fail(&redis->gathered, claim);
}

void
claims_redis_open(struct claims_redis *redis)
{
	const struct config *config = redis->config;
	struct redis_endpoint *sentinels = calloc(config->store.sentinel_count + 1, sizeof(*sentinels));
	struct redis_settings settings = {
		.host = config->store.host, .port = config->store.port, .db = config->store.db,
		.service = config->store.service, .tls = config->store.tls, .ca_file = config->store.ca_file,
		.username = config->store.username, .password = buf_str(&redis->password),
		.timeout_us = 2 * config->store.timeout_us,	/* a WAIT may take one, and what is behind it its own */
	};

	check(sentinels != NULL);
	for (size_t i = 0; i < config->store.sentinel_count; i++)
		sentinels[i] = (struct redis_endpoint){ config->store.sentinels[i].host, config->store.sentinels[i].port };
	settings.sentinels = sentinels;
	settings.sentinel_count = config->store.sentinel_count;
	redis->redis = redis_new(redis->loop, redis->resolver, &settings, on_redis_state, redis);
	free(sentinels);	/* copied */
}

struct claims_redis *
claims_redis_new(struct loop *loop, struct resolver *resolver, struct config *config, struct str password,
    void (*on_state)(void *arg, bool up, const char *why), void (*on_told)(void *arg), void *arg)
{
	struct claims_redis *redis = calloc(1, sizeof(*redis));

	check(redis != NULL);
	redis->loop = loop;
	redis->resolver = resolver;
	redis->config = config_ref(config);
	buf_add(&redis->password, password);
	redis->on_state = on_state;
	redis->on_told = on_told;
	redis->arg = arg;
	TAILQ_INIT(&redis->queued);
	TAILQ_INIT(&redis->asked);
	TAILQ_INIT(&redis->gathered);
	TAILQ_INIT(&redis->waiting);
	TAILQ_INIT(&redis->ends);
	return redis;
}

/* Whoever waits in LIST hears that the store is away. */
static void
claims_redis_fail_all(struct redis_claims *list)
{
	while (!TAILQ_EMPTY(list))
		redis_claim_fail(list, TAILQ_FIRST(list));
}

void
claims_redis_free(struct claims_redis **redis_p)
{
	struct claims_redis *redis = *redis_p;

	if (redis == NULL)
		return;
	*redis_p = NULL;
	redis->freeing = true;
	redis_free(&redis->redis);
	claims_redis_fail_all(&redis->queued);
	claims_redis_fail_all(&redis->asked);
	claims_redis_fail_all(&redis->gathered);
	claims_redis_fail_all(&redis->waiting);
	claims_redis_drop_ends(redis);
	config_unref(&redis->config);
	buf_wipe(&redis->password);
	free(redis);
}

/* Whether the keys are at the same place by A and by B, however it is reached. */
static bool
claims_redis_same_keys(const struct config *a, const struct config *b)
{
	return str_eq(a->store.host, b->store.host) && a->store.port == b->store.port
	    && str_eq(a->store.sentinel_text, b->store.sentinel_text) && a->store.db == b->store.db
	    && str_eq(a->store.prefix, b->store.prefix);
}

bool
claims_redis_is_of(const struct claims_redis *redis, const struct config *config, struct str password)
{
	const struct config *have = redis->config;

	return claims_redis_same_keys(have, config) && have->store.tls == config->store.tls
	    && str_eq(have->store.ca_file, config->store.ca_file) && str_eq(have->store.username, config->store.username)
	    && have->store.timeout_us == config->store.timeout_us && str_eq(buf_str(&redis->password), password);
}

void
claims_redis_inherit(struct claims_redis *redis, struct claims_redis *from)
{
	struct redis_end *end;

	redis_free(&from->redis);
	while (!TAILQ_EMPTY(&from->queued))
		redis_claim_end(&from->queued, TAILQ_FIRST(&from->queued), false);
	claims_redis_fail_all(&from->asked);
	claims_redis_fail_all(&from->gathered);
	claims_redis_fail_all(&from->waiting);
	redis->untold = from->untold;
	if (from->end_count == 0)
		return;
	if (!claims_redis_same_keys(redis->config, from->config)) {
		redis->untold += from->end_count;
		return;
	}
	TAILQ_FOREACH(end, &from->ends, link) {
		end->redis = redis;
		end->sent = false;
	}
	TAILQ_CONCAT(&redis->ends, &from->ends, link);
	redis->end_count = from->end_count;
	from->end_count = 0;
	claims_redis_open(redis);
}

void
claims_redis_take(struct claims_redis *redis, const struct claim_ask *ask, claims_heard *on_heard, void *arg)
{
	struct redis_claim *claim;

	if (redis->redis == NULL)
		claims_redis_open(redis);
	if (redis->told && !redis_is_up(redis->redis)) {
		on_heard(arg, NULL);
		return;
	}
	claim = calloc(1, sizeof(*claim));
	check(claim != NULL);
	claim->redis = redis;
	claim->ask = *ask;
	claim->on_heard = on_heard;
	claim->arg = arg;
	TAILQ_INSERT_TAIL(&redis->queued, claim, link);
	claims_redis_send_queued(redis);
}

bool
claims_redis_unqueue(struct claims_redis *redis, const char id[CLAIM_ID_BYTES])
{
	struct redis_claim *claim;

	TAILQ_FOREACH(claim, &redis->queued, link)
		if (memcmp(claim->ask.id, id, CLAIM_ID_BYTES) == 0) {
			redis_claim_end(&redis->queued, claim, false);
			return true;
		}
	return false;
}

uint64_t
claims_redis_untold(const struct claims_redis *redis)
{
	return redis->untold;
}
