/* Kept answers in Redis. */
#include "gate/polls_share.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/poll_script.h"

/* EVALSHA, its digest, the number of keys, two keys, the operation, the time. */
#define SHARE_WORDS 7

struct share_call {
	struct share_call *next, **self;	/* in share->calls */
	struct polls_share *share;
	struct buf *words;		/* owned, with their bytes: they may be sent again */
	size_t count;
	bool evaluated;			/* the text was sent: no second time */
	void (*on_reply)(void *arg, const struct redis_reply *reply);
	void *arg;
};

struct polls_share {
	struct redis *redis;
	struct buf prefix;
	struct share_call *calls;	/* under way */
};

bool
polls_share_is_up(const struct polls_share *share)
{
	return share && redis_is_up(share->redis);
}

struct polls_share *
polls_share_new(struct loop *loop, struct resolver *resolver, const struct config_store *store, struct str password,
    void (*on_state)(void *arg, bool up, const char *why), void *arg)
{
	struct redis_settings settings = {
		.host = store->host, .port = store->port, .db = store->db, .service = store->service, .tls = store->tls,
		.ca_file = store->ca_file, .username = store->username, .password = password,
		    .timeout_us = store->timeout_us,
	};
	struct polls_share *share = calloc(1, sizeof(*share));
	struct redis_endpoint *sentinels = calloc(store->sentinel_count + 1, sizeof(*sentinels));

	check(share != NULL && sentinels != NULL);
	for (size_t i = 0; i < store->sentinel_count; i++)
		sentinels[i] = (struct redis_endpoint){ store->sentinels[i].host, store->sentinels[i].port };
	settings.sentinels = sentinels;
	settings.sentinel_count = store->sentinel_count;
	buf_add(&share->prefix, store->prefix);
	share->redis = redis_new(loop, resolver, &settings, on_state, arg);
	free(sentinels);	/* copied */
	return share;
}

/* Take a call out of the list, and free it. */
static void
share_call_free(struct share_call *call)
{
	*call->self = call->next;
	if (call->next)
		call->next->self = call->self;
	for (size_t i = 0; i < call->count; i++)
		buf_fini(&call->words[i]);
	free(call->words);
	free(call);
}

void
polls_share_free(struct polls_share **share_p)
{
	struct polls_share *share = *share_p;

	if (share == NULL)
		return;
	*share_p = NULL;
	redis_free(&share->redis);
	while (share->calls) {
		struct share_call *call = share->calls;
		void (*on_reply)(void *arg, const struct redis_reply *reply) = call->on_reply;
		void *arg = call->arg;

		share_call_free(call);
		on_reply(arg, &(struct redis_reply){ .kind = REDIS_LOST, .string = STR("it was left") });
	}
	buf_fini(&share->prefix);
	free(share);
}

/* Append the name of an entry's key, or of its resource's where KEY is NULL. */
static void
share_key(const struct polls_share *share, const struct poll_id *id, const uint8_t *key, struct buf *out)
{
	char hex[POLLS_HEX_BYTES];

	buf_add(out, buf_str(&share->prefix));
	buf_add_z(out, ":polls:" POLL_SCRIPT_LAYOUT ":{");
	str_hex_encode(id->resource, POLL_DIGEST_BYTES, hex);
	buf_add(out, (struct str){ hex, sizeof(hex) });
	buf_add_char(out, '}');
	if (key == NULL)
		return;
	buf_add_char(out, ':');
	str_hex_encode(key, POLL_DIGEST_BYTES, hex);
	buf_add(out, (struct str){ hex, sizeof(hex) });
}

static void on_script(void *arg, const struct redis_reply *reply);

/* Send a call's words. */
static bool
share_call_send(struct share_call *call)
{
	struct str *words = calloc(call->count, sizeof(*words));
	bool sent;

	check(words != NULL);
	for (size_t i = 0; i < call->count; i++)
		words[i] = buf_str(&call->words[i]);
	sent = redis_command(call->share->redis, words, call->count, on_script, call);
	free(words);
	return sent;
}

/* The script's answer; a server that does not know it is told its text once. */
static void
on_script(void *arg, const struct redis_reply *reply)
{
	struct share_call *call = arg;
	void (*on_reply)(void *arg, const struct redis_reply *reply) = call->on_reply;
	void *reply_arg = call->arg;

	if (reply->kind == REDIS_ERROR && str_starts(reply->string, STR("NOSCRIPT")) && !call->evaluated) {
		call->evaluated = true;
		buf_clear(&call->words[0]);
		buf_add_z(&call->words[0], "EVAL");
		buf_clear(&call->words[1]);
		buf_add_z(&call->words[1], poll_script_text);
		if (share_call_send(call))
			return;
	}
	share_call_free(call);		/* a completion may free the share */
	on_reply(reply_arg, reply);
}

/* Fill in the words of a call. */
static void
share_call_fill(struct share_call *call, const struct poll_id *id, const char *op, int64_t keep_us,
    const struct str *arguments,
    size_t count)
{
	call->count = SHARE_WORDS + count;
	call->words = calloc(call->count, sizeof(*call->words));
	check(call->words != NULL);
	buf_add_z(&call->words[0], "EVALSHA");
	buf_add_z(&call->words[1], poll_script_sha1);
	buf_add_z(&call->words[2], "2");
	share_key(call->share, id, id->key, &call->words[3]);
	share_key(call->share, id, NULL, &call->words[4]);
	buf_add_z(&call->words[5], op);
	buf_add_int(&call->words[6], keep_us / CLOCK_MS);
	for (size_t i = 0; i < count; i++)
		buf_add(&call->words[SHARE_WORDS + i], arguments[i]);
}

bool
polls_share_call(struct polls_share *share, const struct poll_id *id, const char *op, int64_t keep_us,
    const struct str *arguments,
    size_t count, void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg)
{
	struct share_call *call;

	if (!polls_share_is_up(share))
		return false;
	call = calloc(1, sizeof(*call));
	check(call != NULL);
	*call = (struct share_call){ .next = share->calls, .self = &share->calls, .share = share, .on_reply = on_reply,
		.arg = arg };
	if (call->next)
		call->next->self = &call->next;
	share->calls = call;
	share_call_fill(call, id, op, keep_us, arguments, count);
	if (share_call_send(call))
		return true;
	share_call_free(call);
	return false;
}

void
polls_share_memory(struct polls_share *share, void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg)
{
	if (polls_share_is_up(share))
		redis_command(share->redis, (struct str[]){ STR("INFO"), STR("memory") }, 2, on_reply, arg);
}

/* What is said to a removal does not matter: what is left expires. */
static void
on_removed(void *arg, const struct redis_reply *reply)
{
	(void)arg;
	(void)reply;
}

void
polls_share_remove(struct polls_share *share, const struct poll_id *ids, size_t count)
{
	struct str words[POLLS_SHARE_BATCH + 1] = { STR("UNLINK") };
	struct buf keys[POLLS_SHARE_BATCH] = { BUF_EMPTY };

	check(count <= POLLS_SHARE_BATCH);
	if (count == 0 || !polls_share_is_up(share))
		return;
	for (size_t i = 0; i < count; i++) {
		share_key(share, &ids[i], ids[i].key, &keys[i]);
		words[i + 1] = buf_str(&keys[i]);
	}
	redis_command(share->redis, words, count + 1, on_removed, NULL);
	for (size_t i = 0; i < count; i++)
		buf_fini(&keys[i]);
}
