/* The limiter's view of the configuration: which bucket an index means, and which store it speaks to. */
#include "gate/limiter_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"

/* A request lives minutes at most: who came under a configuration this many reloads ago is gone. */
#define LIMITER_VIEWS_NAMED 8
#define LIMITER_STILL_DOWN_US (30 * (int64_t)CLOCK_SECOND)

/* The identity of that name, made where there is none yet. */
static struct limiter_identity *
config_identity(struct limiter *limiter, const struct config_identity *stated, const struct quota *quota,
    size_t capacity)
{
	struct limiter_identity *identity = limiter->identities;

	while (identity && (identity->of || !str_eq(buf_str(&identity->name), stated->name)))
		identity = identity->next;
	if (identity == NULL) {
		identity = calloc(1, sizeof(*identity));
		check(identity != NULL);
		queue_init(&identity->queue, quota, capacity, MEMBER_KEEP_US, loop_now(limiter->loops[0]));
		limiter_identity_init(identity, limiter, stated->name);
		identity->next = limiter->identities;
		limiter->identities = identity;
	}
	queue_set_quota(&identity->queue, quota, capacity, MEMBER_KEEP_US);
	limiter_principal_set_quota(limiter, identity);
	atomic_store(&identity->limit, quota->requests);
	return identity;
}

/* What the indices of CONFIG mean. */
static struct limiter_view *
config_view_new(struct limiter *limiter, struct config *config)
{
	struct limiter_view *view = calloc(1, sizeof(*view));
	size_t queue = config->wait_queue > 0 ? (size_t)config->wait_queue : 0;

	check(view != NULL);
	view->config = config_ref(config);
	view->identity_count = config->identity_count;
	view->identities = calloc(config->identity_count, sizeof(*view->identities));
	view->caller_count = config->caller_count;
	view->caller_waiting = calloc(config->caller_count + 1, sizeof(*view->caller_waiting));
	view->caller_queue = calloc(config->caller_count + 1, sizeof(*view->caller_queue));
	check(view->identities != NULL && view->caller_waiting != NULL && view->caller_queue != NULL);
	for (size_t i = 0; i < config->identity_count; i++) {
		struct quota quota;
		const char *why;

		check(quota_derive(&config->identities[i].quota, &quota, &why));	/* config_parse has made sure */
		view->identities[i] = config_identity(limiter, &config->identities[i], &quota, queue);
	}
	for (size_t i = 0; i < config->caller_count; i++)
		view->caller_queue[i] = config->callers[i].wait_queue;
	return view;
}

const struct limiter_view *
limiter_view_of(struct limiter *limiter, const struct config *config)
{
	struct limiter_view *newest = atomic_load(&limiter->view), *view = newest;

	while (config && view && view->config != config)
		view = view->next;
	return config && view ? view : newest;
}

/* Put a limit into STORAGE, called by KIND and NAME. */
static void
key_add(struct queue_lane_key *key, struct bucket_limit *storage, char kind, struct str name, const struct config_rate *rate)
{
	struct bucket_limit *limit = &storage[key->limit_count++];

	snprintf(limit->name, sizeof(limit->name), "%c:%.*s", kind, STR_ARG(name));
	limit->requests = rate->requests;
	limit->window_us = rate->window_us;
	limit->burst = rate->burst;
}

bool
limiter_key(const struct limiter_view *view, size_t caller, uint32_t limits, struct bucket_limit storage[BUCKET_LANE_LIMITS_MAX],
    struct queue_lane_key *key)
{
	const struct config *config = view->config;

	if (config == NULL)
		return false;
	*key = (struct queue_lane_key){ "", 1, storage, 0 };
	if (caller < config->caller_count) {
		key->flow = config->callers[caller].name.p;	/* a NUL stands behind it */
		key->weight = config->callers[caller].weight;
		if (config->callers[caller].rate.requests > 0)
			key_add(key, storage, 'c', config->callers[caller].name, &config->callers[caller].rate);
	}
	for (size_t i = 0; i < config->rate_limit_count; i++)
		if (limits >> i & 1)
			key_add(key, storage, 'r', config->rate_limits[i].name, &config->rate_limits[i].rate);
	return true;
}

/* The store is another, or its condition: whoever is there asks anew. */
static void
config_reopen(struct limiter *limiter)
{
	struct limiter_identity *identity;

	for (identity = limiter->identities; identity; identity = identity->next) {
		member_connected(&identity->member);
		queue_set_open(&identity->queue, false, loop_now(limiter->loops[0]));
		limiter_wake(identity);
	}
}

/* Say that the store is still away. */
static void
on_still_down(void *arg)
{
	struct limiter *limiter = arg;
	struct mono_time now = loop_now(limiter->loops[0]);

	log_line(LOG_WARN, "store still down", log_s("reason", buf_str(&limiter->down_why)),
	    log_i("seconds", mono_since(now, limiter->store_since) / CLOCK_SECOND));
	loop_timer_at(&limiter->still_down, mono_add(now, LIMITER_STILL_DOWN_US));
}

/* The store's condition has changed. */
static void
on_store_state(void *arg, bool up, const char *why)
{
	struct limiter *limiter = arg;
	struct mono_time now = loop_now(limiter->loops[0]);
	bool was_up = atomic_exchange(&limiter->store_up, up);

	if (up != was_up)
		limiter->store_since = now;
	atomic_store(&limiter->store_evicts, store_evicts(limiter->store));
	atomic_store(&limiter->store_tried, true);
	if (up) {
		log_line(LOG_INFO, "store up", log_z("reason", why));
		loop_timer_clear(&limiter->still_down);
	} else {
		log_line(LOG_WARN, "store down", log_z("reason", why));
		buf_clear(&limiter->down_why);
		buf_add_z(&limiter->down_why, why);
		loop_timer_at(&limiter->still_down, mono_add(now, LIMITER_STILL_DOWN_US));
	}
	if (up != was_up)
		config_reopen(limiter);
}

/* Does CONFIG name the store that is in use? */
static bool
config_same_store(const struct limiter *limiter, const struct config *config, struct str password)
{
	const struct config *used = limiter->store_config;

	if (limiter->store == NULL || used->store.redis != config->store.redis)
		return false;
	if (!config->store.redis)
		return true;
	return str_eq(used->store.host, config->store.host) && used->store.port == config->store.port
	    && str_eq(used->store.sentinel_text, config->store.sentinel_text) && used->store.tls == config->store.tls
	    && str_eq(used->store.ca_file, config->store.ca_file)
	    && used->store.db == config->store.db && str_eq(used->store.username, config->store.username)
	    && str_eq(used->store.prefix, config->store.prefix) && used->store.timeout_us == config->store.timeout_us
	    && str_eq(buf_str(&limiter->password), password);
}

/*
 * Leave the store in use, if any, for the one that CONFIG names. Its buckets begin empty, so nothing is minted by
 * that.
 */
static void
config_open_store(struct limiter *limiter, struct config *config, struct str password)
{
	struct limiter_identity *identity;
	struct bucket_ask *first = calloc(1, sizeof(*first));
	struct quota quota;
	struct member self;
	const char *why;

	check(first != NULL && quota_derive(&config->identities[0].quota, &quota, &why));
	member_init(&self, &limiter->self);
	member_ask(&self, &quota, loop_now(limiter->loops[0]), first);
	store_free(&limiter->store);
	for (identity = limiter->identities; identity; identity = identity->next) {
		if (identity->queue.calling)
			queue_failed(&identity->queue, loop_now(limiter->loops[0]));
		queue_glanced(&identity->queue, false);
	}
	config_reopen(limiter);
	config_unref(&limiter->store_config);
	limiter->store_config = config_ref(config);
	buf_wipe(&limiter->password);
	buf_add(&limiter->password, password);
	loop_timer_clear(&limiter->still_down);
	limiter->store_since = loop_now(limiter->loops[0]);
	buf_clear(&limiter->down_why);
	atomic_store(&limiter->store_up, !config->store.redis);
	atomic_store(&limiter->store_evicts, false);
	if (config->store.redis) {
		limiter->store = store_redis_new(limiter->loops[0], limiter->resolver, config, password,
		    config->identities[0].name, first, on_store_state, limiter);
	} else {
		limiter->store = store_embedded_new(limiter->loops[0]);
		atomic_store(&limiter->store_tried, true);
	}
	free(first);
}

void
limiter_take_config(struct limiter *limiter, struct config *config, struct str password)
{
	struct limiter_view *view, *old;
	struct limiter_identity *identity;
	int named = 0;

	if (password.n == 0)
		password = config->store.password;	/* of the url */
	if (!config_same_store(limiter, config, password))
		config_open_store(limiter, config, password);
	atomic_store(&limiter->share, config->store.redis && config->store.share);
	/* Who is named no longer keeps its bucket for the requests that it has, but is no member of it. */
	for (identity = limiter->identities; identity; identity = identity->next)
		identity->queue.keep_us = 0;
	view = config_view_new(limiter, config);
	view->next = atomic_load(&limiter->view);
	atomic_store(&limiter->view, view);
	for (old = view; old; old = old->next)
		if (++named > LIMITER_VIEWS_NAMED)
			config_unref(&old->config);
	for (identity = limiter->identities; identity; identity = identity->next)
		limiter_wake(identity);
}

void
limiter_config_init(struct limiter *limiter)
{
	loop_timer_init(&limiter->still_down, limiter->loops[0], on_still_down, limiter);
}

void
limiter_config_fini(struct limiter *limiter)
{
	struct limiter_view *view;
	struct limiter_identity *identity;

	loop_timer_fini(&limiter->still_down);
	loop_timer_fini(&limiter->sweep);
	store_free(&limiter->store);
	while ((identity = limiter->identities) != NULL) {
		limiter->identities = identity->next;
		limiter_identity_fini(identity);
		free(identity);
	}
	while ((view = atomic_load(&limiter->view)) != NULL) {
		atomic_store(&limiter->view, view->next);
		config_unref(&view->config);
		free(view->identities);
		free(view->caller_waiting);
		free(view->caller_queue);
		free(view);
	}
	config_unref(&limiter->store_config);
	buf_wipe(&limiter->password);
	buf_fini(&limiter->down_why);
}
