/* How the limiter stands, as JSON for people: the store, the upstream's 429s, each identity. On the limiter's loop. */
#include "gate/limiter_private.h"

/* What a person would read. */
#define STATUS_PRINCIPALS_MAX 20

/* The Redis server's address, or what its Sentinels are asked for. */
static void
status_address(const struct config *config, struct buf *out)
{
	bool v6 = str_find_char(config->store.host, ':') < config->store.host.n;

	if (config->store.sentinel_count > 0)
		buf_printf(out, "%.*s by Sentinel", STR_ARG(config->store.service));
	else
		buf_printf(out, v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(config->store.host), config->store.port);
}

/* The store. */
static void
status_store(const struct limiter *limiter, struct jsonw *w)
{
	const struct config *config = limiter->store_config;
	bool up = atomic_load(&limiter->store_up);
	struct buf address = BUF_EMPTY;

	jsonw_object(w, "store");
	jsonw_string(w, "kind", config->store.redis ? STR("redis") : STR("embedded"));
	if (config->store.redis) {
		status_address(config, &address);
		jsonw_string(w, "address", buf_str(&address));
		jsonw_string(w, "on_failure", atomic_load(&limiter->share) ? STR("share") : STR("closed"));
	}
	jsonw_bool(w, "up", up);
	jsonw_bool(w, "tried", atomic_load(&limiter->store_tried));
	jsonw_int(w, "since_ms", mono_since(loop_now(limiter->loops[0]), limiter->store_since) / CLOCK_MS);
	jsonw_string_or_null(w, "why", up || limiter->down_why.n == 0 ? (struct str){ NULL, 0 } : buf_str(&limiter->down_why));
	jsonw_bool(w, "evicts", atomic_load(&limiter->store_evicts));
	jsonw_int(w, "commands_ok", (int64_t)atomic_load(&limiter->commands_ok));
	jsonw_int(w, "commands_failed", (int64_t)atomic_load(&limiter->commands_failed));
	jsonw_end_object(w);
	buf_fini(&address);
}

/* One 429. */
static void
status_thrown(const struct limiter_thrown *thrown, struct jsonw *w)
{
	char time[CLOCK_RFC3339_BYTES];

	clock_format_rfc3339(thrown->at, time);
	jsonw_object(w, NULL);
	jsonw_string(w, "time", str_from(time));
	jsonw_int(w, "ago_ms", (clock_now_wall().us - thrown->at.us) / CLOCK_MS);
	jsonw_string(w, "identity", buf_str(&thrown->identity->name));
	jsonw_int(w, "pause_ms", thrown->pause_us / CLOCK_MS);
	jsonw_bool(w, "here", thrown->here);
	jsonw_end_object(w);
}

/* The upstream's 429s: how many, and the last, the newest first. */
static void
status_throttled(const struct limiter *limiter, struct jsonw *w)
{
	uint64_t n = limiter->thrown_count;

	jsonw_object(w, "throttled");
	jsonw_int(w, "here", (int64_t)limiter->thrown_here);
	jsonw_array(w, "last");
	for (uint64_t i = 0; i < n && i < LIMITER_THROWN_COUNT; i++)
		status_thrown(&limiter->thrown[(n - 1 - i) % LIMITER_THROWN_COUNT], w);
	jsonw_end_array(w);
	jsonw_end_object(w);
}

/* Principals of whom somebody waits, or whom the upstream has stopped: the first of them, as identities of their own. */
static void
status_principals(const struct limiter *limiter, struct jsonw *w)
{
	struct mono_time now = loop_now(limiter->loops[0]);
	const struct limiter_identity *identity;
	int shown = 0;

	for (identity = limiter->identities; identity && shown < STATUS_PRINCIPALS_MAX; identity = identity->next)
		if (identity->of && (identity->queue.count > 0 || limiter_paused_us(identity, now) > 0)) {
			limiter_write_identity(identity, w);
			shown++;
		}
}

void
limiter_write_status(struct limiter *limiter, struct buf *out)
{
	const struct limiter_view *view = atomic_load(&limiter->view);
	struct jsonw w = { out, false };

	jsonw_object(&w, NULL);
	status_store(limiter, &w);
	status_throttled(limiter, &w);
	jsonw_array(&w, "identities");
	for (size_t i = 0; i < view->identity_count; i++)
		limiter_write_identity(view->identities[i], &w);
	status_principals(limiter, &w);
	jsonw_end_array(&w);
	jsonw_end_object(&w);
}
