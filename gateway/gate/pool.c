/*
 * One upstream client per host, found by its name. The first is the upstream's own and stays; of the others the one that was not used for
 * longest, and has no call open, gives its place to a new one.
 */
#include "gate/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "io/proxy.h"
#include "rules/proxy.h"

/* Resolve, connect, tunnel and TLS together: far above any healthy handshake, below upstream.timeout's default. */
#define POOL_CONNECT_US (10 * (int64_t)CLOCK_SECOND)
/* A pathological head must not fill a worker's memory. */
#define POOL_RESPONSE_HEAD_BYTES 65536
/* A list of 100 instances is about 50 KB; bodies are relayed whole. */
#define POOL_RESPONSE_BODY_BYTES (8 << 20)
/* Each has a TLS context of its own, about 50 KB, and its connections. */
#define POOL_HOSTS_MAX 64

struct pool_host {
	struct str prefix;		/* of a private link, owned; empty: the upstream itself */
	struct tls_client *tls;		/* owned */
	struct upstream *upstream;	/* owned */
	uint64_t used;			/* the pool's count when it was last asked for */
};

struct pool {
	struct loop *loop;
	struct resolver *resolver;
	struct config *config;		/* referenced: by which connections are opened now */
	struct buf proxy;		/* the URL, with the password */
	struct pool_host hosts[POOL_HOSTS_MAX];
	size_t count;
	uint64_t uses;
};

/* How long the opening of a connection may take. */
static int64_t
pool_connect_us(const struct config *config)
{
	return config->upstream.timeout_us < POOL_CONNECT_US ? config->upstream.timeout_us : POOL_CONNECT_US;
}

/* PREFIX and NAME in one, ended by NUL, in OUT. */
static struct str
pool_name(struct buf *out, struct str prefix, struct str name)
{
	buf_add(out, prefix);
	buf_add(out, name);
	buf_add_char(out, '\0');
	return (struct str){ out->p, out->n - 1 };
}

/* The proxy for HOST; what it points to is in POOL and in AUTHORIZATION, which the caller wipes. */
static struct upstream_proxy
pool_proxy(const struct pool *pool, struct str host, struct buf *authorization)
{
	struct upstream_proxy proxy = { .port = 0 };
	const char *why = NULL;

	if (proxy_is_for(pool->config, host))
		why = proxy_from_url(buf_str(&pool->proxy), &proxy, authorization);
	check(why == NULL);	/* the configuration was checked */
	return proxy;
}

/* Make the client of HOST, whose prefix and TLS are set. */
static void
pool_open(struct pool *pool, struct pool_host *host)
{
	const struct config *config = pool->config;
	struct buf name = BUF_EMPTY, authorization = BUF_EMPTY;
	struct upstream_settings settings = {
		.host = pool_name(&name, host->prefix, config->upstream.host),
		.port = config->upstream.port,
		.connect_timeout_us = pool_connect_us(config),
		.idle_timeout_us = config->upstream.idle_timeout_us,
		.response_head_bytes = POOL_RESPONSE_HEAD_BYTES,
		.response_body_bytes = POOL_RESPONSE_BODY_BYTES,
	};

	settings.proxy = pool_proxy(pool, settings.host, &authorization);
	host->upstream = upstream_new(pool->loop, pool->resolver, host->tls, &settings);
	buf_fini(&name);
	buf_wipe(&authorization);
}

struct pool *
pool_new(struct loop *loop, struct resolver *resolver, struct config *config, struct tls_client *tls, struct str proxy)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	check(pool != NULL);
	pool->loop = loop;
	pool->resolver = resolver;
	pool->config = config_ref(config);
	buf_add(&pool->proxy, proxy);
	pool->hosts[0].tls = tls;
	pool_open(pool, &pool->hosts[0]);
	pool->count = 1;
	return pool;
}

/* Close the way to one host. */
static void
pool_close(struct pool_host *host)
{
	upstream_free(&host->upstream);
	tls_client_free(&host->tls);
	free((char *)(uintptr_t)host->prefix.p);
	*host = (struct pool_host){ .used = 0 };
}

void
pool_free(struct pool **pool_p)
{
	struct pool *pool = *pool_p;

	if (pool == NULL)
		return;
	*pool_p = NULL;
	for (size_t i = 0; i < pool->count; i++)
		pool_close(&pool->hosts[i]);
	config_unref(&pool->config);
	buf_wipe(&pool->proxy);
	free(pool);
}

/* A TLS client for the host of PREFIX, believing whom FIRST believes; NULL, logged, where OpenSSL makes none. */
static struct tls_client *
pool_tls(const struct pool *pool, const struct tls_client *first, struct str prefix)
{
	struct buf name = BUF_EMPTY, error = BUF_EMPTY;
	struct tls_client *tls;

	pool_name(&name, prefix, pool->config->upstream.server_name);
	tls = tls_client_like(first, name.p, &error);
	if (tls == NULL)
		log_line(LOG_ERROR, "no TLS for a private link", log_s("why", buf_str(&error)));
	buf_fini(&name);
	buf_fini(&error);
	return tls;
}

/* Have one host's new connections use what is new. */
static void
pool_renew(struct pool *pool, struct pool_host *host, struct tls_client *tls)
{
	const struct config *config = pool->config;
	struct buf name = BUF_EMPTY, authorization = BUF_EMPTY;
	struct upstream_proxy proxy = pool_proxy(pool, pool_name(&name, host->prefix, config->upstream.host), &authorization);

	upstream_set_timeouts(host->upstream, pool_connect_us(config), config->upstream.idle_timeout_us);
	upstream_set_proxy(host->upstream, &proxy);
	upstream_replace_tls(host->upstream, tls);
	tls_client_free(&host->tls);
	host->tls = tls;
	buf_fini(&name);
	buf_wipe(&authorization);
}

void
pool_reload(struct pool *pool, struct config *config, struct tls_client *tls, struct str proxy)
{
	config_ref(config);
	config_unref(&pool->config);
	pool->config = config;
	buf_wipe(&pool->proxy);
	buf_add(&pool->proxy, proxy);
	for (size_t i = 1; i < pool->count; i++) {
		struct tls_client *like = pool_tls(pool, tls, pool->hosts[i].prefix);

		if (like != NULL)
			pool_renew(pool, &pool->hosts[i], like);
	}
	pool_renew(pool, &pool->hosts[0], tls);
}

/* A place for another host: a free one, or that of the least used one; NULL where all have calls open. */
static struct pool_host *
pool_place(struct pool *pool)
{
	struct pool_host *least = NULL;

	if (pool->count < POOL_HOSTS_MAX)
		return &pool->hosts[pool->count++];
	for (size_t i = 1; i < pool->count; i++) {
		struct pool_host *host = &pool->hosts[i];

		if ((host->upstream == NULL || upstream_counts(host->upstream).calls == 0) && (least == NULL || host->used < least->used))
			least = host;
	}
	if (least != NULL)
		pool_close(least);
	return least;
}

/* Open the way to the host of PREFIX; NULL where there is no place. */
static struct pool_host *
pool_add(struct pool *pool, struct str prefix)
{
	struct tls_client *tls = pool_tls(pool, pool->hosts[0].tls, prefix);
	struct pool_host *host = tls ? pool_place(pool) : NULL;

	if (host == NULL) {
		tls_client_free(&tls);
		return NULL;
	}
	host->tls = tls;
	host->prefix = str_from(strndup(prefix.p, prefix.n));
	check(host->prefix.p != NULL);
	pool_open(pool, host);
	return host;
}

struct upstream *
pool_upstream(struct pool *pool, const struct config *config, struct str workspace)
{
	struct buf prefix = BUF_EMPTY;
	struct pool_host *found = NULL;

	proxy_add_private_prefix(config, workspace, &prefix);
	for (size_t i = 0; i < pool->count && found == NULL; i++)
		if (pool->hosts[i].upstream && str_eq(pool->hosts[i].prefix, buf_str(&prefix)))
			found = &pool->hosts[i];
	if (found == NULL)
		found = pool_add(pool, buf_str(&prefix));
	buf_fini(&prefix);
	if (found == NULL)
		return NULL;
	found->used = ++pool->uses;
	return found->upstream;
}
