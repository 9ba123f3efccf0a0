/* What the store of claims is told: how they ended, and lost answers, which are also looked for. */
#include "gate/claims_redis_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Ends that wait for the store; each takes up to 4 KB. */
#define CLAIMS_UNTOLD_MAX 10000

static void on_end(void *arg, const struct redis_reply *reply);

/* Forget an end that was told, or cannot be. */
static void
redis_end_drop(struct redis_end *end)
{
	TAILQ_REMOVE(&end->redis->ends, end, link);
	end->redis->end_count--;
	buf_fini(&end->answer);
	buf_fini(&end->key);
	buf_fini(&end->mark);
	buf_fini(&end->who);
	free(end);
}

/* How long a lost answer is still to be remembered, in milliseconds; the store may have been away since. */
static int64_t
redis_end_left_ms(const struct redis_end *end)
{
	return (end->keep_us - mono_since(loop_now(end->redis->loop), end->made)) / 1000;
}

/* Write a lost answer, and its mark: that holds as long as the last of them, and a second more. */
#define CLAIMS_LOST_SCRIPT \
	"local time = redis.call('TIME') " \
	"local now, mark, who = time[1] * 1000 + math.floor(time[2] / 1000), redis.call('GET', KEYS[2]), ARGV[3] " \
	"local ends = now + ARGV[2] + 1000 " \
	"if mark then " \
		"ends = math.max(ends, tonumber(mark:match('^%d+') or 0)) " \
		"if mark:match(' (.*)') ~= who then who = '*' end " \
	"end " \
	"redis.call('SET', KEYS[2], string.format('%.0f', ends) .. ' ' .. who, 'PX', ends - now) " \
	"return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"

/* Write a lost answer; one that is over by now is gone at once. */
static void
redis_end_send_lost(struct redis_end *end)
{
	int64_t left_ms = redis_end_left_ms(end);
	struct arena arena;

	arena_init(&arena);
	end->sent = redis_command(end->redis->redis, (struct str[]){ STR("EVAL"), STR(CLAIMS_LOST_SCRIPT), STR("2"), buf_str(&end->key),
	    buf_str(&end->mark), buf_str(&end->answer), arena_printf(&arena, "%" PRId64, left_ms < 1 ? 1 : left_ms), buf_str(&end->who) }, 8,
	    on_end, end);
	end->redis->telling_count += end->sent;
	arena_fini(&arena);
}

/* Send an end. */
static void
redis_end_send(struct redis_end *end)
{
	struct str arguments[CLAIM_SCRIPT_ARGUMENTS];
	struct arena arena;
	size_t count;

	if (end->key.n > 0) {
		redis_end_send_lost(end);
		return;
	}
	arena_init(&arena);
	count = claim_script_settle(&arena, end->id, end->fate, buf_str(&end->answer), end->keep_us, arguments);
	end->sent = claims_redis_send(end->redis, &arena, end->evaluated, end->name, arguments, count, on_end, end);
	end->redis->telling_count += end->sent;
	arena_fini(&arena);
}

void
claims_redis_flush(struct claims_redis *redis)
{
	struct redis_end *end;

	if (redis->redis == NULL || !redis_is_up(redis->redis))
		return;
	TAILQ_FOREACH(end, &redis->ends, link) {
		if (!end->sent && redis->telling_count < CLAIMS_TELLING_MAX)
			redis_end_send(end);
		if (!end->sent)
			return;
	}
}

/* The store has taken an end; where the connection was lost, or leads to none that takes any, it is sent again. */
static void
on_end(void *arg, const struct redis_reply *reply)
{
	struct redis_end *end = arg;
	struct claims_redis *redis = end->redis;

	redis->telling_count--;
	if (reply->kind == REDIS_LOST || redis_reply_disowns(reply)) {
		end->sent = false;
		return;
	}
	if (reply->kind == REDIS_ERROR && str_starts(reply->string, STR("NOSCRIPT")) && !end->evaluated) {
		end->evaluated = true;
		redis_end_send(end);
	} else {
		if (reply->kind == REDIS_ERROR)
			redis->untold++;	/* no second attempt would do better; the lease runs out */
		redis_end_drop(end);
	}
	claims_redis_flush(redis);
	claims_redis_send_queued(redis);
	if (TAILQ_EMPTY(&redis->ends))
		redis->on_told(redis->arg);
}

bool
claims_redis_has_ends(const struct claims_redis *redis)
{
	return !TAILQ_EMPTY(&redis->ends);
}

/* Put an end behind the others, and send what can be. */
static void
claims_redis_put(struct claims_redis *redis, struct redis_end *end)
{
	struct redis_end *oldest;

	end->redis = redis;
	end->made = loop_now(redis->loop);
	TAILQ_INSERT_TAIL(&redis->ends, end, link);
	if (++redis->end_count > CLAIMS_UNTOLD_MAX && (oldest = TAILQ_FIRST(&redis->ends)) != NULL && !oldest->sent) {
		redis->untold++;
		redis_end_drop(oldest);
	}
	if (redis->redis == NULL)
		claims_redis_open(redis);
	claims_redis_flush(redis);
}

void
claims_redis_settle(struct claims_redis *redis, const struct claim_ask *ask, enum claim_fate fate, struct str answer)
{
	struct redis_end *end;

	if (claims_redis_unqueue(redis, ask->id))
		return;
	end = calloc(1, sizeof(*end));
	check(end != NULL);
	memcpy(end->name, ask->name, sizeof(end->name));
	memcpy(end->id, ask->id, sizeof(end->id));
	end->fate = fate;
	end->keep_us = ask->keep_us;
	buf_add(&end->answer, answer);
	claims_redis_put(redis, end);
}

void
claims_redis_publish(struct claims_redis *redis, struct str tag, const uint8_t *name, struct str text, int64_t keep_us, struct str who)
{
	struct redis_end *end = calloc(1, sizeof(*end));

	check(end != NULL);
	lost_key(&end->key, redis->config->store.prefix, tag, name);
	lost_mark_key(&end->mark, redis->config->store.prefix, tag);
	buf_add(&end->who, who);
	buf_add(&end->answer, text);
	end->keep_us = keep_us;
	claims_redis_put(redis, end);
}

/* Take an answer for one alone, as the grant's script does. */
#define CLAIMS_LOOK_SCRIPT \
	"local v = redis.call('GET', KEYS[1]) " \
	"if v and v:sub(1, 1) == 'A' then redis.call('SET', KEYS[1], 'N' .. v:sub(2, 37), 'PX', 10000) end " \
	"return v or ''"

/* The store has said what it has of a lost answer. */
static void
on_looked(void *arg, const struct redis_reply *reply)
{
	struct redis_look *look = arg;

	LIST_REMOVE(look, link);
	look->on_found(look->arg, reply->kind != REDIS_STRING, reply->kind == REDIS_STRING ? reply->string : STR(""));
	free(look);
}

void
claims_redis_look(struct claims_redis *redis, struct str tag, const uint8_t *name, claims_looked *on_found, void *arg)
{
	struct redis_look *look = calloc(1, sizeof(*look));
	struct buf key = BUF_EMPTY;

	check(look != NULL);
	look->on_found = on_found;
	look->arg = arg;
	LIST_INSERT_HEAD(&redis->looks, look, link);
	if (redis->redis == NULL)
		claims_redis_open(redis);
	lost_key(&key, redis->config->store.prefix, tag, name);
	if (!redis_command(redis->redis, (struct str[]){ STR("EVAL"), STR(CLAIMS_LOOK_SCRIPT), STR("1"), buf_str(&key) }, 4, on_looked, look))
		on_looked(look, &(struct redis_reply){ .kind = REDIS_LOST });
	buf_fini(&key);
}

void
claims_redis_drop_ends(struct claims_redis *redis)
{
	while (!LIST_EMPTY(&redis->looks))
		on_looked(LIST_FIRST(&redis->looks), &(struct redis_reply){ .kind = REDIS_LOST });
	while (!TAILQ_EMPTY(&redis->ends))
		redis_end_drop(TAILQ_FIRST(&redis->ends));
}
