/* Reload: a valid new configuration is swapped in whole, any other is refused whole. */
#include "gate/instance.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/access_request.h"
#include "gate/instance_private.h"
#include "gate/settings.h"
#include "io/machine.h"

/* Free the servers of a set. */
static void
instance_free_tls(const struct config *config, struct instance_tls *tls)
{
	for (size_t i = 0; tls->servers && i < config->listen_count; i++)
		tls_server_free(&tls->servers[i]);
	free(tls->servers);
	tls_client_free(&tls->client);
}

bool
instance_check_store_tls(const struct config *config, struct buf *error)
{
	const struct config_store *stores[] = { &config->store, &config->polls_store };
	struct tls_client *client;

	for (size_t i = 0; i < 2 && error->n == 0; i++) {
		if (!stores[i]->tls)
			continue;
		client = tls_client_new(stores[i]->ca_file.p, stores[i]->host.p, error);
		tls_client_free(&client);
	}
	return error->n == 0;
}

bool
instance_load_tls(const struct config *config, struct instance_tls *tls, struct buf *error)
{
	*tls = (struct instance_tls){ NULL, calloc(config->listen_count, sizeof(*tls->servers)) };
	check(tls->servers != NULL);
	/* Paths and names in a snapshot are copied with a NUL behind them (arena_copy). */
	tls->client = tls_client_new(config->upstream.ca_file.p, config->upstream.server_name.p, error);
	for (size_t i = 0; tls->client && i < config->listen_count; i++) {
		const struct config_listen *listen = &config->listen[i];

		if (!listen->tls)
			continue;
		tls->servers[i] = tls_server_new(listen->cert_file.p, listen->key_file.p, error);
		if (tls->servers[i] == NULL
		    || (listen->client_ca_file.n && !tls_server_ask_client(tls->servers[i], listen->client_ca_file.p, error)))
			break;
	}
	if (error->n == 0)
		return true;
	instance_free_tls(config, tls);
	return false;
}

/* What of the new configuration a running instance cannot take over, or NULL. */
static const char *
instance_needs_restart(const struct config *old, const struct config *new)
{
	if (old->listen_count != new->listen_count)
		return "listen";
	for (size_t i = 0; i < old->listen_count; i++)
		if (!str_eq(old->listen[i].address, new->listen[i].address) || old->listen[i].tls != new->listen[i].tls)
			return "listen";
	if (!str_eq(old->admin.address, new->admin.address))
		return "admin.address";
	if (old->workers != new->workers)
		return "workers";
	if (old->spread != new->spread)
		return "spread";
	if (!str_eq(old->instance, new->instance))
		return "instance";
	if (!str_eq(old->audit_directory, new->audit_directory))
		return "audit.directory";
	/* Requests under way name their identity by its place: new ones may only come behind. */
	if (new->identity_count < old->identity_count)
		return "identities";
	for (size_t i = 0; i < old->identity_count; i++)
		if (!str_eq(old->identities[i].name, new->identities[i].name))
			return "identities";
	/* In one window a principal could spend from its own bucket and then from that of all. */
	for (size_t i = 0; i < old->identity_count; i++)
		if (old->identities[i].per_token && !new->identities[i].per_token)
			return "identities[].per_token";
	if (!str_eq(old->upstream.host, new->upstream.host) || old->upstream.port != new->upstream.port)
		return "upstream.url";
	return NULL;
}

/* Say why a reload did not happen; the old configuration stays. */
static void
instance_refuse_reload(struct config **config, struct buf *errors)
{
	log_line(LOG_ERROR, "reload refused", log_s("message", str_trim(buf_str(errors))));
	if (*config)
		config_unref(config);
	buf_fini(errors);
}

/* Load one set of TLS settings per worker; false where one cannot be. */
static bool
instance_load_all_tls(struct instance *instance, const struct config *config, struct instance_tls *sets, struct buf *errors)
{
	for (size_t i = 0; i < instance->worker_count; i++)
		if (!instance_load_tls(config, &sets[i], errors)) {
			while (i-- > 0)
				instance_free_tls(config, &sets[i]);
			return false;
		}
	return true;
}

/* What a reload needs beside the configuration, all of it or nothing. */
struct instance_parts {
	struct buf password, polls_password, admin_token, proxy;
	struct issuers *issuers;
	struct instance_tls *tls;	/* one per worker */
	struct instance_watch *watch;	/* begun before the files were read, so that no change is missed */
};

/* Load the PARTS of CONFIG; false with sentences in ERRORS. */
static bool
instance_load_parts(struct instance *instance, struct config *config, struct instance_parts *parts, struct buf *errors)
{
	if (!settings_secret(&config->store.password_secret, &parts->password, errors)
	    || !settings_secret(&config->polls_store.password_secret, &parts->polls_password, errors) || !settings_audit_key(config, errors)
	    || !settings_admin_token(config, &parts->admin_token, errors) || !instance_check_store_tls(config, errors)
	    || !access_request_check_all(config, errors) || !settings_proxy(config, &parts->proxy, errors))
		return false;
	parts->issuers = instance_new_issuers(instance, config, buf_str(&parts->proxy), errors);
	if (parts->issuers && instance_load_all_tls(instance, config, parts->tls, errors))
		return true;
	issuers_free(&parts->issuers);
	return false;
}

/* Put CONFIG and its PARTS in the place of what is there. */
static void
instance_take(struct instance *instance, struct config *config, struct instance_parts *parts)
{
	struct keyring *keyring = issuers_keyring(parts->issuers);

	stats_label(&instance->labels, config);
	/* First the limiter: it must know every identity that a worker may name. */
	limiter_reload(instance->limiter, config, buf_str(&parts->password));
	polls_reload(instance->shared.polls, config, buf_str(&parts->polls_password));
	claims_reload(instance->claims, config, buf_str(&parts->password));
	for (size_t i = 0; i < instance->worker_count; i++)
		worker_reload(instance->workers[i], config, keyring, buf_str(&parts->proxy), parts->tls[i].client,
		    parts->tls[i].servers);
	keyring_unref(&keyring);
	issuers_free(&instance->issuers);
	instance->issuers = parts->issuers;
	issuers_begin(instance->issuers);
	access_tokens_reload(instance->access, config, buf_str(&parts->proxy));
	buf_wipe(&instance->proxy);
	instance->proxy = buf_take(&parts->proxy);
	admin_set_access(instance->admin, buf_str(&instance->name), buf_str(&parts->admin_token));
	audit_set(instance->audit, config);
	anchors_set(instance->anchors, config);
	audit_config(instance->audit, config, "reload");
	log_set_level((enum log_level)config->log_level);
	config_unref(&instance->config);
	instance->config = config;
	instance_watch_free(&instance->watch);
	instance->watch = parts->watch;
	parts->watch = NULL;
	log_line(LOG_INFO, "configuration reloaded");
	instance_say_expiring(config);
}

/* Load the file anew and take it, or say why not. */
static void
instance_reload_file(struct instance *instance)
{
	struct buf errors = BUF_EMPTY;
	struct config *config = settings_load(instance->file, &errors);
	const char *key = config ? instance_needs_restart(instance->config, config) : NULL;
	struct instance_parts parts = { .tls = calloc(instance->worker_count, sizeof(*parts.tls)),
		.watch = config ? instance_watch_new(instance, config) : NULL };

	check(parts.tls != NULL);
	if (key)
		buf_printf(&errors, "%s cannot change without a restart", key);
	if (config == NULL || key || !instance_load_parts(instance, config, &parts, &errors))
		instance_refuse_reload(&config, &errors);
	else
		instance_take(instance, config, &parts);
	buf_wipe(&parts.password);
	buf_wipe(&parts.polls_password);
	buf_wipe(&parts.admin_token);
	instance_watch_free(&parts.watch);
	buf_wipe(&parts.proxy);
	free(parts.tls);
}

void
instance_reload(struct instance *instance)
{
	if (atomic_load(&instance->draining))
		log_line(LOG_WARN, "reload refused", log_z("message", "this instance is shutting down"));
	else
		instance_reload_file(instance);
}
