/* The instance: start, reload, drain. */
#include "gate/instance.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/admin.h"
#include "gate/access_request.h"
#include "gate/instance_private.h"
#include "gate/settings.h"
#include "io/machine.h"

/* Workers where the configuration names no number: more than this one quota of calls a minute never needs. */
#define INSTANCE_WORKERS_MAX 4
/* How often the start looks whether the store was tried. */
#define INSTANCE_LOOK_US (2 * CLOCK_MS)
/* A journal file's size before the next begins. */
#define INSTANCE_SEGMENT_BYTES (64 << 20)

/* A limiter's event for a worker, on that worker's loop. */
static void
on_limiter(void *arg, const struct limiter_event *event)
{
	struct instance *instance = arg;

	worker_on_limiter(instance->workers[event->ticket.worker], event);
}

/* The same of the polls. */
static void
on_polls(void *arg, const struct polls_event *event)
{
	struct instance *instance = arg;

	worker_on_polls(instance->workers[event->ticket.worker], event);
}

/* The same of a claim's. */
static void
on_claims(void *arg, struct claims_event *event)
{
	struct instance *instance = arg;

	worker_on_claims(instance->workers[event->worker], event);
}

/* What the fleet has of a lost answer; on the loop of who has asked. */
static void
on_found(void *arg, const struct claims_found *found)
{
	struct instance *instance = arg;

	worker_on_found(instance->workers[found->who.worker], found);
}

/* Tell the fleet of a lost answer. */
static void
on_publish(void *arg, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES], enum lost_state state,
    struct str answer, int64_t keep_us, bool whole)
{
	struct instance *instance = arg;

	if (instance->claims)
		claims_publish(instance->claims, tag, name, id, state, answer, keep_us, whole);
}

/* What a run had joined has landed; on that run's loop. */
static bool
on_landed(void *arg, const struct lost_who *who, struct lost_found *found)
{
	struct instance *instance = arg;

	/* A loop that is freed reads its last mail when its worker is no more. */
	return instance->workers[who->worker] && worker_on_landed(instance->workers[who->worker], who, found);
}

/* What metrics are written from. */
static bool
on_metrics(void *arg, struct metrics_source *source)
{
	struct instance *instance = arg;

	if (instance->worker_count == 0 || instance->anchors == NULL)
		return false;
	*source = (struct metrics_source){ instance->workers, instance->worker_count, instance->config, &instance->labels,
		instance->limiter, instance->shared.polls, instance->claims, instance->shared.undelivered,
		instance->journal, atomic_load(&instance->shared.resolutions), anchors_are_ill(instance->anchors) };
	return true;
}

/* Look whether every address is free, before anything is touched. */
static bool
instance_addresses_are_free(const struct instance *instance, struct buf *error)
{
	const struct config *config = instance->config;

	if (front_address_taken(config->admin.host, config->admin.port, error))
		return false;
	for (size_t i = 0; i < config->listen_count; i++)
		if (front_address_taken(config->listen[i].host, config->listen[i].port, error))
			return false;
	return true;
}

/* Bind every address for every worker; the journal is ours by then. */
static bool
instance_bind(struct instance *instance, struct buf *error)
{
	struct config *config = instance->config;
	uint16_t port = config->admin.port;

	instance->admin_fd = front_bind(config->admin.host, &port, error);
	if (instance->admin_fd < 0)
		return false;
	for (size_t w = 0; w < instance->worker_count; w++)
		for (size_t i = 0; i < config->listen_count; i++) {
			int fd = front_bind(config->listen[i].host, &config->listen[i].port, error);

			if (fd < 0)
				return false;
			instance->fds[w * config->listen_count + i] = fd;
		}
	return true;
}

/* Open the journal: locked, recovered. */
static bool
instance_open_journal(struct instance *instance, struct buf *error)
{
	struct journal_settings settings = {
		.instance = buf_str(&instance->name),
		.segment_bytes = INSTANCE_SEGMENT_BYTES,
		.ring_records = audit_ring_records(instance->config),
		.make_unknown = record_unknown_from_intent,
		.on_orphan = instance_on_orphan,
		.arg = instance,
	};
	struct buf directory = BUF_EMPTY;

	settings_audit_directory(instance->config, &directory);
	settings.directory = buf_str(&directory);
	instance->journal = journal_open(&settings, error);
	buf_fini(&directory);
	return instance->journal != NULL;
}

/*
 * How long ago the process before us may have sent something, as far as the journal knows: it has the triggers, not
 * the polls. -1: never.
 */
static int64_t
instance_sent_ago_us(const struct instance *instance)
{
	struct wall_time last = journal_last_trigger(instance->journal);
	int64_t ago_us = clock_now_wall().us - last.us;

	if (last.us == 0)
		return -1;
	return ago_us > 0 ? ago_us : 0;	/* the clock was set back */
}

/* Make the workers, and what they know of issuers. */
static bool
instance_new_workers(struct instance *instance, struct buf *error)
{
	struct keyring *keyring;

	instance->issuers = instance_new_issuers(instance, instance->config, buf_str(&instance->proxy), error);
	if (instance->issuers == NULL)
		return false;
	keyring = issuers_keyring(instance->issuers);
	for (size_t i = 0; i < instance->worker_count; i++) {
		struct instance_tls tls;

		if (!instance_load_tls(instance->config, &tls, error))
			break;
		instance->workers[i] = worker_new((unsigned)i, &instance->shared, instance->config, keyring,
		    buf_str(&instance->proxy), tls.client, tls.servers);
		instance->loops[i] = instance->workers[i]->loop;
	}
	keyring_unref(&keyring);
	return error->n == 0;
}

/* Make the limiter and the workers. */
static bool
instance_make_workers(struct instance *instance, struct buf *error)
{
	struct limiter_settings settings = { .loops = instance->loops, .loop_count = instance->worker_count,
		.deliver = on_limiter, .arg = instance, .member = journal_uuid(instance->journal), .start = clock_now_wall().us,
		.sent_ago_us = instance_sent_ago_us(instance) };
	struct buf password = BUF_EMPTY, polls_password = BUF_EMPTY;

	if (!settings_proxy(instance->config, &instance->proxy, error) || !instance_new_workers(instance, error))
		return false;
	if (!instance_check_store_tls(instance->config, error) || !access_request_check_all(instance->config, error)
	    || !settings_secret(&instance->config->store.password_secret, &password, error)
	    || !settings_secret(&instance->config->polls_store.password_secret, &polls_password, error)) {
		buf_wipe(&password);
		return false;
	}
	instance->limiter = limiter_new(&settings, instance->resolver, instance->config, buf_str(&password));
	instance->claims = claims_new(&(struct claims_settings){ instance->loops, instance->worker_count, on_claims, on_found, instance,
	    settings.member, settings.start }, instance->resolver, instance->config, buf_str(&password));
	buf_wipe(&password);
	instance->shared.limiter = instance->limiter;
	instance->shared.polls = polls_new(&(struct polls_settings){ .loops = instance->loops, .loop_count = instance->worker_count,
		.deliver = on_polls, .arg = instance, .resolver = instance->resolver, .member = settings.member },
	    instance->config, buf_str(&polls_password));
	buf_wipe(&polls_password);
	instance->shared.claims = instance->claims;
	return true;
}

/* Log that requests are served, and where. */
static void
instance_say_ready(struct instance *instance)
{
	struct buf addresses = BUF_EMPTY;

	for (size_t i = 0; i < instance->config->listen_count; i++) {
		const struct config_listen *l = &instance->config->listen[i];

		buf_printf(&addresses, "%s%s://%.*s:%u", i ? " " : "", l->tls ? "https" : "http", STR_ARG(l->host), l->port);
	}
	log_line(LOG_INFO, "jobgate ready", log_s("addresses", buf_str(&addresses)),
	    log_s("admin", instance->config->admin.address), log_z("version", JOBGATE_VERSION),
	    log_s("instance", buf_str(&instance->name)), log_s("journal", journal_uuid(instance->journal)),
	    log_i("workers", (int64_t)instance->worker_count));
	buf_fini(&addresses);
	machine_notify("READY=1");
}

/* Begin to accept. */
static void
instance_open(struct instance *instance)
{
	size_t listens = instance->config->listen_count;

	for (size_t w = 0; w < instance->worker_count; w++) {
		int *fds = malloc(listens * sizeof(*fds));

		check(fds != NULL);
		memcpy(fds, instance->fds + w * listens, listens * sizeof(*fds));
		worker_open(instance->workers[w], fds);
	}
	for (size_t i = 0; i < instance->worker_count * listens; i++)
		instance->fds[i] = -1;
	atomic_store(&instance->open, true);
	instance_say_ready(instance);
	anchors_show(instance->anchors);
}

/* Look whether the store was tried; the requests' order begins then. */
static void
on_look(void *arg)
{
	struct instance *instance = arg;

	if (limiter_counts(instance->limiter).store_tried)
		instance_open(instance);
	else
		loop_timer_at(&instance->look, mono_add(loop_now(instance->loop), INSTANCE_LOOK_US));
}

void
instance_say_expiring(const struct config *config)
{
	struct buf text = BUF_EMPTY;
	struct str rest, line;

	credential_warn_expiry(config, clock_now_wall(), &text);
	rest = buf_str(&text);
	while (str_next(&rest, '\n', &line))
		if (line.n)
			log_line(LOG_WARN, "configuration", log_s("message", line));
	buf_fini(&text);
}

/* Say the configuration's warnings once. */
static void
instance_say_warnings(const struct config *config)
{
	instance_say_expiring(config);
	for (size_t i = 0; i < config->warning_count; i++)
		log_line(LOG_WARN, "configuration", log_s("message", config->warnings[i]));
}

/* The parts that do not depend on each other. */
static struct instance *
instance_new(struct loop *loop, const char *file, struct config *config)
{
	struct instance *instance = calloc(1, sizeof(*instance));
	int cores = machine_cores();

	check(instance != NULL);
	instance->loop = loop;
	instance->started = loop_now(loop);
	instance->file = file;
	instance->config = config_ref(config);
	instance->admin_fd = -1;
	instance->worker_count = config->workers ? (size_t)config->workers
	    : cores < INSTANCE_WORKERS_MAX	  ? (size_t)cores
						  : INSTANCE_WORKERS_MAX;
	instance->workers = calloc(instance->worker_count, sizeof(*instance->workers));
	instance->loops = calloc(instance->worker_count, sizeof(*instance->loops));
	instance->fds = malloc(instance->worker_count * config->listen_count * sizeof(*instance->fds));
	check(instance->workers && instance->loops && instance->fds);
	for (size_t i = 0; i < instance->worker_count * config->listen_count; i++)
		instance->fds[i] = -1;
	if (config->instance.n)
		buf_add(&instance->name, config->instance);
	else
		machine_host_name(&instance->name);
	instance->upstream = (struct condition)CONDITION_INIT("upstream unreachable", "upstream back");
	instance->resolver = resolver_new();
	instance->shared = (struct worker_shared){ .resolver = instance->resolver, .is_ready = instance_is_ready,
		.on_unknown_key = instance_on_unknown_key,
		.arg = instance, .worker_count = instance->worker_count, .upstream = &instance->upstream,
		.on_turned_away = instance_on_turned_away, .on_drained = instance_on_drained };
	instance->shared.workers = instance->workers;
	spread_init(&instance->shared.spread, instance->worker_count, config->spread == CONFIG_SPREAD_ALL);
	instance->shared.abuse = abuse_new();
	instance->shared.undelivered = undelivered_new(&(struct undelivered_settings){ instance->loops, on_landed, on_publish, instance });
	instance_init_drain(instance);
	loop_timer_init(&instance->look, loop, on_look, instance);
	return instance;
}

/* Nothing was sent after the last trigger of the process before us; a clock that says that it is to come is not believed. */
static struct mono_time
instance_knows_runs_since(const struct instance *instance)
{
	int64_t age_us = clock_now_wall().us - journal_last_trigger(instance->journal).us;

	return mono_add(clock_now_mono(), age_us > 0 ? 1 - age_us : 1);
}

struct instance *
instance_start(struct loop *loop, const char *file, struct config *config, struct buf *error)
{
	static const struct admin_hooks hooks = { instance_readiness, on_metrics, instance_ask_status };
	struct instance *instance = instance_new(loop, file, config);
	struct buf token = BUF_EMPTY;

	stats_label(&instance->labels, config);
	instance->watch = instance_watch_new(instance, config);
	if (!settings_admin_token(config, &token, error) || !settings_audit_key(config, error) || !instance_addresses_are_free(instance, error)
	    || !instance_open_journal(instance, error)
	    || !instance_bind(instance, error)) {
		buf_wipe(&token);
		instance_free(&instance);
		return NULL;
	}
	instance->audit = audit_new(loop, instance->journal, config);
	instance->shared.audit = instance->audit;
	instance->shared.runs = runs_new(instance_knows_runs_since(instance));
	if (!instance_make_workers(instance, error)) {
		buf_wipe(&token);
		instance_free(&instance);
		return NULL;
	}
	instance->anchors = anchors_new(loop, instance->limiter, instance->audit, config);
	instance_say_warnings(config);
	audit_config(instance->audit, config, "start");
	instance->admin = admin_new(loop, instance->admin_fd, &hooks, instance);
	instance->admin_fd = -1;
	instance_resolve_orphans(instance);
	admin_set_access(instance->admin, buf_str(&instance->name), buf_str(&token));
	buf_wipe(&token);
	for (size_t i = 0; i < instance->worker_count; i++)
		worker_start(instance->workers[i]);
	instance_start_access(instance);
	issuers_begin(instance->issuers);
	on_look(instance);
	return instance;
}

void
instance_free(struct instance **instance_p)
{
	struct instance *instance = *instance_p;

	if (instance == NULL)
		return;
	*instance_p = NULL;
	for (size_t i = 0; i < instance->worker_count; i++)
		if (instance->workers[i])
			worker_stop(instance->workers[i]);
	loop_read_mail(instance->loop);	/* what they told when nobody waited for it any more */
	access_tokens_free(&instance->access);
	instance_watch_free(&instance->watch);
	limiter_free(&instance->limiter);
	polls_free(&instance->shared.polls);
	claims_free(&instance->claims);
	anchors_free(&instance->anchors);
	issuers_free(&instance->issuers);
	for (size_t i = 0; i < instance->worker_count; i++)
		worker_free(&instance->workers[i]);
	admin_free(&instance->admin);
	if (instance->audit && atomic_load(&instance->open))
		audit_stop(instance->audit, instance->aborted ? "aborted" : "drained");
	audit_free(&instance->audit);
	journal_close(&instance->journal);
	resolver_free(&instance->resolver);
	abuse_free(&instance->shared.abuse);
	runs_free(&instance->shared.runs);
	undelivered_free(&instance->shared.undelivered);
	for (size_t i = 0; i < instance->worker_count * instance->config->listen_count; i++)
		if (instance->fds[i] >= 0)
			close(instance->fds[i]);
	if (instance->admin_fd >= 0)
		close(instance->admin_fd);
	loop_timer_fini(&instance->look);
	instance_fini_drain(instance);
	config_unref(&instance->config);
	stats_labels_fini(&instance->labels);
	buf_fini(&instance->name);
	buf_fini(&instance->orphans);
	buf_wipe(&instance->proxy);
	free(instance->workers);
	free(instance->loops);
	free(instance->fds);
	free(instance);
}
