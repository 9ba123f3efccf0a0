/*
 * Fetching tokens ahead.
 *
 *   asking ──► answered: published, sleeps until 5 minutes before its end ──► asking
 *      └─────► failed: published that it was asked, sleeps 1 s to 60 s ──────────┘
 */
#include "gate/access_tokens.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/condition.h"
#include "gate/access_request.h"
#include "io/tls.h"
#include "io/url.h"
#include "rules/proxy.h"
#include "rules/retry.h"
#include "rules/token.h"

#define ACCESS_SOURCE_MAGIC 0x63726564
/* Where the upstream refuses even fresh tokens, so often another one is fetched on its word. */
#define ACCESS_FORCED_EVERY_US (30 * (int64_t)CLOCK_SECOND)

struct access_source {
	uint32_t magic;
	struct access_tokens *all;
	size_t identity;
	struct fetch *fetch;		/* the one in flight */
	struct loop_timer timer;	/* when it is asked next */
	struct access_token *access;		/* what was last published; NULL before the first answer */
	unsigned failures;		/* in a row */
	bool forced;			/* FORCED_AT is set */
	struct mono_time forced_at;	/* when the upstream's 401 made us ask */
	struct condition condition;
};

struct access_tokens {
	struct access_settings settings;
	struct config *config;		/* referenced */
	struct buf proxy;		/* the proxy's URL, wiped; empty: none */
	struct tls_client *trust;	/* owned: the authorities of the ca_file that was last needed; NULL: none yet */
	struct str trust_file;		/* which that is; of CONFIG */
	struct access_source **list;	/* one per identity; its own allocation, since timers and fetches point to it */
	size_t count;
};

/* How an identity's credential is configured. */
static const struct config_credential *
source_config(const struct access_source *c)
{
	return &c->all->config->identities[c->identity].credential;
}

/* Publish ACCESS, which is owned from now on, as the newest; its round is set. */
static void
source_publish(struct access_source *c, struct access_token *access)
{
	access_token_unref(&c->access);
	c->access = access;
	c->all->settings.publish(c->all->settings.arg, c->identity, access);
}

/* The round that ends now. */
static uint64_t
source_round(const struct access_source *c)
{
	return c->access ? c->access->round + 1 : 1;
}

/* Publish that there is no new token: OLD (NULL: none) goes on, and whether the endpoint REFUSED. */
static void
source_publish_old(struct access_source *c, const struct access_token *old, bool refused)
{
	bool usable = access_token_is_usable(old, loop_now(c->all->settings.loop));
	struct access_token *access = access_token_new(usable ? access_token_text(old) : (struct str){ NULL, 0 },
	    usable ? old->expires : (struct mono_time){ 0 });

	access->version = c->access ? c->access->version : 0;
	access->round = source_round(c);
	access->refused = refused && !usable;
	source_publish(c, access);
}

/* Ask again after a while. */
static void
source_sleep(struct access_source *c, int64_t us)
{
	loop_timer_at(&c->timer, mono_add(loop_now(c->all->settings.loop), us));
}

/* There is a new token. */
static void
source_succeeded(struct access_source *c, const struct token_answer *answer)
{
	struct access_token *access = access_token_new(answer->value, mono_add(loop_now(c->all->settings.loop), answer->life_us));
	uint32_t random;

	random_bytes((uint8_t *)&random, sizeof(random));
	access->version = c->access ? c->access->version + 1 : 1;
	access->round = source_round(c);
	c->failures = 0;
	condition_set(&c->condition, true, "", loop_now(c->all->settings.loop));
	source_sleep(c, token_refresh_us(answer->life_us, random));
	source_publish(c, access);
}

/* There is none: WHY, and after how long the endpoint wants to be asked again (0: it did not say). */
static void
source_failed(struct access_source *c, struct str why, bool refused, int64_t asked_us)
{
	struct buf text = BUF_EMPTY;

	buf_printf(&text, "identity %.*s: %.*s", STR_ARG(c->all->config->identities[c->identity].name), STR_ARG(why));
	buf_add_char(&text, '\0');
	condition_set(&c->condition, false, text.p, loop_now(c->all->settings.loop));
	buf_fini(&text);
	source_sleep(c, token_backoff_us(++c->failures, asked_us));
	source_publish_old(c, c->access, refused);
}

/* The endpoint has answered with something other than a token. */
static void
source_failed_status(struct access_source *c, const struct fetch_result *result)
{
	const struct http1_field *after = http1_find(result->head, STR("Retry-After"));
	struct buf why = BUF_EMPTY;

	buf_printf(&why, "the token endpoint answered %d ", result->status);
	token_read_error(result->body, &why);
	source_failed(c, str_trim(buf_str(&why)), token_is_refusal(result->status),
	    after ? retry_after_us(after->value, clock_now_wall()) : 0);
	buf_fini(&why);
}

/* The endpoint was asked to the end. */
static void
on_fetched(void *arg, const struct fetch_result *result)
{
	struct access_source *c = arg;
	struct token_answer answer;
	const char *why;

	check_magic(c, ACCESS_SOURCE_MAGIC);
	fetch_cancel(&c->fetch);
	if (result->status == 0) {
		source_failed(c, str_from(result->error), false, 0);
	} else if (result->status != 200) {
		source_failed_status(c, result);
	} else {
		why = token_read(result->body, clock_now_wall(), &answer);
		if (why == NULL)
			source_succeeded(c, &answer);
		else
			source_failed(c, str_from(why), false, 0);
	}
}

/* The proxy for the endpoint at URL; never one for the machine's own (fetch takes none for http either). */
static struct str
source_proxy(const struct access_source *c, struct str text)
{
	struct url url;

	if (source_config(c)->kind == CONFIG_CREDENTIAL_MANAGED_IDENTITY || url_split(text, &url) != NULL
	    || !proxy_is_for(c->all->config, url.host))
		return (struct str){ NULL, 0 };
	return buf_str(&c->all->proxy);
}

/*
 * Whom to believe at an endpoint of Entra's. Reading the system's hundred authorities takes 40 ms, so that it is not done for each of many
 * identities; NULL where they cannot be read, which the fetch will say.
 */
static const struct tls_client *
source_trust(const struct access_source *c)
{
	struct access_tokens *all = c->all;
	struct str file = source_config(c)->ca_file;
	struct buf error = BUF_EMPTY;

	if (source_config(c)->kind == CONFIG_CREDENTIAL_MANAGED_IDENTITY)
		return NULL;
	if (all->trust == NULL || !str_eq(all->trust_file, file)) {
		tls_client_free(&all->trust);
		all->trust = tls_client_new(file.p, "localhost", &error);	/* the name is each fetch's own */
		all->trust_file = file;
		buf_fini(&error);
	}
	return all->trust;
}

/* Ask the endpoint, unless that is being done. */
static void
source_ask(struct access_source *c)
{
	struct access_request request;
	struct buf error = BUF_EMPTY;

	if (c->fetch != NULL || source_config(c)->kind == CONFIG_CREDENTIAL_NONE)
		return;
	loop_timer_clear(&c->timer);
	if (access_request_make(source_config(c), clock_now_wall(), &request, &error)) {
		request.fetch.trust = source_trust(c);
		request.fetch.proxy = source_proxy(c, request.fetch.url);
		c->fetch = fetch_start(c->all->settings.loop, c->all->settings.resolver, &request.fetch, on_fetched, c);
	} else {
		source_failed(c, buf_str(&error), false, 0);
	}
	access_request_wipe(&request);
	buf_fini(&error);
}

/* It is time to ask. */
static void
on_due(void *arg)
{
	struct access_source *c = arg;

	check_magic(c, ACCESS_SOURCE_MAGIC);
	source_ask(c);
}

/* Make those that CONFIG has and the list has not, and have them ask in the next turn. */
static void
access_tokens_grow(struct access_tokens *all)
{
	all->list = reallocarray(all->list, all->config->identity_count, sizeof(*all->list));
	check(all->list != NULL);
	while (all->count < all->config->identity_count) {
		struct access_source *c = calloc(1, sizeof(*c));

		check(c != NULL);
		c->magic = ACCESS_SOURCE_MAGIC;
		c->all = all;
		c->identity = all->count;
		c->condition = (struct condition)CONDITION_INIT("credential unavailable", "credential back");
		loop_timer_init(&c->timer, all->settings.loop, on_due, c);
		all->list[all->count++] = c;
		if (source_config(c)->kind != CONFIG_CREDENTIAL_NONE)
			source_sleep(c, 0);
	}
}

struct access_tokens *
access_tokens_new(const struct access_settings *settings, struct config *config, struct str proxy)
{
	struct access_tokens *all = calloc(1, sizeof(*all));

	check(all != NULL);
	all->settings = *settings;
	all->config = config_ref(config);
	buf_add(&all->proxy, proxy);
	access_tokens_grow(all);
	return all;
}

void
access_tokens_free(struct access_tokens **all_p)
{
	struct access_tokens *all = *all_p;

	if (all == NULL)
		return;
	*all_p = NULL;
	for (size_t i = 0; i < all->count; i++) {
		struct access_source *c = all->list[i];

		fetch_cancel(&c->fetch);
		loop_timer_fini(&c->timer);
		access_token_unref(&c->access);
		c->magic = 0;
		free(c);
	}
	config_unref(&all->config);
	buf_wipe(&all->proxy);
	tls_client_free(&all->trust);
	free(all->list);
	free(all);
}

/* Whether both are the same principal asking for the same; how it proves that may differ. */
static bool
source_is_same(const struct config_credential *a, const struct config_credential *b)
{
	return a->kind == b->kind && str_eq(a->tenant, b->tenant) && str_eq(a->client_id, b->client_id)
	    && str_eq(a->authority, b->authority) && str_eq(a->scope, b->scope) && str_eq(a->endpoint, b->endpoint);
}

/* The principal is another: there is no token now. Nobody was asked: who waits after a 401 goes on waiting for what the new one gets. */
static void
source_forget(struct access_source *c)
{
	struct access_token *access = access_token_new((struct str){ NULL, 0 }, (struct mono_time){ 0 });

	access->version = c->access->version;
	access->round = c->access->round;
	source_publish(c, access);
}

/* Ask anew by the new configuration; what was on its way asked by the old one. */
static void
source_reload(struct access_source *c, const struct config_credential *old)
{
	bool same = source_is_same(old, source_config(c));

	fetch_cancel(&c->fetch);
	loop_timer_clear(&c->timer);
	c->failures = 0;
	c->forced = false;
	if (!same && c->access != NULL)
		source_forget(c);
	if (source_config(c)->kind == CONFIG_CREDENTIAL_NONE)
		condition_set(&c->condition, true, "", loop_now(c->all->settings.loop));
	source_ask(c);
}

void
access_tokens_reload(struct access_tokens *all, struct config *config, struct str proxy)
{
	struct config *old = all->config;
	size_t count = all->count;

	all->config = config_ref(config);
	tls_client_free(&all->trust);	/* a renewed file is read again */
	buf_wipe(&all->proxy);
	buf_add(&all->proxy, proxy);
	access_tokens_grow(all);
	for (size_t i = 0; i < count; i++)
		source_reload(all->list[i], &old->identities[i].credential);
	config_unref(&old);
}

void
access_tokens_turned_away(struct access_tokens *all, size_t identity, uint64_t version)
{
	struct access_source *c = identity < all->count ? all->list[identity] : NULL;
	struct mono_time now = loop_now(all->settings.loop);

	if (c == NULL || c->access == NULL || c->access->version != version || c->fetch != NULL
	    || !access_token_is_usable(c->access, now))
		return;		/* there is another one already, or soon; or a reload has taken it away */
	if (c->forced && mono_since(now, c->forced_at) < ACCESS_FORCED_EVERY_US) {
		source_publish_old(c, c->access, true);
		return;
	}
	c->forced = true;
	c->forced_at = now;
	log_line(LOG_WARN, "credential refused by the upstream",
	    log_s("identity", all->config->identities[identity].name));
	source_ask(c);
}

bool
access_tokens_are_ill(const struct access_tokens *all)
{
	for (size_t i = 0; all && i < all->count; i++)
		if (condition_is_ill(&all->list[i]->condition))
			return true;
	return false;
}
