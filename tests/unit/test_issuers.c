/* gate/issuers: keys from URLs: asked at start, again, on a token's word, and what becomes of them when the URL is ill. */
#include "upstream_fixture.h"

#include "gate/issuers.h"
#include "proxy_double.h"
#include "token_maker.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
#define ILL "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"

struct asked {
	struct fixture f;
	struct config *config;
	struct issuers_settings settings;
	struct issuers *issuers;
	struct buf first, second;	/* answers with a key set each: k1; k1 and k2 */
	int changes;
};

static struct asked *asked;
static int wanted;		/* changes, or requests that the peer has read */

static void
on_change(void *arg)
{
	((struct asked *)arg)->changes++;
}

static bool
until_changes(struct fixture *f)
{
	(void)f;
	return asked->changes >= wanted;
}

static bool
until_requests(struct fixture *f)
{
	return (int)atomic_load(&f->peer.requests) >= wanted;
}

static bool
until_ill(struct fixture *f)
{
	(void)f;
	return issuers_are_ill(asked->issuers);
}

static void
run_until(bool (*until)(struct fixture *f), int count)
{
	wanted = count;
	fixture_run(&asked->f, until);
	assert_true(until(&asked->f));
}

/* What the peer says from its next request on; nobody is asking now. */
static void
answer_with(const struct buf *answer)
{
	asked->f.peer.steps[0] = (struct peer_step){ .response = answer ? answer->p : ILL, .response_n = answer ? answer->n : 0,
		.end = PEER_CLEAN };
	asked->f.peer.step_count = 1;
}

/* How many keys are known. */
static size_t
known(void)
{
	struct keyring *keyring = issuers_keyring(asked->issuers);
	size_t count = keyring->keys[0] ? jose_keys_count(keyring->keys[0]) : 0;

	keyring_unref(&keyring);
	return count;
}

/* A configuration whose issuer's keys are at the peer; MORE stands in `upstream`. */
static struct config *
config_with(uint16_t port, const char *ca_file, const char *more)
{
	struct buf text = BUF_EMPTY, errors = BUF_EMPTY;
	struct config *config;

	buf_printf(&text, "{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"upstream\": {%s\"url\": \"https://h\", \"quota\": "
	    "{\"requests\": 200, \"window\": \"60s\"}}, \"callers\": [{\"name\": \"c\", \"tokens\": [{\"issuer\": \"i\", \"subject\": "
	    "\"s\"}]}], \"issuers\": [{\"issuer\": \"i\", \"audiences\": [\"a\"], \"jwks\": {\"url\": \"https://%s:%u/keys?x=1\"}, "
	    "\"ca_file\": \"%s\"}]}", more, NAME, port, ca_file);
	config = config_parse(buf_str(&text), STR("f"), STR("."), &errors);
	if (config == NULL)
		fail_msg("%.*s", STR_ARG(buf_str(&errors)));
	buf_fini(&text);
	buf_fini(&errors);
	return config;
}

static struct config *
config_of(uint16_t port, const char *ca_file)
{
	return config_with(port, ca_file, "");
}

/* Begin with a peer that answers with ANSWER; the times of the settings are in milliseconds. */
static void
begin(struct asked *a, const struct buf *answer, int64_t every_ms, int64_t want_ms, int64_t keep_ms)
{
	struct buf error = BUF_EMPTY;

	asked = a;
	fixture_init(&a->f, &(struct fixture_options){ 0 });
	answer_with(answer);
	a->config = config_of(a->f.peer.port, fixture_ca_file);
	a->settings = (struct issuers_settings){ .loop = a->f.loop, .resolver = a->f.resolver, .on_change = on_change, .arg = a,
		.every_us = every_ms * CLOCK_MS, .want_us = want_ms * CLOCK_MS, .keep_us = keep_ms * CLOCK_MS };
	a->issuers = issuers_new(&a->settings, a->config, NULL, &error);
	assert_non_null(a->issuers);
	assert_int_equal(known(), 0);
	issuers_begin(a->issuers);
}

static void
end(struct asked *a)
{
	issuers_free(&a->issuers);
	config_unref(&a->config);
	fixture_run_ms(&a->f, 2);
	fixture_fini(&a->f);
}

static EVP_PKEY *key;
static struct buf one, two, broken;

static int
set_up(void **state)
{
	key = EVP_RSA_gen(2048);
	buf_add_z(&one, OK_HEAD "{\"keys\":[");
	add_jwk(&one, key, ",\"kid\":\"k1\"");
	buf_add(&two, buf_str(&one));
	buf_add_z(&one, "]}");
	buf_add_char(&two, ',');
	add_jwk(&two, key, ",\"kid\":\"k2\"");
	buf_add_z(&two, "]}");
	buf_add_z(&broken, OK_HEAD "{\"keys\":[]}");
	return fixture_set_up(state);
}

static int
tear_down(void **state)
{
	EVP_PKEY_free(key);
	buf_fini(&one);
	buf_fini(&two);
	buf_fini(&broken);
	return fixture_tear_down(state);
}

static void
test_keys_come_from_the_url_and_are_kept_fresh(void **state)
{
	struct asked a = { 0 };

	(void)state;
	begin(&a, &one, 30, 0, 0);
	run_until(until_changes, 1);
	assert_int_equal(known(), 1);
	assert_non_null(strstr(a.f.peer.last_head, "GET /keys?x=1 HTTP/1.1\r\n"));
	run_until(until_requests, 4);	/* the same document again: nothing has changed */
	assert_int_equal(a.changes, 1);
	answer_with(&two);
	run_until(until_changes, 2);
	assert_int_equal(known(), 2);
	assert_false(issuers_are_ill(a.issuers));
	end(&a);
}

static void
test_an_ill_url_costs_no_keys(void **state)
{
	static const struct buf *const answers[] = { NULL, &broken };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct asked a = { 0 };

		begin(&a, &one, 30, 0, 0);
		run_until(until_changes, 1);
		answer_with(answers[i]);
		run_until(until_ill, 0);
		assert_int_equal(known(), 1);
		assert_int_equal(a.changes, 1);
		answer_with(&two);
		run_until(until_changes, 2);		/* a second later */
		assert_int_equal(known(), 2);
		assert_false(issuers_are_ill(a.issuers));
		end(&a);
	}
}

static void
test_keys_are_given_up_in_the_end(void **state)
{
	struct asked a = { 0 };

	(void)state;
	begin(&a, &one, 30, 0, 10);
	run_until(until_changes, 1);
	answer_with(NULL);
	run_until(until_changes, 2);
	assert_int_equal(known(), 0);
	assert_true(issuers_are_ill(a.issuers));
	end(&a);
}

static void
test_an_unknown_key_makes_it_ask_but_not_too_often(void **state)
{
	struct asked a = { 0 };

	(void)state;
	begin(&a, &one, 0, 200, 0);
	run_until(until_changes, 1);
	for (int i = 0; i < 100; i++)
		issuers_want(a.issuers, STR("i"));
	issuers_want(a.issuers, STR("another"));
	fixture_run_ms(&a.f, 50);
	assert_int_equal(atomic_load(&a.f.peer.requests), 1);
	fixture_run_ms(&a.f, 200);
	answer_with(&two);
	for (int i = 0; i < 100; i++)
		issuers_want(a.issuers, STR("i"));
	run_until(until_changes, 2);
	assert_int_equal(known(), 2);
	assert_int_equal(atomic_load(&a.f.peer.requests), 2);
	end(&a);
}

/* A server that no authority of ours vouches for gives no keys, and is sent no byte. */
static void
test_the_server_is_verified(void **state)
{
	struct asked a = { 0 };
	struct buf error = BUF_EMPTY;

	(void)state;
	asked = &a;
	fixture_init(&a.f, &(struct fixture_options){ 0 });
	answer_with(&one);
	a.config = config_of(a.f.peer.port, "/etc/ssl/certs/ca-certificates.crt");
	a.settings = (struct issuers_settings){ .loop = a.f.loop, .resolver = a.f.resolver, .on_change = on_change, .arg = &a };
	a.issuers = issuers_new(&a.settings, a.config, NULL, &error);
	issuers_begin(a.issuers);
	run_until(until_ill, 0);
	assert_int_equal(known(), 0);
	assert_int_equal(atomic_load(&a.f.peer.http_bytes), 0);
	end(&a);
}

/* A reload takes over what the same URL has given, and nothing where the algorithms differ. */
static void
test_a_reload_keeps_what_is_known(void **state)
{
	struct asked a = { 0 };
	struct buf error = BUF_EMPTY;
	struct issuers *next;

	(void)state;
	begin(&a, &one, 0, 0, 0);
	run_until(until_changes, 1);
	next = issuers_new(&a.settings, a.config, a.issuers, &error);
	issuers_free(&a.issuers);
	a.issuers = next;
	assert_int_equal(known(), 1);
	a.config->issuers[0].algorithms = 1u << JWA_ES256;	/* before anybody else has it */
	next = issuers_new(&a.settings, a.config, NULL, &error);
	issuers_free(&a.issuers);
	a.issuers = next;
	assert_int_equal(known(), 0);
	end(&a);
}

/* What upstream.no_proxy does not except is asked for through the proxy. */
static void
test_keys_come_through_the_proxy(void **state)
{
	static const struct { const char *more; unsigned tunnels; } rows[] = {
		{ "\"proxy\": \"http://127.0.0.1:1\", ", 1 },
		{ "\"proxy\": \"http://127.0.0.1:1\", \"no_proxy\": [\"" NAME "\"], ", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf error = BUF_EMPTY;
		struct asked a = { 0 };
		struct proxy proxy;
		char url[40];

		asked = &a;
		proxy_start(&proxy);
		fixture_init(&a.f, &(struct fixture_options){ 0 });
		answer_with(&one);
		proxy.target = a.f.peer.port;
		snprintf(url, sizeof(url), "http://127.0.0.1:%u", proxy.port);
		a.config = config_with(a.f.peer.port, fixture_ca_file, rows[i].more);
		a.settings = (struct issuers_settings){ .loop = a.f.loop, .resolver = a.f.resolver, .proxy = str_from(url),
			.on_change = on_change, .arg = &a };
		a.issuers = issuers_new(&a.settings, a.config, NULL, &error);
		issuers_begin(a.issuers);
		run_until(until_changes, 1);
		assert_int_equal(known(), 1);
		assert_int_equal(atomic_load(&proxy.tunnels), rows[i].tunnels);
		end(&a);
		proxy_stop(&proxy);
	}
}

/* Freed while it asks. */
static void
test_an_end_while_asking(void **state)
{
	struct asked a = { 0 };

	(void)state;
	begin(&a, &one, 0, 0, 0);
	end(&a);
	assert_int_equal(a.changes, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_come_from_the_url_and_are_kept_fresh),
		cmocka_unit_test(test_an_ill_url_costs_no_keys),
		cmocka_unit_test(test_keys_are_given_up_in_the_end),
		cmocka_unit_test(test_an_unknown_key_makes_it_ask_but_not_too_often),
		cmocka_unit_test(test_the_server_is_verified),
		cmocka_unit_test(test_a_reload_keeps_what_is_known),
		cmocka_unit_test(test_keys_come_through_the_proxy),
		cmocka_unit_test(test_an_end_while_asking),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
