/* The heads of the fleet's journals in Redis. */
#include "gate/store_heads.h"

#include <string.h>

#include "rules/heads_script.h"

void
store_heads_init(struct store_heads *heads, struct redis *redis, struct str prefix)
{
	*heads = (struct store_heads){ .redis = redis, .prefix = prefix };
}

static void on_shown(void *arg, const struct redis_reply *reply);

/* Send the script: by its digest, or whole. */
static bool
heads_send(struct store_heads *heads, bool whole)
{
	struct str words[4 + HEADS_SCRIPT_ARGUMENTS];
	struct arena arena;
	bool sent;

	arena_init(&arena);
	words[0] = whole ? STR("EVAL") : STR("EVALSHA");
	words[1] = str_from(whole ? heads_script_text : heads_script_sha1);
	words[2] = STR("1");
	words[3] = arena_printf(&arena, "%.*s:" HEADS_SCRIPT_LAYOUT ":heads", STR_ARG(heads->prefix));
	heads_script_arguments(&arena, &heads->own, heads->keep_ms, words + 4);
	sent = redis_command(heads->redis, words, sizeof(words) / sizeof(words[0]), on_shown, heads);
	arena_fini(&arena);
	return sent;
}

/* Read the others' heads; what is none is passed over. False where it is no answer of the script's. */
static bool
heads_read(const struct redis_reply *reply, struct heads *others)
{
	*others = (struct heads){ .count = 0 };
	if (reply->kind != REDIS_ARRAY || reply->element_count % HEADS_SCRIPT_VALUES != 0)
		return false;
	for (size_t i = 0; i < reply->element_count; i += HEADS_SCRIPT_VALUES) {
		struct str values[HEADS_SCRIPT_VALUES];
		struct heads_head head;

		for (size_t k = 0; k < HEADS_SCRIPT_VALUES; k++)
			values[k] = reply->elements[i + k].kind == REDIS_STRING ? reply->elements[i + k].string : STR("");
		if (heads_script_head(values, &head))
			heads_add(others, &head);
	}
	return true;
}

/* The script's answer, or what came in its place. */
static void
on_shown(void *arg, const struct redis_reply *reply)
{
	struct store_heads *heads = arg;
	struct heads others;

	if (reply->kind == REDIS_ERROR && str_starts(reply->string, STR("NOSCRIPT")) && !heads->evaluated) {
		heads->evaluated = true;
		if (heads_send(heads, true))
			return;
	}
	heads->busy = false;	/* a completion may free the store */
	if (heads_read(reply, &others))
		heads->on_heads(heads->arg, &others, NULL);
	else
		heads->on_heads(heads->arg, NULL, reply->kind == REDIS_ERROR || reply->kind == REDIS_LOST ?
		    reply->string.p : "an answer of another shape");
}

bool
store_heads_show(struct store_heads *heads, const struct heads_head *own, int64_t keep_ms,
    void (*on_heads)(void *arg, const struct heads *heads, const char *why), void *arg)
{
	if (heads->busy)
		return false;
	heads->own = *own;
	heads->keep_ms = keep_ms;
	heads->on_heads = on_heads;
	heads->arg = arg;
	heads->evaluated = false;
	heads->busy = heads_send(heads, false);
	return heads->busy;
}
