/* rules/config: what a text means. */
#include "rules/config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config_change.h"

static struct config *
parse(struct str text, struct buf *errors)
{
	return config_parse(text, STR("f.json"), STR("/etc/jobgate"), errors);
}

/* The snapshot of TEXT, which must be right. */
static struct config *
parse_good(const char *text)
{
	struct buf errors = BUF_EMPTY;
	struct config *config = parse(str_from(text), &errors);

	if (config == NULL)
		fail_msg("%.*s", STR_ARG(buf_str(&errors)));
	assert_int_equal(errors.n, 0);
	buf_fini(&errors);
	return config;
}

static void
assert_str(struct str s, const char *expected)
{
	if (!str_eq(s, str_from(expected)))
		fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), expected);
}

/* The contract's defaults, to the letter. */
static void
test_least_configuration_has_the_defaults(void **state)
{
	struct config *c = parse_good(LEAST);

	(void)state;
	assert_int_equal(c->listen_count, 1);
	assert_str(c->listen[0].host, "127.0.0.1");
	assert_int_equal(c->listen[0].port, 8080);
	assert_false(c->listen[0].tls);
	assert_int_equal(c->admin.port, 8081);
	assert_str(c->instance, "");
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->spread, CONFIG_SPREAD_FEW);
	assert_str(c->public_origin, "");
	assert_str(c->upstream.host, "127.0.0.1");
	assert_int_equal(c->upstream.port, 9443);
	assert_str(c->upstream.authority, "api.fabric.microsoft.com");
	assert_str(c->upstream.origin, "https://api.fabric.microsoft.com");
	assert_str(c->upstream.server_name, "api.fabric.microsoft.com");
	assert_str(c->upstream.ca_file, "/etc/jobgate/ca.pem");
	assert_int_equal(c->upstream.timeout_us, 30000000);
	assert_int_equal(c->upstream.idle_timeout_us, 10000000);
	assert_int_equal(c->identity_count, 1);
	assert_str(c->identities[0].name, "default");
	assert_int_equal(c->identities[0].quota.requests, 200);
	assert_int_equal(c->identities[0].quota.window_us, 60000000);
	assert_int_equal(c->identities[0].quota.jitter_us, 250000);
	assert_int_equal(c->identities[0].quota.outside, 0);
	assert_int_equal(c->identities[0].quota.burst, 0);
	assert_int_equal(c->caller_count, 1);
	assert_str(c->callers[0].name, "etl");
	assert_str(c->callers[0].keys[0].id, "e3b0c442");
	assert_int_equal(c->callers[0].keys[0].sha256[31], 0x55);
	assert_int_equal(c->callers[0].identity, 0);
	assert_int_equal(c->callers[0].weight, 1);
	assert_int_equal(c->callers[0].rate.requests, 0);
	assert_int_equal(c->rate_limit_count, 0);
	assert_int_equal(c->callers[0].location, CONFIG_LOCATION_PRESERVE);
	assert_int_equal(c->callers[0].validate, CONFIG_VALIDATE_ENFORCE);
	assert_false(c->callers[0].allow_given);
	assert_int_equal(c->callers[0].wait_max_us, 20000000);
	assert_int_equal(c->callers[0].wait_queue, 1000);
	assert_false(c->store.redis);
	assert_str(c->store.prefix, "jobgate");
	assert_int_equal(c->store.timeout_us, 100000);
	assert_true(c->store.share);
	assert_int_equal(c->wait_max_us, 20000000);
	assert_int_equal(c->wait_queue, 1000);
	assert_int_equal(c->limits.connections, 10000);
	assert_int_equal(c->limits.head_bytes, 32768);
	assert_int_equal(c->limits.body_bytes, 262144);
	assert_int_equal(c->limits.head_timeout_us, 10000000);
	assert_int_equal(c->limits.body_timeout_us, 30000000);
	assert_int_equal(c->limits.idle_timeout_us, 180000000);
	assert_str(c->audit_directory, "/etc/jobgate/audit");
	assert_int_equal(c->audit_refusals, 10);
	assert_int_equal(c->resolve.match, CONFIG_MATCH_OFF);
	assert_int_equal(c->resolve.delay_us, 15000000);
	assert_int_equal(c->resolve.tries, 3);
	assert_int_equal(c->resolve.window_us, 120000000);
	assert_int_equal(c->drain_delay_us, 0);
	assert_int_equal(c->drain_timeout_us, 35000000);
	assert_int_equal(c->log_level, LOG_INFO);
	assert_int_equal(c->warning_count, 2);
	assert_str(c->warnings[0], "no store is set: the quota is counted for this instance alone");
	assert_str(c->warnings[1], "polls that follow Location bypass the gate for caller \"etl\": \"location\" is \"preserve\", "
	    "the default without public_url");
	config_unref(&c);
	assert_null(c);
}

static void
test_every_key_is_read(void **state)
{
	struct config *c = parse_good("{\"$schema\": \"./jobgate.schema.json\", \"comment\": [\"any\", {\"thing\": 1}],"
	    "\"instance\": \"gate-1\", \"workers\": 3, \"spread\": \"all\", \"public_url\": \"HTTPS://Gate.Example:443/fabric/\","
	    "\"listen\": [{\"comment\": 1, \"address\": \"[::]:8443\", \"tls\": {\"cert_file\": \"c.pem\", \"key_file\": \"/k.pem\"}},"
	    "  {\"address\": \"0.0.0.0:8080\", \"plain\": true}], \"admin\": {\"address\": \"[::1]:9\"},"
	    "\"upstream\": {\"url\": \"https://API.example:8443/\", \"timeout\": \"15s\", \"idle_timeout\": \"500ms\"},"
	    "\"identities\": [{\"name\": \"sp-one\", \"quota\": {\"requests\": 50, \"window\": \"1m\", \"jitter\": \"1s\", \"outside\": 10, \"burst\": 40}}],"
	    "\"callers\": [{\"name\": \"a\", \"identity\": \"sp-one\", \"location\": \"preserve\", \"validate\": \"report\","
	    "  \"weight\": 7, \"rate\": {\"requests\": 30, \"window\": \"1m\", \"burst\": 4},"
	    "  \"keys\": [{\"id\": \"k1\", \"sha256\": \"" HASH_A "\"}, {\"id\": \"k2\", \"sha256\": \"" HASH_B "\"}],"
	    "  \"allow\": [{\"workspace\": \"CFAFBEB1-8037-4d0c-896e-a46fb27ff229\", \"items\": [\"" ITEM "\"],"
	    "    \"job_types\": [\"RunNotebook\", \"Pipeline\"], \"operations\": [\"run\", \"cancel\"]}, {\"workspace\": \"*\", \"items\": \"*\"}]}],"
	    "\"rules\": [{\"name\": \"nb\", \"identity\": \"sp-one\", \"workspace\": \"CFAFBEB1-8037-4d0c-896e-a46fb27ff229\","
	    "    \"items\": [\"" ITEM "\"], \"job_types\": [\"RunNotebook\"], \"operations\": [\"run\"], \"rate\": {\"requests\": 5, \"window\": \"1d\"}},"
	    "  {\"name\": \"all\", \"rate\": {\"requests\": 9, \"window\": \"1s\", \"burst\": 2}}],"
	    "\"store\": {\"redis\": \"redis://us%65r:p%40ss@[::1]:7000/5\", \"prefix\": \"gate:prod\", \"timeout\": \"50ms\", \"on_failure\": \"closed\"},"
	    "\"wait\": {\"max\": \"5s\", \"queue\": 7}, \"limits\": {\"connections\": 11, \"head_bytes\": 4096, \"body_bytes\": 1000,"
	    "  \"head_timeout\": \"1s\", \"body_timeout\": \"2s\", \"idle_timeout\": \"1h\"},"
	    "\"audit\": {\"refusals\": 5}, \"drain\": {\"delay\": \"5s\", \"timeout\": \"1m\"}, \"log\": {\"level\": \"debug\"}}");
	const struct config_allow *allow = c->callers[0].allow;
	const struct config_limit *limits = c->rate_limits;

	(void)state;
	assert_str(c->instance, "gate-1");
	assert_int_equal(c->workers, 3);
	assert_int_equal(c->spread, CONFIG_SPREAD_ALL);
	assert_str(c->public_origin, "https://gate.example");
	assert_str(c->public_path, "/fabric");
	assert_true(c->listen[0].tls);
	assert_str(c->listen[0].host, "::");
	assert_str(c->listen[0].cert_file, "/etc/jobgate/c.pem");
	assert_str(c->listen[0].key_file, "/k.pem");
	assert_true(c->listen[1].plain);
	assert_str(c->admin.host, "::1");
	assert_str(c->upstream.host, "api.example");
	assert_str(c->upstream.server_name, "api.example");
	assert_str(c->upstream.authority, "api.example:8443");
	assert_str(c->upstream.origin, "https://api.example:8443");
	assert_int_equal(c->upstream.idle_timeout_us, 500000);
	assert_int_equal(c->identities[0].quota.outside, 10);
	assert_int_equal(c->identities[0].quota.jitter_us, 1000000);
	assert_int_equal(c->identities[0].quota.burst, 40);
	assert_int_equal(c->callers[0].key_count, 2);
	assert_str(c->callers[0].keys[1].id, "k2");
	assert_int_equal(c->callers[0].weight, 7);
	assert_int_equal(c->callers[0].rate.requests, 30);
	assert_int_equal(c->callers[0].rate.window_us, 60000000);
	assert_int_equal(c->callers[0].rate.burst, 4);
	assert_int_equal(c->callers[0].validate, CONFIG_VALIDATE_REPORT);
	assert_int_equal(c->callers[0].allow_count, 2);
	assert_str(allow[0].workspace, WS);
	assert_str(allow[0].items[0], ITEM);
	assert_int_equal(allow[0].job_type_count, 2);
	assert_int_equal(allow[0].operations, 1u << RIGHT_RUN | 1u << RIGHT_CANCEL);
	assert_int_equal(allow[1].workspace.n, 0);
	assert_int_equal(allow[1].item_count, 0);
	assert_int_equal(allow[1].operations, (1u << RIGHT_COUNT) - 1);
	assert_int_equal(c->rate_limit_count, 2);
	assert_str(limits[0].name, "nb");
	assert_true(limits[0].identity_given);
	assert_int_equal(limits[0].identity, 0);
	assert_str(limits[0].match.workspace, WS);
	assert_str(limits[0].match.items[0], ITEM);
	assert_str(limits[0].match.job_types[0], "RunNotebook");
	assert_int_equal(limits[0].match.operations, 1u << RIGHT_RUN);
	assert_int_equal(limits[0].rate.window_us, INT64_C(86400000000));
	assert_int_equal(limits[0].rate.burst, 5);
	assert_false(limits[1].identity_given);
	assert_int_equal(limits[1].match.workspace.n + limits[1].match.item_count + limits[1].match.job_type_count, 0);
	assert_int_equal(limits[1].match.operations, (1u << RIGHT_COUNT) - 1);
	assert_int_equal(limits[1].rate.burst, 2);
	assert_true(c->store.redis);
	assert_str(c->store.host, "::1");
	assert_int_equal(c->store.port, 7000);
	assert_int_equal(c->store.db, 5);
	assert_str(c->store.username, "user");
	assert_str(c->store.password, "p@ss");
	assert_str(c->store.prefix, "gate:prod");
	assert_false(c->store.share);
	assert_int_equal(c->wait_queue, 7);
	assert_int_equal(c->callers[0].wait_queue, 7);
	assert_int_equal(c->limits.idle_timeout_us, 3600000000);
	assert_str(c->audit_directory, "");
	assert_int_equal(c->drain_delay_us, 5000000);
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_int_equal(c->warning_count, 1);
	config_unref(&c);
}

#define SMALL "{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"upstream\": {\"url\": \"https://h\", " \
	"\"quota\": {\"requests\": 200, \"window\": \"60s\"}}, " \
	"\"callers\": [{\"name\": \"a\", \"keys\": [{\"sha256\": \"" HASH_A "\"}]}], "

/* A caller's own wait stands for itself, beyond the general one too; what it leaves out is the general one's. */
static void
test_caller_wait(void **state)
{
	struct config *c = parse_good(SMALL "\"wait\": {\"max\": \"5s\", \"queue\": 7}}");

	(void)state;
	assert_int_equal(c->callers[0].wait_max_us, 5000000);
	config_unref(&c);
	c = parse_good("{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"upstream\": {\"url\": \"https://h\", "
	    "\"quota\": {\"requests\": 200, \"window\": \"60s\"}}, \"wait\": {\"max\": \"5s\", \"queue\": 7}, \"callers\": ["
	    "{\"name\": \"a\", \"keys\": [{\"sha256\": \"" HASH_A "\"}], \"wait\": {\"max\": \"40s\"}},"
	    "{\"name\": \"b\", \"keys\": [{\"sha256\": \"" HASH_B "\"}], \"wait\": {\"queue\": 3}}]}");
	assert_int_equal(c->callers[0].wait_max_us, 40000000);
	assert_int_equal(c->callers[0].wait_queue, 7);
	assert_int_equal(c->callers[1].wait_max_us, 5000000);
	assert_int_equal(c->callers[1].wait_queue, 3);
	assert_int_equal(c->warning_count, 3);	/* no store, preserve, and: */
	assert_str(str_sub(c->warnings[2], 0, 16), "wait.max of \"a\" ");
	config_unref(&c);
}

/* Without a burst all requests of a rate may come at once, up to a million. */
static void
test_rate_burst(void **state)
{
	static const struct { const char *rate; int64_t burst; } rates[] = {
		{ "{\"requests\": 30, \"window\": \"1m\"}", 30 },
		{ "{\"requests\": 30, \"window\": \"1m\", \"burst\": 1}", 1 },
		{ "{\"requests\": 30, \"window\": \"1m\", \"burst\": 1000}", 1000 },
		{ "{\"requests\": 10000000, \"window\": \"1m\"}", 1000000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		char *text = change(LEAST, "callers[0].rate", rates[i].rate);
		struct config *c = parse_good(text);

		assert_int_equal(c->callers[0].rate.burst, rates[i].burst);
		config_unref(&c);
		free(text);
	}
}

/* A caller's rate above all that its identity has left is warned of; one that is just as high is not. */
static void
test_rate_above_the_quota(void **state)
{
	static const struct { const char *rate; bool warned; } rates[] = {
		{ "{\"requests\": 190, \"window\": \"1m\"}", false },
		{ "{\"requests\": 191, \"window\": \"1m\"}", true },
		{ "{\"requests\": 11400, \"window\": \"1h\"}", false },
		{ "{\"requests\": 11401, \"window\": \"1h\"}", true },
		{ "{\"requests\": 1, \"window\": \"1d\"}", false },
		{ "{\"requests\": 10000000, \"window\": \"1s\"}", true },
	};
	char *outside = change(LEAST, "upstream.quota.outside", "10");

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		char *text = change(outside, "callers[0].rate", rates[i].rate);
		struct config *c = parse_good(text);

		assert_int_equal(c->warning_count, 2 + rates[i].warned);	/* no store, preserve, and: */
		if (rates[i].warned)
			assert_str(c->warnings[2], "\"rate\" of \"etl\" is above the whole quota of the identity: in the long run it "
			    "limits nothing");
		config_unref(&c);
		free(text);
	}
	free(outside);
}

/* The store's three kinds of URL. */
static void
test_store_urls(void **state)
{
	struct config *c = parse_good(SMALL "\"store\": {\"redis\": \"rediss://:k%2Fey=@R.Example\", \"ca_file\": \"ca.pem\"}}");

	(void)state;
	assert_true(c->store.redis && c->store.tls);
	assert_str(c->store.host, "r.example");
	assert_int_equal(c->store.port, 6379);
	assert_str(c->store.password, "k/ey=");
	assert_str(c->store.ca_file, "/etc/jobgate/ca.pem");
	config_unref(&c);
	c = parse_good(SMALL "\"store\": {\"redis\": \"redis+sentinel://u:p%2C@A.b,[::1]:5,10.0.0.1:6/main/3\"}}");
	assert_true(c->store.redis && !c->store.tls);
	assert_int_equal(c->store.sentinel_count, 3);
	assert_str(c->store.sentinels[0].host, "a.b");
	assert_int_equal(c->store.sentinels[0].port, 26379);
	assert_str(c->store.sentinels[1].host, "::1");
	assert_int_equal(c->store.sentinels[1].port, 5);
	assert_str(c->store.sentinels[2].host, "10.0.0.1");
	assert_str(c->store.service, "main");
	assert_str(c->store.password, "p,");
	assert_int_equal(c->store.db, 3);
	config_unref(&c);
}

static void
test_upstream_origin_and_host(void **state)
{
	static const struct { const char *url, *server_name, *authority, *verified; int port; } hosts[] = {
		{ "\"https://api.example\"", NULL, "api.example", "api.example", 443 },
		{ "\"https://api.example:443/\"", NULL, "api.example", "api.example", 443 },
		{ "\"https://api.example:8443\"", NULL, "api.example:8443", "api.example", 8443 },
		{ "\"https://[::1]:8443\"", NULL, "[::1]:8443", "::1", 8443 },
		{ "\"https://[::1]\"", NULL, "[::1]", "::1", 443 },
		{ "\"https://10.0.0.1:8443\"", "\"Other.Example\"", "other.example", "other.example", 8443 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		char *named = change(LEAST, "upstream.server_name", hosts[i].server_name);
		char *text = change(named, "upstream.url", hosts[i].url);
		struct config *c = parse_good(text);

		assert_str(c->upstream.authority, hosts[i].authority);
		assert_str(c->upstream.server_name, hosts[i].verified);
		assert_int_equal(c->upstream.port, hosts[i].port);
		assert_true(str_starts(c->upstream.origin, STR("https://")));
		assert_str(str_sub(c->upstream.origin, 8, c->upstream.origin.n), hosts[i].authority);
		config_unref(&c);
		free(text);
		free(named);
	}
}

static void
test_defaults_follow_public_url(void **state)
{
	char *text = change(LEAST, "public_url", "\"http://Gate:80/\"");
	struct config *c = parse_good(text);

	(void)state;
	assert_str(c->public_origin, "http://gate");
	assert_str(c->public_path, "");
	assert_int_equal(c->callers[0].location, CONFIG_LOCATION_REWRITE);
	assert_int_equal(c->warning_count, 1);
	config_unref(&c);
	free(text);
}

static void
test_identities_take_the_upstreams_quota(void **state)
{
	char *text = change(LEAST, "identities", "[{\"name\": \"a\", \"quota\": {\"requests\": 5, \"window\": \"1s\"}}, {\"name\": \"default\"}]");
	struct config *c = parse_good(text);
	char *without;
	struct buf errors = BUF_EMPTY;

	(void)state;
	assert_int_equal(c->identities[0].quota.requests, 5);
	assert_int_equal(c->identities[1].quota.requests, 200);
	assert_int_equal(c->callers[0].identity, 1);
	config_unref(&c);
	without = change(text, "upstream.quota", NULL);
	assert_null(parse(str_from(without), &errors));
	assert_str(buf_str(&errors), "f.json: upstream.quota: is missing, and identity \"default\" has none of its own\n");
	buf_fini(&errors);
	free(without);
	free(text);
}

/* Append a configuration with COUNT callers, each with one key. */
static void
add_many_callers(struct buf *text, size_t count)
{
	buf_add_z(text, "{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"upstream\": {\"url\": \"https://h\","
	    "\"quota\": {\"requests\": 200, \"window\": \"60s\"}}, \"callers\": [");
	for (size_t i = 0; i < count; i++)
		buf_printf(text, "%s{\"name\": \"caller-%zu\", \"keys\": [{\"sha256\": \"%064zx\"}]}", i ? "," : "", i, i + 1);
	buf_add_z(text, "]}");
}

static void
test_warnings_count_what_they_do_not_name(void **state)
{
	struct buf text = BUF_EMPTY, errors = BUF_EMPTY;
	struct config *c;

	(void)state;
	add_many_callers(&text, 12);
	c = parse(buf_str(&text), &errors);
	assert_non_null(c);
	assert_int_equal(c->warning_count, 2);
	assert_true(str_find(c->warnings[1], STR("callers \"caller-0\", \"caller-1\"")) < c->warnings[1].n);
	assert_true(str_find(c->warnings[1], STR("\"caller-9\" and 2 more:")) < c->warnings[1].n);
	config_unref(&c);
	buf_fini(&text);
	buf_fini(&errors);
}

/* Proxies among all addresses are nobody's to trust; a half of them is somebody's choice. */
static void
test_proxies_of_all_addresses(void **state)
{
	static const struct { const char *network; size_t warnings; } rows[] = { { "0.0.0.0/0", 3 }, { "::/0", 3 }, { "0.0.0.0/1", 2 },
		{ "8000::/1", 2 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf value = BUF_EMPTY;
		struct config *c;
		char *text;

		buf_printf(&value, "[\"%s\"]%c", rows[i].network, '\0');
		text = change(LEAST, "listen[0].trusted_proxies", value.p);
		c = parse_good(text);
		assert_int_equal(c->warning_count, rows[i].warnings);
		config_unref(&c);
		free(text);
		buf_fini(&value);
	}
}

/* Names, hashes and identities of 10,000 callers are compared without comparing each with each. */
static void
test_ten_thousand_callers(void **state)
{
	struct buf text = BUF_EMPTY, errors = BUF_EMPTY;
	struct config *c;

	(void)state;
	add_many_callers(&text, 10000);
	c = parse(buf_str(&text), &errors);
	assert_non_null(c);
	assert_int_equal(c->caller_count, 10000);
	assert_true(c->key_slot_count >= 20000);
	config_unref(&c);
	buf_fini(&text);
	buf_fini(&errors);
}

/* Two million listeners in 6 MB were once compared each with each, for hours: a reload must not hang the process. */
static void
test_long_lists_are_refused_at_once(void **state)
{
	struct buf text = BUF_EMPTY, errors = BUF_EMPTY;

	(void)state;
	buf_add_z(&text, "{\"upstream\": {\"url\": \"https://h\", \"quota\": {\"requests\": 2, \"window\": \"1s\"}}, \"callers\": ["
	    "{\"name\": \"a\", \"keys\": [{\"sha256\": \"" HASH_A "\"}]}], \"listen\": [");
	for (int i = 0; i < 100000; i++)
		buf_add_z(&text, "{},");
	buf_add_z(&text, "{}]}");
	assert_null(parse(buf_str(&text), &errors));
	assert_str(buf_str(&errors), "f.json: listen: must be a list of at most 64, has 100001\n");
	buf_fini(&text);
	buf_fini(&errors);
}

static void
test_the_last_reference_frees(void **state)
{
	struct config *a = parse_good(LEAST), *b = config_ref(a);

	(void)state;
	config_unref(&a);
	assert_null(a);
	assert_str(b->callers[0].name, "etl");
	config_unref(&b);
	config_unref(&b);	/* nothing there: nothing done */
}

/* Whatever stands in the file, there is either a snapshot or at least one error (sanitizers watch the rest). */
static void
test_damaged_texts_end_well(void **state)
{
	char text[] = LEAST;
	size_t n = sizeof(text) - 1;
	uint32_t random = 12345;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct buf errors = BUF_EMPTY;
		struct config *config;
		char kept[3];
		size_t at[3];

		for (int k = 0; k < 3; k++) {
			random = random * 1664525 + 1013904223;
			at[k] = (random >> 8) % n;
			kept[k] = text[at[k]];
			text[at[k]] = k == i % 3 ? (char)random : "\"{}[]:,0-9.sm/@ "[random >> 28];
		}
		config = parse((struct str){ text, i % 7 ? n : at[0] }, &errors);
		assert_true((config == NULL) == (errors.n > 0));
		config_unref(&config);
		buf_fini(&errors);
		for (int k = 2; k >= 0; k--)
			text[at[k]] = kept[k];
	}
}

static void
test_names(void **state)
{
	char longest[CONFIG_NAME_MAX + 2];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	assert_true(config_is_name((struct str){ longest, CONFIG_NAME_MAX }));
	assert_false(config_is_name((struct str){ longest, CONFIG_NAME_MAX + 1 }));
	assert_true(config_is_name(STR("Team/etl_1.x-y:z@q")));
	assert_false(config_is_name(STR("")));
	assert_false(config_is_name(STR("a\0b")));
	assert_false(config_is_name(STR("a\"b")));
	assert_false(config_is_name(STR("a{b}")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_least_configuration_has_the_defaults),
		cmocka_unit_test(test_every_key_is_read),
		cmocka_unit_test(test_caller_wait), cmocka_unit_test(test_rate_burst), cmocka_unit_test(test_rate_above_the_quota),
		cmocka_unit_test(test_store_urls), cmocka_unit_test(test_upstream_origin_and_host),
		cmocka_unit_test(test_defaults_follow_public_url),
		cmocka_unit_test(test_identities_take_the_upstreams_quota),
		cmocka_unit_test(test_warnings_count_what_they_do_not_name),
		cmocka_unit_test(test_proxies_of_all_addresses),
		cmocka_unit_test(test_ten_thousand_callers),
		cmocka_unit_test(test_long_lists_are_refused_at_once),
		cmocka_unit_test(test_the_last_reference_frees),
		cmocka_unit_test(test_damaged_texts_end_well),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
