/*
 * Keys of an issuer from a URL.
 *
 *   asking ──► answered: in use, sleeps an hour ──► asking
 *      └─────► failed: the last good keys stay in use for a day, sleeps 1 s to 60 s ──► asking
 *
 * A token with a key that is not known makes it ask at once, but not within 5 minutes of the last time.
 */
#include "base/log.h"
#include "gate/issuers_private.h"
#include "io/tls.h"
#include "io/url.h"
#include "rules/jwks.h"
#include "rules/proxy.h"
#include "rules/token.h"

/* Entra announces a key days before it signs with it; the spread keeps instances from asking together. */
#define FETCH_EVERY_US (3600 * (int64_t)CLOCK_SECOND)
#define FETCH_SPREAD 10		/* a tenth more or less */
/* Anybody can make up a key's name: it costs the issuer no more than this. */
#define FETCH_WANT_US (300 * (int64_t)CLOCK_SECOND)
/* A key that its issuer has withdrawn is believed no longer than this. */
#define FETCH_KEEP_US (86400 * (int64_t)CLOCK_SECOND)
#define FETCH_TIMEOUT_US (10 * (int64_t)CLOCK_SECOND)

static void on_asked(void *arg, const struct fetch_result *result);

/* The present. */
static struct mono_time
fetch_now(const struct issuers_source *source)
{
	return loop_now(source->issuers->settings.loop);
}

/* The proxy by which the URL is reached; empty: none. */
static struct str
fetch_proxy(const struct issuers_source *source)
{
	const struct issuers *issuers = source->issuers;
	struct url url;

	if (url_split(source->issuer->jwks_url, &url) != NULL || !proxy_is_for(issuers->config, url.host))
		return (struct str){ NULL, 0 };
	return issuers->settings.proxy;
}

/* Ask, unless it is being asked. */
static void
fetch_ask(struct issuers_source *source)
{
	struct issuers_settings *settings = &source->issuers->settings;
	struct http1_field accept = { STR("Accept"), STR("application/json") };
	struct fetch_request request = { .method = STR("GET"), .url = source->issuer->jwks_url, .fields = &accept,
		.field_count = 1, .ca_file = source->issuer->ca_file, .proxy = fetch_proxy(source), .timeout_us = FETCH_TIMEOUT_US,
		.body_bytes_max = JWKS_BYTES_MAX };

	if (source->fetch)
		return;
	loop_timer_clear(&source->timer);
	source->asked = fetch_now(source);
	source->fetch = fetch_start(settings->loop, settings->resolver, &request, on_asked, source);
}

/* Its time has come. */
static void
on_timer(void *arg)
{
	fetch_ask(arg);
}

/* VALUE, or what it is where it was not given. */
static int64_t
fetch_or(int64_t value, int64_t default_us)
{
	return value ? value : default_us;
}

/* How long after an answer the next is asked for. */
static int64_t
fetch_interval_us(const struct issuers_source *source)
{
	int64_t every_us = fetch_or(source->issuers->settings.every_us, FETCH_EVERY_US), spread_us = every_us / FETCH_SPREAD;
	uint32_t random;

	random_bytes((uint8_t *)&random, sizeof(random));
	return every_us - spread_us + 2 * spread_us / 1000 * (random % 1000);
}

/* Note that no keys came, for the reason WHY; true where the old ones are too old by now. */
static bool
fetch_failed(struct issuers_source *source, struct buf *why)
{
	struct mono_time now = fetch_now(source);

	buf_add_char(why, '\0');
	condition_set(&source->condition, false, why->p, now);
	loop_timer_at(&source->timer, mono_add(now, token_backoff_us(++source->failures, 0)));
	if (source->keys == NULL || mono_since(now, source->got) < fetch_or(source->issuers->settings.keep_us, FETCH_KEEP_US))
		return false;
	log_line(LOG_ERROR, "issuer's keys given up", log_s("issuer", source->issuer->issuer));
	jose_keys_unref(&source->keys);
	return true;
}

/* Note that keys came. */
static void
fetch_succeeded(struct issuers_source *source)
{
	source->failures = 0;
	source->got = fetch_now(source);
	condition_set(&source->condition, true, "", source->got);
	loop_timer_at(&source->timer, mono_add(source->got, fetch_interval_us(source)));
}

/* The answer, or none. */
static void
on_asked(void *arg, const struct fetch_result *result)
{
	struct issuers_source *source = arg;
	struct buf why = BUF_EMPTY;
	bool changed = false;

	if (result->status == 200)
		changed = issuers_take(source, source->issuer->jwks_url, result->body, &why);
	else if (result->status)
		buf_printf(&why, "%.*s: answered %d", STR_ARG(source->issuer->jwks_url), result->status);
	else
		buf_printf(&why, "%.*s: %s", STR_ARG(source->issuer->jwks_url), result->error);
	fetch_cancel(&source->fetch);
	if (why.n == 0)
		fetch_succeeded(source);
	else
		changed = fetch_failed(source, &why);
	buf_fini(&why);
	if (changed)
		source->issuers->settings.on_change(source->issuers->settings.arg);
}

void
issuers_fetch_init(struct issuers_source *source)
{
	loop_timer_init(&source->timer, source->issuers->settings.loop, on_timer, source);
}

void
issuers_fetch_fini(struct issuers_source *source)
{
	fetch_cancel(&source->fetch);
	loop_timer_fini(&source->timer);
}

void
issuers_fetch_inherit(struct issuers_source *source, const struct issuers_source *old)
{
	if (old->keys == NULL)
		return;
	source->keys = jose_keys_ref(old->keys);
	for (size_t i = 0; i < sizeof(source->digest); i++)
		source->digest[i] = old->digest[i];
	source->got = old->got;
}

void
issuers_fetch_begin(struct issuers_source *source)
{
	fetch_ask(source);
}

void
issuers_fetch_want(struct issuers_source *source)
{
	if (mono_since(fetch_now(source), source->asked) >= fetch_or(source->issuers->settings.want_us, FETCH_WANT_US))
		fetch_ask(source);
}
