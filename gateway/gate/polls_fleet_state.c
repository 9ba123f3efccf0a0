/*
 * Whether instances share polls: the connection and its illnesses, how full Redis is, and the changes that others are
 * to hear of.
 */
#include "gate/polls_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"

/* A Redis without room, or one that answers errors, is left alone for so long. */
#define FLEET_FULL_US (10 * (int64_t)CLOCK_SECOND)
#define FLEET_ILL_US (10 * (int64_t)CLOCK_SECOND)
/* How often it is looked how full Redis is; of its memory so many per cent are for others. */
#define FLEET_MEMORY_US (5 * (int64_t)CLOCK_SECOND)
#define FLEET_SPARE_PERCENT 10

/* A change that is being told. */
struct fleet_change { struct polls *polls; struct poll_id id; };

bool
polls_fleet_is_up(const struct polls *polls)
{
	return polls_share_is_up(polls->share) && mono_since(polls->ill_until, loop_now(polls->loops[0])) <= 0;
}

/* It is shared, or not: say so where that has changed. */
static void
fleet_tell(struct polls *polls, bool up, const char *why)
{
	if (atomic_exchange(&polls->share_up, up) == up && polls->share_told)
		return;
	polls->share_told = true;
	log_line(up ? LOG_INFO : LOG_WARN, up ? "polls shared" : "polls not shared", log_z("reason", why));
}

void
polls_fleet_heed_error(struct polls *polls, const struct redis_reply *reply)
{
	if (atomic_load(&polls->closed) || reply->kind == REDIS_LOST)
		return;
	if (reply->kind != REDIS_ERROR) {
		fleet_tell(polls, true, "answers");
	} else if (!str_starts(reply->string, STR("OOM"))) {
		polls->ill_until = mono_add(loop_now(polls->loops[0]), FLEET_ILL_US);
		fleet_tell(polls, false, reply->string.p);
	}
}

void
polls_fleet_is_full(struct polls *polls)
{
	struct poll_id ids[POLLS_SHARE_BATCH];
	struct poll_entry *entry;
	size_t count = 0;

	if (mono_since(polls->full_until, loop_now(polls->loops[0])) <= 0)
		log_line(LOG_WARN, "polls' store is full", log_z("message", "what is kept of polls is dropped there"));
	polls->full_until = mono_add(loop_now(polls->loops[0]), FLEET_FULL_US);
	TAILQ_FOREACH(entry, &polls->table.used, used) {
		if (entry->answer == NULL || !entry->answer->ours)
			continue;
		entry->answer->ours = false;
		ids[count++] = entry->id;
		if (count == POLLS_SHARE_BATCH) {
			polls_share_remove(polls->share, ids, count);
			count = 0;
		}
	}
	polls_share_remove(polls->share, ids, count);
}

/* Remember that a change of RESOURCE is to be told when that is possible. */
static void
fleet_remember_change(struct polls *polls, const uint8_t resource[POLL_DIGEST_BYTES])
{
	memcpy(polls->untold[polls->untold_count++ % POLLS_UNTOLD_MAX], resource, POLL_DIGEST_BYTES);
}

/* A change was told, or is to be told again. */
static void
on_change(void *arg, const struct redis_reply *reply)
{
	struct fleet_change *change = arg;

	polls_fleet_heed_error(change->polls, reply);
	if (!atomic_load(&change->polls->closed) && (reply->kind == REDIS_LOST || reply->kind == REDIS_ERROR))
		fleet_remember_change(change->polls, change->id.resource);
	free(change);
}

void
polls_fleet_change(struct polls *polls, const uint8_t resource[POLL_DIGEST_BYTES])
{
	struct fleet_change *change;

	if (polls->share == NULL)
		return;
	change = calloc(1, sizeof(*change));
	check(change != NULL);
	change->polls = polls;
	memcpy(change->id.resource, resource, POLL_DIGEST_BYTES);
	if (polls_share_call(polls->share, &change->id, "change", polls->keep_us, NULL, 0, on_change, change))
		return;
	free(change);
	fleet_remember_change(polls, resource);
}

/* Tell the changes that could not be told. */
static void
fleet_catch_up(struct polls *polls)
{
	size_t count = polls->untold_count < POLLS_UNTOLD_MAX ? polls->untold_count : POLLS_UNTOLD_MAX;
	uint8_t untold[POLLS_UNTOLD_MAX][POLL_DIGEST_BYTES];

	memcpy(untold, polls->untold, sizeof(untold));
	polls->untold_count = 0;
	for (size_t i = 0; i < count; i++)
		polls_fleet_change(polls, untold[i]);
}

/* What is forgotten here for want of room is of no use there. */
static void
on_evicted(void *arg, const struct poll_entry *entry)
{
	struct polls *polls = arg;

	if (entry->answer->ours)
		polls_share_remove(polls->share, &entry->id, 1);
}

/* The number behind NAME in the text of INFO; 0 where there is none. */
static uint64_t
fleet_info(struct str text, struct str name)
{
	struct str line;
	uint64_t n = 0;

	while (str_next(&text, '\n', &line)) {
		line = str_sub(line, 0, str_find_char(line, '\r'));
		if (str_starts(line, name) && str_to_u64(str_sub(line, name.n, line.n), &n))
			return n;
	}
	return 0;
}

/*
 * How full Redis is. What is kept of polls goes before it is full: the limiter's buckets may be in the same memory, and
 * they shall not be the first to hear of that. A server that does not say it is left to say OOM.
 */
static void
on_memory(void *arg, const struct redis_reply *reply)
{
	struct polls *polls = arg;
	uint64_t used, most;

	if (reply->kind != REDIS_STRING)
		return;
	used = fleet_info(reply->string, STR("used_memory:"));
	most = fleet_info(reply->string, STR("maxmemory:"));
	if (most > 0 && used > most - most / 100 * FLEET_SPARE_PERCENT)
		polls_fleet_is_full(polls);
}

/* Look how full it is. */
static void
on_memory_due(void *arg)
{
	struct polls *polls = arg;

	polls_share_memory(polls->share, on_memory, polls);
	loop_timer_at(&polls->memory, mono_add(loop_now(polls->loops[0]), FLEET_MEMORY_US));
}

void
polls_fleet_init(struct polls *polls)
{
	loop_timer_init(&polls->memory, polls->loops[0], on_memory_due, polls);
}

void
polls_fleet_close(struct polls *polls)
{
	loop_timer_fini(&polls->memory);
	polls_share_free(&polls->share);
}

/* The connection is there, or not. */
static void
on_share_state(void *arg, bool up, const char *why)
{
	struct polls *polls = arg;

	polls->ill_until.us = 0;
	fleet_tell(polls, up, why);
	loop_timer_clear(&polls->memory);
	if (!up)
		return;
	fleet_catch_up(polls);
	on_memory_due(polls);
}

/* Whether CONFIG has instances share by something. */
static bool
fleet_is_wanted(const struct config *config)
{
	return config->polls_store.redis && config->polls.refresh_us > 0;
}

/* Whether CONFIG, with PASSWORD, has them share by what is in use. */
static bool
fleet_is_same(const struct polls *polls, const struct config *config, struct str password)
{
	const struct config_store *store = &config->polls_store, *used;

	if (polls->config == NULL || fleet_is_wanted(polls->config) != fleet_is_wanted(config))
		return false;
	used = &polls->config->polls_store;
	return !fleet_is_wanted(config) || (str_eq(used->host, store->host) && used->port == store->port
	    && used->tls == store->tls && str_eq(used->sentinel_text, store->sentinel_text)
	    && str_eq(used->service, store->service) && str_eq(used->ca_file, store->ca_file) && used->db == store->db
	    && str_eq(used->username, store->username) && str_eq(used->prefix, store->prefix)
	    && used->timeout_us == store->timeout_us && str_eq(buf_str(&polls->password), password));
}

void
polls_fleet_open(struct polls *polls, struct config *config, struct str password)
{
	const struct config_store *store = &config->polls_store;
	bool same;

	if (password.n == 0)
		password = store->password;	/* of the url */
	same = fleet_is_same(polls, config, password);
	config_ref(config);
	config_unref(&polls->config);
	polls->config = config;
	if (same)
		return;
	polls_share_free(&polls->share);
	buf_wipe(&polls->password);
	buf_add(&polls->password, password);
	atomic_store(&polls->share_up, false);
	polls->share_told = false;
	polls->table.on_evicted = on_evicted;
	polls->table.arg = polls;
	if (fleet_is_wanted(config))
		polls->share = polls_share_new(polls->loops[0], polls->resolver, store, password, on_share_state,
		    polls);
}
