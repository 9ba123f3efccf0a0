/* rules/config: every sentence about what is wrong. */
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

#include "config_change.h"

static struct config *
parse(struct str text, struct buf *errors)
{
	return config_parse(text, STR("f.json"), STR("/etc/jobgate"), errors);
}

static void
assert_str(struct str s, const char *expected)
{
	if (!str_eq(s, str_from(expected)))
		fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), expected);
}

#define DURATION(from, to) "must be a duration (whole ms, s, m, h or d) from \"" from "\" to \"" to "\", is "
#define ADDRESS "must be a numeric address and a port, as \"127.0.0.1:8080\" or \"[::1]:8080\", is "
#define URL_HOST "must have a host that is a DNS name, an IPv4 address or an IPv6 address in brackets"
#define URL_PORT "must have a host and, behind a colon, a port from 1 to 65535 (an IPv6 address in brackets)"
#define URL_TEXT "must be a URL of visible ASCII characters without query and fragment"
#define NAME "must be a name: 1 to 64 ASCII letters, digits or any of . _ - : @ /, is "
#define KEY_HASH "must be the SHA-256 of the key as 64 hexadecimal digits (jobgate key new NAME prints both; for a key of " \
	"your own: printf %s KEY | sha256sum), is a text of "
#define PERCENT "must have user and password percent-encoded (%40 for @, %2F for /)"
#define SERVICE "must name the service behind the hosts: redis+sentinel://host:port,host:port/service"
#define SENTINELS "must have 1 to 16 Sentinels as host:port, divided by commas"
#define ONE "\"rate\": {\"requests\": 1, \"window\": \"1s\"}"
#define SAN "must be a name as \"DNS:etl.example\", \"URI:spiffe://example/etl\" or \"email:etl@example\", is "
#define CIDR "must be a network as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address, is "
#define SIZE "must be a size (whole KB, MB, GB or TB) from \"256MB\" to \"1024TB\", is "
#define ETL "callers[0] (\"etl\")"

/* One change to the least configuration, and all that is then said. NULL: it is right. */
static const struct { const char *path, *value, *errors; } rows[] = {
	/* keys */
	{ "listn", "[]", "listn: unknown key; did you mean \"listen\"?" },
	{ "zebra", "1", "zebra: unknown key" },
	{ "$schema", "\"x\"", NULL },
	{ "upstream.$schema", "\"x\"", "upstream.$schema: unknown key" },
	{ "comment", "{\"a\": null}", NULL },
	{ "callers[0].keys[0].comment", "\"rotated in May\"", NULL },
	{ "upstream.URL", "1", "upstream.URL: unknown key; did you mean \"url\"?" },
	{ "callers[0].alow", "1", ETL ".alow: unknown key; did you mean \"allow\"?" },
	{ "callers[0].keys[0].a\x01" "b\\", "1", ETL ".keys[0].a\\u0001b\\\\: unknown key" },
	{ "listen", NULL, "listen: is missing" },
	{ "upstream.url", NULL, "upstream.url: is missing" },
	{ "upstream.quota", NULL, "upstream.quota: is missing, and identity \"default\" has none of its own" },
	{ "upstream.quota.window", NULL, "upstream.quota.window: is missing" },
	{ "callers", NULL, "callers: is missing" },
	{ "callers[0].keys", NULL, ETL ": needs \"keys\", \"tokens\" or \"certificates\", by which it is known" },
	{ "callers[0].name", NULL, "callers[0].name: is missing" },
	{ "admin", NULL, NULL },
	{ "audit", NULL, NULL },
	/* what later work brings */
	{ "listen[0].trusted_proxies", "[]", "listen[0].trusted_proxies: must be a list of at least one, is an empty list" },
	{ "listen[0].trusted_proxies", "[\"10.0.0.0/8\"]", NULL },
	{ "listen[0].trusted_proxies", "[\"10.0.0.1/8\"]", "listen[0].trusted_proxies[0]: must be the first address of its network: bits "
	    "behind the prefix are set, is \"10.0.0.1/8\"" },
	{ "listen[0].proxy_protocol", "false", NULL },
	{ "listen[0].proxy_protocol", "true", "listen[0]: has \"proxy_protocol\" and needs \"trusted_proxies\": who may say for whom it "
	    "connects" },
	{ "listen[0].proxy_protocol", "2", "listen[0].proxy_protocol: must be true or false, is 2" },
	{ "admin.token", "{\"env\": \"TOKEN\"}", NULL },
	{ "admin.token", "{}", "admin.token: must have exactly one of \"file\" and \"env\"" },
	{ "admin.token", "\"hunter2\"", "admin.token: must be {\"file\": \"...\"} or {\"env\": \"...\"}; a secret does not stand here itself" },
	{ "upstream.replay_429", "false", NULL },
	{ "upstream.quota", "{\"requests\": 2, \"window\": \"60s\"}", NULL },
	{ "upstream.quota.burst", "1", NULL },
	{ "upstream.quota.burst", "200", NULL },
	{ "upstream.quota.burst", "201", "upstream.quota: burst must be 1 to requests less outside" },
	{ "upstream.quota.burst", "0", "upstream.quota.burst: must be 1 to 10000000, is 0" },
	{ "callers[0].keys[0].expires", "\"2027-01-31T00:00:00Z\"", NULL },
	{ "callers[0].keys[0].expires", "\"2027-02-29T00:00:00Z\"", ETL ".keys[0].expires: must be a date and a time with its offset "
	    "(RFC 3339), as \"2027-01-31T00:00:00Z\", is \"2027-02-29T00:00:00Z\"" },
	{ "callers[0].keys[0].expires", "7", ETL ".keys[0].expires: must be a date and a time with its offset (RFC 3339), as "
	    "\"2027-01-31T00:00:00Z\", is 7" },
	{ "callers[0].keys[0].networks", "[\"10.0.0.0/8\", \"::1\"]", NULL },
	{ "callers[0].keys[0].networks", "[]", ETL ".keys[0].networks: must be a list of at least one, is an empty list" },
	{ "callers[0].keys[0].networks", "[\"::\", \"10.1.0.0/8\"]", ETL ".keys[0].networks[1]: must be the first address of its network: "
	    "bits behind the prefix are set, is \"10.1.0.0/8\"" },
	{ "callers[0].keys[0].networks", "[4]", ETL ".keys[0].networks[0]: " CIDR "4" },
	{ "callers[0].keys[0].networks", "[\"localhost\"]", ETL ".keys[0].networks[0]: " CIDR "\"localhost\"" },
	{ "callers[0].keys[0].networks", "[\"10.0.0.0/33\"]", ETL ".keys[0].networks[0]: must have a prefix of 0 to 32 behind the slash, "
	    "is \"10.0.0.0/33\"" },
	{ "callers[0].keys[0].networks", "[\"::/129\"]", ETL ".keys[0].networks[0]: must have a prefix of 0 to 128 behind the slash, "
	    "is \"::/129\"" },
	{ "polls", "{\"min_refresh\": \"0s\"}", "polls.min_refresh: must be a duration (whole ms, s, m, h or d) from \"1s\" to \"5m\", is \"0s\"" },
	/* kinds and bounds */
	{ "workers", "0", "workers: must be 1 to 64, is 0" },
	{ "workers", "65", "workers: must be 1 to 64, is 65" },
	{ "workers", "\"4\"", "workers: must be 1 to 64, is \"4\"" },
	{ "workers", "2.0", "workers: must be 1 to 64, is 2.0" },
	{ "workers", "64", NULL },
	{ "spread", "\"all\"", NULL },
	{ "spread", "\"some\"", "spread: must be \"few\" or \"all\", is \"some\"" },
	{ "upstream", "[]", "upstream: must be an object, is an empty list\n"
	    "f.json: upstream.quota: is missing, and identity \"default\" has none of its own" },
	{ "limits", "null", "limits: must be an object, is null" },
	{ "limits", "{\"body_bytes\": 4194305}", "limits.body_bytes: must be 256 to 4194304, is 4194305" },
	{ "audit.directory", "\"\"", "audit.directory: must be a text of 1 to 4095 bytes, is one of 0" },
	{ "audit.directory", "7", "audit.directory: must be a text, is 7" },
	{ "audit.digest_key", "\"hunter2\"", "audit.digest_key: must be {\"file\": \"...\"} or {\"env\": \"...\"}; a secret does not stand here itself" },
	{ "audit.digest_key", "{}", "audit.digest_key: must have exactly one of \"file\" and \"env\"" },
	{ "audit.retention", "{}", "audit.retention: needs \"age\" or \"size\": without either nothing is deleted" },
	{ "audit.retention", "{\"collected\": \"c\"}",
	    "audit.retention: needs \"age\" or \"size\": without either nothing is deleted" },
	{ "audit.retention", "{\"age\": \"23h\"}",
	    "audit.retention.age: must be a duration (whole ms, s, m, h or d) from \"1d\" to \"36500d\", is \"23h\"" },
	{ "audit.retention", "{\"size\": \"255MB\"}", "audit.retention.size: " SIZE "\"255MB\"" },
	{ "audit.retention", "{\"size\": \"8388608TB\"}", "audit.retention.size: " SIZE "\"8388608TB\"" },
	{ "audit.retention", "{\"size\": \"18014398509481985KB\"}",
	    "audit.retention.size: " SIZE "\"18014398509481985KB\"" },
	{ "audit.retention", "{\"size\": \"GB\"}", "audit.retention.size: " SIZE "\"GB\"" },
	{ "audit.anchors", "\"999ms\"", "audit.anchors: must be \"0s\" (never) or \"1s\" at least, is \"999ms\"" },
	{ "audit.anchors", "\"61m\"",
	    "audit.anchors: must be a duration (whole ms, s, m, h or d) from \"0s\" to \"1h\", is \"61m\"" },
	{ "audit.warn_free", "1024",
	    "audit.warn_free: must be a size (whole KB, MB, GB or TB) from \"0KB\" to \"1024TB\", is 1024" },
	{ "audit.refusals", "true", "audit.refusals: must be 1 to 10000, is true" },
	{ "log", "{\"level\": \"trace\"}", "log.level: must be \"error\", \"warn\", \"info\" or \"debug\", is \"trace\"" },
	{ "instance", "\"a b\"", "instance: " NAME "\"a b\"" },
	{ "instance", "\"\"", "instance: " NAME "\"\"" },
	{ "instance", "\"M\\u00fcnchen\\u001b[31m\"", "instance: " NAME "\"M\xc3\xbcnchen\\u001b[31m\"" },
	/* durations */
	{ "wait", "{\"max\": \"10ms\"}", NULL },
	{ "wait", "{\"max\": \"5m\"}", NULL },
	{ "wait", "{\"max\": \"300000ms\"}", NULL },
	{ "wait", "{\"max\": \"9ms\"}", "wait.max: " DURATION("10ms", "5m") "\"9ms\"" },
	{ "wait", "{\"max\": \"301s\"}", "wait.max: " DURATION("10ms", "5m") "\"301s\"" },
	{ "wait", "{\"max\": 20}", "wait.max: " DURATION("10ms", "5m") "20" },
	{ "wait", "{\"max\": \"20\"}", "wait.max: " DURATION("10ms", "5m") "\"20\"" },
	{ "wait", "{\"max\": \"1.5s\"}", "wait.max: " DURATION("10ms", "5m") "\"1.5s\"" },
	{ "wait", "{\"max\": \"-1s\"}", "wait.max: " DURATION("10ms", "5m") "\"-1s\"" },
	{ "wait", "{\"max\": \" 1s\"}", "wait.max: " DURATION("10ms", "5m") "\" 1s\"" },
	{ "wait", "{\"max\": \"1 s\"}", "wait.max: " DURATION("10ms", "5m") "\"1 s\"" },
	{ "wait", "{\"max\": \"1S\"}", "wait.max: " DURATION("10ms", "5m") "\"1S\"" },
	{ "wait", "{\"max\": \"s\"}", "wait.max: " DURATION("10ms", "5m") "\"s\"" },
	{ "wait", "{\"max\": \"\"}", "wait.max: " DURATION("10ms", "5m") "\"\"" },
	{ "wait", "{\"max\": \"99999999999999999999d\"}", "wait.max: " DURATION("10ms", "5m") "\"99999999999999999999d\"" },
	{ "wait", "{\"max\": \"213503982334601d\"}", "wait.max: " DURATION("10ms", "5m") "\"213503982334601d\"" },
	{ "drain", "{\"delay\": \"0s\", \"timeout\": \"500ms\"}", "drain.timeout: " DURATION("1s", "10m") "\"500ms\"" },
	{ "drain", "{\"delay\": \"1d\"}", "drain.delay: " DURATION("0s", "10m") "\"1d\"" },
	/* quota */
	{ "upstream.quota.requests", "1", "upstream.quota.requests: must be 2 to 10000000, is 1" },
	{ "upstream.quota.requests", "10000000", NULL },
	{ "upstream.quota.requests", "10000001", "upstream.quota.requests: must be 2 to 10000000, is 10000001" },
	{ "upstream.quota.outside", "198", NULL },
	{ "upstream.quota.outside", "199", "upstream.quota: outside 199 of 200 requests leaves less than 2 to grant" },
	{ "upstream.quota.window", "\"999ms\"", "upstream.quota.window: " DURATION("1s", "1h") "\"999ms\"" },
	{ "upstream.quota.jitter", "\"0s\"", "upstream.quota.jitter: " DURATION("10ms", "1m") "\"0s\"" },
	/* identities */
	{ "identities", "[]", "identities: must be a list of at least one, is an empty list" },
	{ "identities", "[{\"name\": \"default\"}]", NULL },
	{ "identities", "[{\"name\": \"a\"}, {\"name\": \"b\"}]", ETL ".identity: there is no identity \"default\"; there is \"a\" and \"b\"" },
	{ "identities", "[{\"name\": \"default\"}, {\"name\": \"default\"}]", "identities[1] (\"default\").name: is taken by identities[0]" },
	{ "callers[0].identity", "\"sp\"", ETL ".identity: there is no identity \"sp\"; there is \"default\"" },
	{ "callers[0].identity", "7", ETL ".identity: " NAME "7" },
	/* listeners */
	{ "listen", "[]", "listen: must be a list of at least one, is an empty list" },
	{ "listen", "{}", "listen: must be a list of at least one, is an object" },
	{ "listen[0]", "\"127.0.0.1:1\"", "listen[0]: must be an object, is \"127.0.0.1:1\"" },
	{ "listen[0].address", "\"localhost:80\"", "listen[0].address: " ADDRESS "\"localhost:80\"" },
	{ "listen[0].address", "\":80\"", "listen[0].address: " ADDRESS "\":80\"" },
	{ "listen[0].address", "\"127.0.0.1\"", "listen[0].address: " ADDRESS "\"127.0.0.1\"" },
	{ "listen[0].address", "\"127.0.0.1:0\"", "listen[0].address: " ADDRESS "\"127.0.0.1:0\"" },
	{ "listen[0].address", "\"127.0.0.1:080\"", "listen[0].address: " ADDRESS "\"127.0.0.1:080\"" },
	{ "listen[0].address", "\"127.0.0.1:65536\"", "listen[0].address: " ADDRESS "\"127.0.0.1:65536\"" },
	{ "listen[0].address", "\"127.1:80\"", "listen[0].address: " ADDRESS "\"127.1:80\"" },
	{ "listen[0].address", "\"::1:80\"", "listen[0].address: " ADDRESS "\"::1:80\"" },
	{ "listen[0].address", "\"[::1]80\"", "listen[0].address: " ADDRESS "\"[::1]80\"" },
	{ "listen[0].address", "\"[::1\"", "listen[0].address: " ADDRESS "\"[::1\"" },
	{ "listen[0].address", "\"[127.0.0.1]:80\"", "listen[0].address: " ADDRESS "\"[127.0.0.1]:80\"" },
	{ "listen[0].address", "\"[::ffff:1.2.3.4]:80\"", "listen[0].address: " ADDRESS "\"[::ffff:1.2.3.4]:80\"" },
	{ "listen[0].address", "\"[::1]:65535\"", NULL },
	{ "listen[0].address", "\"10.0.0.1:80\"", "listen[0]: is not on loopback and has no \"tls\", so that keys and tokens would cross "
	    "the network in the clear; say \"plain\": true where that is meant" },
	{ "listen[0]", "{\"address\": \"10.0.0.1:80\", \"plain\": true}", NULL },
	{ "listen[0]", "{\"address\": \"10.0.0.1:80\", \"tls\": {\"cert_file\": \"c\", \"key_file\": \"k\"}}", NULL },
	{ "listen[0].tls", "{\"cert_file\": \"c\"}", "listen[0].tls.key_file: is missing" },
	{ "listen[0].tls", "{}", "listen[0].tls.cert_file: is missing\nf.json: listen[0].tls.key_file: is missing" },
	{ "listen[0].tls", "true", "listen[0].tls: must be an object, is true" },
	{ "listen[0]", "{\"address\": \"[::1]:80\", \"plain\": true, \"tls\": {\"cert_file\": \"c\", \"key_file\": \"k\"}}",
	    "listen[0]: has both \"tls\" and \"plain\": true" },
	{ "listen[1]", "{\"address\": \"127.0.0.1:8080\"}",
	    "listen[1].address: \"127.0.0.1:8080\" is taken by listen[0] (\"127.0.0.1:8080\")" },
	{ "listen[1]", "{\"address\": \"127.0.0.2:8080\"}", NULL },
	{ "listen[1]", "{\"address\": \"0.0.0.0:8080\", \"plain\": true}",
	    "listen[1].address: \"0.0.0.0:8080\" is taken by listen[0] (\"127.0.0.1:8080\")" },
	{ "admin.address", "\"127.0.0.1:8080\"", "listen[0].address: \"127.0.0.1:8080\" is taken by admin (\"127.0.0.1:8080\")" },
	{ "admin", "{}", NULL },
	/* URLs */
	{ "public_url", "\"https://gate\"", NULL },
	{ "public_url", "\"http://gate.example:8080/a/b-c/~d\"", NULL },
	{ "public_url", "\"ftp://gate\"", "public_url: must begin with https:// or http://, is \"ftp://gate\"" },
	{ "public_url", "\"gate.example\"", "public_url: must be a URL with scheme and host, as \"https://host:port\", is \"gate.example\"" },
	{ "public_url", "\"https://gate?x\"", "public_url: " URL_TEXT ", is \"https://gate?x\"" },
	{ "public_url", "\"https://gate/a b\"", "public_url: " URL_TEXT ", is \"https://gate/a b\"" },
	{ "public_url", "\"https://gate/../x\"", "public_url: must have a path of at most 8 plain segments (letters, digits, - . _ ~), is \"https://gate/../x\"" },
	{ "public_url", "\"https://gate//x\"", "public_url: must have a path of at most 8 plain segments (letters, digits, - . _ ~), is \"https://gate//x\"" },
	{ "public_url", "\"https://gate/1/2/3/4/5/6/7/8/9\"", "public_url: must have a path of at most 8 plain segments (letters, digits, - . _ ~), is \"https://gate/1/2/3/4/5/6/7/8/9\"" },
	{ "public_url", "\"https://user:secret@gate\"", "public_url: must not have a user or password" },
	{ "public_url", "\"https://:80\"", "public_url: " URL_HOST ", is \"https://:80\"" },
	{ "public_url", "\"https://a..b\"", "public_url: " URL_HOST ", is \"https://a..b\"" },
	{ "public_url", "\"https://1.2.3\"", "public_url: " URL_HOST ", is \"https://1.2.3\"" },
	{ "public_url", "\"https://[::1\"", "public_url: " URL_PORT ", is \"https://[::1\"" },
	{ "public_url", "\"https://a:b\"", "public_url: " URL_PORT ", is \"https://a:b\"" },
	{ "upstream.url", "\"http://127.0.0.1\"", "upstream.url: must begin with https:// (tokens are never sent in the clear), is \"http://127.0.0.1\"" },
	{ "upstream.url", "\"https://h/v1\"", "upstream.url: must have no path: the routes of the API begin at /v1, is \"https://h/v1\"" },
	{ "upstream.url", "\"https://u:pw@h\"", "upstream.url: must not have a user or password" },
	{ "upstream.url", "\"pw@h\"", "upstream.url: must be a URL with scheme and host, as \"https://host:port\", is another text" },
	{ "upstream.server_name", "\"*.example\"", "upstream.server_name: must be the DNS name (or IPv4 address) that the upstream's certificate is for, is \"*.example\"" },
	/* a caller's weight and rate */
	{ "callers[0].weight", "1", NULL },
	{ "callers[0].weight", "1000", NULL },
	{ "callers[0].weight", "\"4\"", ETL ".weight: must be 1 to 1000, is \"4\"" },
	{ "callers[0].weight", "0", ETL ".weight: must be 1 to 1000, is 0" },
	{ "callers[0].weight", "1001", ETL ".weight: must be 1 to 1000, is 1001" },
	{ "callers[0].rate", "{}", ETL ".rate.requests: is missing\nf.json: " ETL ".rate.window: is missing" },
	{ "callers[0].rate", "{\"requests\": 0, \"window\": \"1s\"}", ETL ".rate.requests: must be 1 to 10000000, is 0" },
	{ "callers[0].rate", "{\"requests\": 1, \"window\": \"1d\"}", NULL },
	{ "callers[0].rate", "{\"requests\": 1, \"window\": \"2d\"}", ETL ".rate.window: " DURATION("1s", "1d") "\"2d\"" },
	{ "callers[0].rate", "{\"requests\": 1, \"window\": \"1s\", \"burst\": 0}", ETL ".rate.burst: must be 1 to 1000000, is 0" },
	{ "callers[0].rate", "{\"requests\": 10000000, \"window\": \"1h\"}", NULL },
	{ "callers[0].rate", "{\"requests\": 1, \"window\": \"1d\", \"burst\": 52124}", NULL },
	{ "callers[0].rate", "{\"requests\": 1, \"window\": \"1d\", \"burst\": 52125}",
	    ETL ".rate: burst must be at most 52124 with so long a window (more cannot be counted exactly), is 52125" },
	{ "callers[0].rate", "{\"requests\": 60000, \"window\": \"1d\"}",
	    ETL ".rate: burst must be at most 52124 with so long a window (more cannot be counted exactly), is 60000, that of requests, where it is left out" },
	/* rules */
	{ "rules", "[]", NULL },
	{ "rules", "{}", "rules: must be a list, is an object" },
	{ "rules", "[{}]", "rules[0].name: is missing\nf.json: rules[0].rate: is missing" },
	{ "rules", "[{\"name\": \"a b\", " ONE "}]", "rules[0] (\"a b\").name: " NAME "\"a b\"" },
	{ "rules", "[{\"name\": \"n\", " ONE "}, {\"name\": \"m\", " ONE "}]", NULL },
	{ "rules", "[{\"name\": \"n\", " ONE "}, {\"name\": \"n\", " ONE "}]", "rules[1] (\"n\").name: is taken by rules[0]" },
	{ "rules", "[{\"name\": \"n\", \"rate\": {}}]",
	    "rules[0] (\"n\").rate.requests: is missing\nf.json: rules[0] (\"n\").rate.window: is missing" },
	{ "rules", "[{\"name\": \"n\", \"identity\": \"default\", " ONE "}]", NULL },
	{ "rules", "[{\"name\": \"n\", \"identity\": \"sp\", " ONE "}]",
	    "rules[0] (\"n\").identity: there is no identity \"sp\"; there is \"default\"" },
	{ "rules", "[{\"name\": \"n\", \"identity\": 1, " ONE "}]", "rules[0] (\"n\").identity: " NAME "1" },
	{ "rules", "[{\"name\": \"n\", \"workspace\": \"*\", \"items\": \"*\", \"job_types\": \"*\", \"operations\": \"*\", " ONE "}]", NULL },
	{ "rules", "[{\"name\": \"n\", \"workspace\": \"x\", \"items\": [], \"operations\": [\"fly\"], " ONE "}]",
	    "rules[0] (\"n\").workspace: must be a UUID (8-4-4-4-12 hexadecimal digits), is \"x\"\n"
	    "f.json: rules[0] (\"n\").items: must be a list of at least one, is an empty list\n"
	    "f.json: rules[0] (\"n\").operations[0]: must be \"run\", \"read\", \"cancel\" or \"schedule\", is \"fly\"" },
	{ "rules", "[{\"name\": \"n\", \"job_type\": 1, " ONE "}]", "rules[0] (\"n\").job_type: unknown key; did you mean \"job_types\"?" },
	{ "rules", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "rules: must be a list of at most 32, has 33" },
	/* a caller's own wait */
	{ "callers[0].wait", "{}", NULL },
	{ "callers[0].wait", "{\"max\": \"5m\", \"queue\": 1}", NULL },
	{ "callers[0].wait", "{\"max\": \"5ms\"}", ETL ".wait.max: " DURATION("10ms", "5m") "\"5ms\"" },
	{ "callers[0].wait", "{\"queue\": 0}", ETL ".wait.queue: must be 1 to 100000, is 0" },
	{ "callers[0].wait", "{\"maximum\": 1}", ETL ".wait.maximum: unknown key" },
	/* store */
	{ "store", "{}", "store.redis: is missing" },
	{ "store", "{\"redis\": \"redis://h:1/65535\"}", NULL },
	{ "store", "{\"redis\": \"redis://h:1/65536\"}", "store.redis: must end with the number of a database from 0 to 65535, or with the port" },
	{ "store", "{\"redis\": \"redis://h:1/a\"}", "store.redis: must end with the number of a database from 0 to 65535, or with the port" },
	{ "store", "{\"redis\": \"redis://a:b%4@h:1\"}", "store.redis: " PERCENT },
	{ "store", "{\"redis\": \"redis://a:b%00@h:1\"}", "store.redis: " PERCENT },
	{ "store", "{\"redis\": \"redis://a:b@c@h:1\"}", "store.redis: " URL_HOST },
	{ "store", "{\"redis\": \"unix:///x\"}", "store.redis: " URL_HOST },
	{ "store", "{\"redis\": \"http://h\"}", "store.redis: must be redis://[user:password@]host:port[/db], rediss:// for TLS, or redis+sentinel://host:port,.../service" },
	{ "store", "{\"redis\": \"rediss://h\"}", NULL },
	{ "store", "{\"redis\": \"rediss://h\", \"ca_file\": \"x\"}", NULL },
	{ "store", "{\"redis\": \"redis://h\", \"ca_file\": \"x\"}", "store.ca_file: is only for rediss://, and \"redis\" is not" },
	{ "store", "{\"redis\": \"rediss://h\", \"ca_file\": \"\"}", "store.ca_file: must be a text of 1 to 4095 bytes, is one of 0" },
	{ "store", "{\"redis\": \"rediss://:a/b=@h:1\"}", "store.redis: " PERCENT },
	{ "store", "{\"redis\": \"rediss://:a%2Fb=@h:1\"}", NULL },
	{ "store", "{\"redis\": \"redis+sentinel://h/s\"}", NULL },
	{ "store", "{\"redis\": \"redis+sentinel://u:p%40@h:1,[::1]:2,i/my.service-1/15\"}", NULL },
	{ "store", "{\"redis\": \"redis+sentinel://h:1\"}", "store.redis: " SERVICE },
	{ "store", "{\"redis\": \"redis+sentinel://h:1/\"}", "store.redis: " SERVICE },
	{ "store", "{\"redis\": \"redis+sentinel://h:1//1\"}", "store.redis: " SERVICE },
	{ "store", "{\"redis\": \"redis+sentinel://h:1/s/x\"}", "store.redis: must end with the number of a database from 0 to 65535, or with the service" },
	{ "store", "{\"redis\": \"redis+sentinel:///s\"}", "store.redis: " SENTINELS },
	{ "store", "{\"redis\": \"redis+sentinel://a,/s\"}", "store.redis: " SENTINELS },
	{ "store", "{\"redis\": \"redis+sentinel://a,,b/s\"}", "store.redis: " SENTINELS },
	{ "store", "{\"redis\": \"redis+sentinel://a:0/s\"}", "store.redis: " SENTINELS },
	{ "store", "{\"redis\": \"redis+sentinel://a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a/s\"}", "store.redis: " SENTINELS },
	{ "store", "{\"redis\": \"redis+sentinel://u:%4@h/s\"}", "store.redis: " PERCENT },
	{ "store", "{\"redis\": \"redis+sentinel://h/s\", \"ca_file\": \"x\"}", "store.ca_file: is only for rediss://, and \"redis\" is not" },
	{ "store", "{\"redis\": \"rediss+sentinel://h/s\"}", "store.redis: must be redis://[user:password@]host:port[/db], rediss:// for TLS, or redis+sentinel://host:port,.../service" },
	{ "store", "{\"redis\": \"redis://u:p@h\", \"username\": \"u\"}", "store.username: is given twice, here and in \"redis\"" },
	{ "store", "{\"redis\": \"redis://:p@h\", \"username\": \"u\"}", NULL },
	{ "store", "{\"redis\": \"redis://u:p@h\", \"password\": {\"env\": \"P\"}}", "store.password: is given twice, here and in \"redis\"" },
	{ "store", "{\"redis\": \"redis://h\", \"password\": \"hunter2\"}", "store.password: must be {\"file\": \"...\"} or {\"env\": \"...\"}; a secret does not stand here itself" },
	{ "store", "{\"redis\": \"redis://h\", \"password\": {}}", "store.password: must have exactly one of \"file\" and \"env\"" },
	{ "store", "{\"redis\": \"redis://h\", \"password\": {\"file\": \"f\", \"env\": \"P\"}}", "store.password: must have exactly one of \"file\" and \"env\"" },
	{ "store", "{\"redis\": \"redis://h\", \"password\": {\"env\": \"1x\"}}", "store.password.env: must be the name of an environment variable, not its value" },
	{ "store", "{\"redis\": \"redis://h\", \"on_failure\": \"share\"}", NULL },
	{ "store", "{\"redis\": \"redis://h\", \"on_failure\": \"closed\"}", NULL },
	{ "store", "{\"redis\": \"redis://h\", \"on_failure\": \"open\"}", "store.on_failure: must be \"closed\" or \"share\", is \"open\"" },
	{ "store", "{\"redis\": \"redis://h\", \"prefix\": \"a{b}\"}", "store.prefix: " NAME "\"a{b}\"" },
	/* resolve */
	{ "resolve", "{}", "resolve.match: is missing" },
	{ "resolve", "{\"match\": \"activity\", \"delay\": \"1s\", \"tries\": 4, \"window\": \"10m\"}", NULL },
	{ "resolve", "{\"match\": \"time\"}", NULL },
	{ "resolve", "{\"match\": \"both\"}", "resolve.match: must be \"activity\" or \"time\", is \"both\"" },
	{ "resolve", "{\"match\": \"time\", \"tries\": 5}", "resolve.tries: must be 1 to 4, is 5" },
	{ "resolve", "{\"match\": \"time\", \"delay\": \"61s\"}", "resolve.delay: " DURATION("1s", "1m") "\"61s\"" },
	/* callers */
	{ "callers", "[]", "callers: must be a list of at least one, is an empty list" },
	{ "callers[0].name", "\"unknown\"", "callers[0] (\"unknown\").name: must not be \"unknown\" or \"other\", which the metrics use" },
	{ "callers[0].keys", "[]", ETL ".keys: must be a list of at least one, is an empty list" },
	{ "callers[0].keys[0].sha256", "\"abc\"", ETL ".keys[0].sha256: " KEY_HASH "3 bytes" },
	{ "callers[0].keys[0].sha256", "\"jg_secret\"", ETL ".keys[0].sha256: " KEY_HASH "9 bytes; this looks like the key itself, which must not stand here" },
	{ "callers[0].keys[1]", "{\"sha256\": \"" HASH_A "\"}", ETL ".keys[1].sha256: is the same as " ETL ".keys[0].sha256" },
	{ "callers[0].keys", "[{\"id\": \"k\", \"sha256\": \"" HASH_A "\"}, {\"id\": \"k\", \"sha256\": \"" HASH_B "\"}]",
	    ETL ".keys[1] (\"k\").id: is taken by " ETL ".keys[0]" },
	{ "callers[1]", "{\"name\": \"b\", \"keys\": [{\"sha256\": \"" HASH_A "\"}]}",
	    "callers[1] (\"b\").keys[0].sha256: is the same as " ETL ".keys[0].sha256" },
	{ "callers[1]", "{\"name\": \"etl\", \"keys\": [{\"sha256\": \"" HASH_B "\"}]}", "callers[1] (\"etl\").name: is taken by callers[0]" },
	/* certificates */
	{ "callers[0].certificates", "[{\"san\": \"DNS:Etl.Example\"}, {\"id\": \"k\", \"spki_sha256\": \"" HASH_A "\"}]", NULL },
	{ "callers[0].certificates", "[]", ETL ".certificates: must be a list of at least one, is an empty list" },
	{ "callers[0].certificates", "[{\"id\": \"a\"}]", ETL ".certificates[0]: must have exactly one of \"san\" and \"spki_sha256\"" },
	{ "callers[0].certificates", "[{\"san\": \"DNS:a\", \"spki_sha256\": \"" HASH_A "\"}]",
	    ETL ".certificates[0]: must have exactly one of \"san\" and \"spki_sha256\"" },
	{ "callers[0].certificates", "[{\"san\": \"etl.example\"}]", ETL ".certificates[0].san: " SAN "\"etl.example\"" },
	{ "callers[0].certificates", "[{\"san\": \"DNS:*.example\"}]", ETL ".certificates[0].san: " SAN "\"DNS:*.example\"" },
	{ "callers[0].certificates", "[{\"san\": \"URI:a b\"}]", ETL ".certificates[0].san: " SAN "\"URI:a b\"" },
	{ "callers[0].certificates", "[{\"san\": \"email:etl\"}]", ETL ".certificates[0].san: " SAN "\"email:etl\"" },
	{ "callers[0].certificates", "[{\"spki_sha256\": \"abc\"}]",
	    ETL ".certificates[0].spki_sha256: must be the SHA-256 of the certificate's public key (DER) as 64 hexadecimal digits, is \"abc\"" },
	{ "callers[0].certificates", "[{\"san\": \"DNS:a\"}, {\"san\": \"DNS:A\"}]",
	    ETL ".certificates[1]: is the same as " ETL ".certificates[0]" },
	{ "callers[1]", "{\"name\": \"b\", \"keys\": [{\"sha256\": \"" HASH_B "\"}], \"certificates\": [{\"san\": \"DNS:a\"}, {\"id\": \"x\", "
	    "\"san\": \"dns:a\"}]}", "callers[1] (\"b\").certificates[1].san: " SAN "\"dns:a\"" },
	{ "callers[0].certificates", "[{\"id\": \"e3b0c442\", \"san\": \"DNS:a\"}]",
	    ETL ".certificates[0] (\"e3b0c442\").id: is taken by the caller's keys[0]" },
	{ "callers[0].certificates", "[{\"id\": \"c\", \"san\": \"DNS:a\"}, {\"id\": \"c\", \"san\": \"DNS:b\"}]",
	    ETL ".certificates[1] (\"c\").id: is taken by " ETL ".certificates[0]" },
	{ "callers[0].location", "\"rewrite\"", ETL ".location: \"rewrite\" needs public_url, the origin that callers see" },
	{ "callers[0].location", "\"x\"", ETL ".location: must be \"preserve\" or \"rewrite\", is \"x\"" },
	{ "callers[0].validate", "true", ETL ".validate: must be \"enforce\", \"report\" or \"off\", is true" },
	{ "callers[0].allow", "[]", NULL },
	{ "callers[0].allow", "[{}]", NULL },
	{ "callers[0].allow", "[{\"workspace\": \"*\", \"items\": \"*\", \"job_types\": \"*\", \"operations\": \"*\"}]", NULL },
	{ "callers[0].allow", "{}", ETL ".allow: must be a list, is an object" },
	{ "callers[0].allow", "[{\"workspace\": \"x\"}]", ETL ".allow[0].workspace: must be a UUID (8-4-4-4-12 hexadecimal digits), is \"x\"" },
	{ "callers[0].allow", "[{\"items\": []}]", ETL ".allow[0].items: must be a list of at least one, is an empty list" },
	{ "callers[0].allow", "[{\"job_types\": [\"*\"]}]", ETL ".allow[0].job_types[0]: must be a job type, as \"RunNotebook\" (for all of them, leave the list out), is \"*\"" },
	{ "callers[0].allow", "[{\"operations\": [\"fly\"]}]", ETL ".allow[0].operations[0]: must be \"run\", \"read\", \"cancel\" or \"schedule\", is \"fly\"" },
};

static void
test_one_change_one_sentence(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = change(LEAST, rows[i].path, rows[i].value);
		struct buf errors = BUF_EMPTY, expected = BUF_EMPTY;
		struct config *config = parse(str_from(text), &errors);

		if (rows[i].errors)
			buf_printf(&expected, "f.json: %s\n", rows[i].errors);
		if (!str_eq(buf_str(&errors), buf_str(&expected)) || (config == NULL) != (rows[i].errors != NULL))
			fail_msg("%s = %s\n     got: %.*sexpected: %.*s", rows[i].path, rows[i].value ? rows[i].value : "nothing",
			    STR_ARG(buf_str(&errors)), STR_ARG(buf_str(&expected)));
		config_unref(&config);
		buf_fini(&expected);
		buf_fini(&errors);
		free(text);
	}
}

static void
test_all_errors_come_at_once(void **state)
{
	static const char text[] =
	    "{\"workers\": 0, \"listen\": [{\"address\": \"x\"}], \"upstream\": {\"url\": \"http://h\", \"quota\": {\"requests\": 1}},"
	    "\"callers\": [{\"name\": \"a\", \"keys\": [{}]}, {\"name\": \"a\", \"keys\": 1, \"location\": \"rewrite\"}], \"zzz\": 1}";
	struct buf errors = BUF_EMPTY;

	(void)state;
	assert_null(parse(str_from(text), &errors));
	assert_str(buf_str(&errors),
	    "f.json: zzz: unknown key\n"
	    "f.json: workers: must be 1 to 64, is 0\n"
	    "f.json: listen[0].address: " ADDRESS "\"x\"\n"
	    "f.json: upstream.url: must begin with https:// (tokens are never sent in the clear), is \"http://h\"\n"
	    "f.json: upstream.quota.requests: must be 2 to 10000000, is 1\n"
	    "f.json: upstream.quota.window: is missing\n"
	    "f.json: callers[0] (\"a\").keys[0].sha256: is missing\n"
	    "f.json: callers[1] (\"a\").keys: must be a list of at least one, is 1\n"
	    "f.json: callers[1] (\"a\").name: is taken by callers[0]\n"
	    "f.json: callers[1] (\"a\").location: \"rewrite\" needs public_url, the origin that callers see\n");
	buf_fini(&errors);
}

/* A syntax error shows where, and nothing of the text, which may be a password in the store's URL. */
static void
test_syntax_errors_name_the_place_and_no_text(void **state)
{
	static const struct { const char *text, *error; } syntax[] = {
		{ "", "f.json: line 1, column 0: '[' or '{' expected\n" },
		{ "{\n \"a\": redis://u:hunter2@h}", "f.json: line 2, column 11: invalid token\n" },
		{ "{\"a\": 1,\n\"a\": 2}", "f.json: line 2, column 3: duplicate object key\n" },
		{ "{\"a\": \"hunter2}", "f.json: line 1, column 15: premature end of input\n" },
		{ "{} {}", "f.json: line 1, column 4: end of file expected\n" },
		{ "[]", "f.json: must be an object, is an empty list\n" },
		{ "\xef\xbb\xbf{}", "f.json: line 1, column 1: '[' or '{' expected\n" },
		{ "{\"workers\": 99999999999999999999}", "f.json: line 1, column 32: too big integer\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(syntax) / sizeof(syntax[0]); i++) {
		struct buf errors = BUF_EMPTY;

		assert_null(parse(str_from(syntax[i].text), &errors));
		assert_str(buf_str(&errors), syntax[i].error);
		buf_fini(&errors);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_change_one_sentence),
		cmocka_unit_test(test_all_errors_come_at_once),
		cmocka_unit_test(test_syntax_errors_name_the_place_and_no_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
