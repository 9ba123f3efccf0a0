/* rules/policy: whose key it is and what its caller may do. */
#include "rules/policy.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define W1 "cfafbeb1-8037-4d0c-896e-a46fb27ff229"
#define W2 "11111111-8037-4d0c-896e-a46fb27ff229"
#define I1 "5b218778-e7a5-4d73-8187-f10824047715"
#define I2 "22222222-e7a5-4d73-8187-f10824047715"

/* A configuration whose callers are CALLERS. */
static struct config *
config_with(struct str callers)
{
	struct buf text = BUF_EMPTY, errors = BUF_EMPTY;
	struct config *config;

	buf_add_z(&text, "{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"upstream\": {\"url\": \"https://h\","
	    "\"quota\": {\"requests\": 200, \"window\": \"60s\"}}, \"callers\": [");
	buf_add(&text, callers);
	buf_add_z(&text, "]}");
	config = config_parse(buf_str(&text), STR("f"), STR("."), &errors);
	if (config == NULL)
		fail_msg("%.*s", STR_ARG(buf_str(&errors)));
	buf_fini(&text);
	buf_fini(&errors);
	return config;
}

/* Hash number I: many share their first byte, and every fourth its first eight, where the search begins. */
static void
hash_of(unsigned i, uint8_t out[32])
{
	memset(out, 7, 32);
	out[0] = (uint8_t)(i / 4);
	out[1] = (uint8_t)(i / 4 >> 8);
	out[31] = (uint8_t)(i % 4 + 1);
}

#define MANY 5000

static void
test_finds_every_key_of_many(void **state)
{
	struct buf callers = BUF_EMPTY;
	struct config *config;
	const struct config_key *key;
	uint8_t hash[32];
	char hex[64];

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		buf_printf(&callers, "%s{\"name\": \"c%u\", \"keys\": [", i ? "," : "", i);
		for (unsigned k = 0; k < 2; k++) {
			hash_of(2 * i + k, hash);
			str_hex_encode(hash, 32, hex);
			buf_printf(&callers, "%s{\"id\": \"k%u\", \"sha256\": \"%.64s\"}", k ? "," : "", k, hex);
		}
		buf_add_z(&callers, "]}");
	}
	config = config_with(buf_str(&callers));
	for (unsigned i = 0; i < 2 * MANY; i++) {
		const struct config_caller *caller;

		hash_of(i, hash);
		caller = policy_find_key(config, hash, &key);
		assert_non_null(caller);
		assert_int_equal(caller->index, i / 2);
		assert_ptr_equal(key, &caller->keys[i % 2]);
		hash[30] ^= 1;
		assert_null(policy_find_key(config, hash, &key));
	}
	config_unref(&config);
	buf_fini(&callers);
}

/* The empty table's hash, and a configured one of zeros, belong to nobody. */
static void
test_zero_hash_is_nobodys(void **state)
{
	static const uint8_t zero[32];
	struct config *config = config_with(STR("{\"name\": \"a\", \"keys\": [{\"sha256\":"
	    "\"0000000000000000000000000000000000000000000000000000000000000000\"}]}"));
	const struct config_key *key;

	(void)state;
	assert_null(policy_find_key(config, zero, &key));
	config_unref(&config);
}

/* What a certificate holds, and the caller that it names: its index, -1 none, -2 several. */
static const struct { const char *names, *spki; int caller; const char *id; } shown[] = {
	{ "", "00", -1, NULL }, { "DNS:a.example\n", "00", 0, "DNS:a.example" }, { "URI:x\nDNS:a.example\n", "00", 0, "DNS:a.example" },
	{ "DNS:b.example\n", "00", -1, NULL }, { "DNS:a.example.b\n", "00", -1, NULL }, { "DNS:a\n", "00", -1, NULL },
	{ "URI:a.example\n", "00", -1, NULL }, { "URI:spiffe://b/c\n", "00", 1, "b" }, { "URI:spiffe://b/C\n", "00", -1, NULL },
	{ "email:Me@corp.example\n", "00", 1, "email:Me@corp.example" }, { "email:me@corp.example\n", "00", -1, NULL },
	{ "", "e3", 0, "pin" }, { "DNS:a.example\n", "e3", 0, "pin" }, { "URI:spiffe://b/c\n", "e3", -2, NULL },
	{ "DNS:a.example\nURI:spiffe://b/c\n", "00", -2, NULL }, { "URI:spiffe://b/c\nemail:Me@corp.example\n", "00", 1, "b" },
};

static void
test_certificates_name_callers(void **state)
{
	struct config *config = config_with(STR("{\"name\": \"a\", \"certificates\": [{\"san\": \"DNS:A.example\"}, {\"id\": \"pin\","
	    " \"spki_sha256\": \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}]}, {\"name\": \"b\", \"certificates\":"
	    " [{\"id\": \"b\", \"san\": \"URI:spiffe://b/c\"}, {\"san\": \"email:Me@Corp.example\"}]}"));

	(void)state;
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		const struct config_certificate *certificate = NULL;
		const struct config_caller *caller;
		uint8_t spki[32] = { 0 };
		bool conflict;

		if (strcmp(shown[i].spki, "e3") == 0)
			assert_true(str_hex_decode(STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), spki, 32));
		caller = policy_find_certificate(config, str_from(shown[i].names), spki, &certificate, &conflict);
		if ((conflict ? -2 : caller ? (int)caller->index : -1) != shown[i].caller)
			fail_msg("row %zu", i);
		if (shown[i].id && !str_eq(certificate->id, str_from(shown[i].id)))
			fail_msg("row %zu: %.*s", i, STR_ARG(certificate->id));
	}
	config_unref(&config);
}

static const struct { const char *allow; enum operation operation; const char *workspace, *item, *job_type; bool permitted; } rows[] = {
	/* no rules: all; an empty list: nothing */
	{ NULL, OPERATION_RUN, W1, I1, "X", true },
	{ "[]", OPERATION_RUN, W1, I1, "X", false },
	{ "[]", OPERATION_GET, W1, I1, NULL, false },
	{ "[{}]", OPERATION_SCHEDULE_DELETE, W2, I2, "X", true },
	/* workspace and items, whatever their case in the file */
	{ "[{\"workspace\": \"CFAFBEB1-8037-4D0C-896E-A46FB27FF229\"}]", OPERATION_RUN, W1, I1, "X", true },
	{ "[{\"workspace\": \"" W1 "\"}]", OPERATION_RUN, W2, I1, "X", false },
	{ "[{\"items\": [\"" I2 "\", \"" I1 "\"]}]", OPERATION_RUN, W2, I1, "X", true },
	{ "[{\"items\": [\"" I2 "\"]}]", OPERATION_GET, W1, I1, NULL, false },
	{ "[{\"workspace\": \"" W1 "\", \"items\": [\"" I1 "\"]}]", OPERATION_RUN, W1, I2, "X", false },
	/* rules do not mix: one must permit all of it */
	{ "[{\"workspace\": \"" W1 "\", \"items\": [\"" I1 "\"]}, {\"workspace\": \"" W2 "\", \"items\": [\"" I2 "\"]}]", OPERATION_RUN, W1, I2, "X", false },
	{ "[{\"workspace\": \"" W1 "\", \"items\": [\"" I1 "\"]}, {\"workspace\": \"" W2 "\", \"items\": [\"" I2 "\"]}]", OPERATION_RUN, W2, I2, "X", true },
	{ "[{\"operations\": [\"read\"]}, {\"job_types\": [\"X\"], \"operations\": [\"run\"]}]", OPERATION_RUN, W1, I1, "Y", false },
	/* job types without case; operations without one are not bound */
	{ "[{\"job_types\": [\"RunNotebook\"]}]", OPERATION_RUN, W1, I1, "runnotebook", true },
	{ "[{\"job_types\": [\"RunNotebook\"]}]", OPERATION_RUN, W1, I1, "Pipeline", false },
	{ "[{\"job_types\": [\"RunNotebook\"]}]", OPERATION_RUN, W1, I1, "RunNotebook2", false },
	{ "[{\"job_types\": [\"RunNotebook\"]}]", OPERATION_GET, W1, I1, NULL, true },
	{ "[{\"job_types\": [\"RunNotebook\"]}]", OPERATION_LIST, W1, I1, NULL, true },
	{ "[{\"job_types\": [\"RunNotebook\"]}]", OPERATION_CANCEL, W1, I1, NULL, true },
	{ "[{\"job_types\": [\"RunNotebook\"]}]", OPERATION_SCHEDULE_LIST, W1, I1, "Pipeline", false },
	/* rights */
	{ "[{\"operations\": [\"run\"]}]", OPERATION_RUN, W1, I1, "X", true },
	{ "[{\"operations\": [\"run\"]}]", OPERATION_GET, W1, I1, NULL, false },
	{ "[{\"operations\": [\"run\"]}]", OPERATION_CANCEL, W1, I1, NULL, false },
	{ "[{\"operations\": [\"run\"]}]", OPERATION_SCHEDULE_CREATE, W1, I1, "X", false },
	{ "[{\"operations\": [\"read\"]}]", OPERATION_LIST, W1, I1, NULL, true },
	{ "[{\"operations\": [\"read\"]}]", OPERATION_SCHEDULE_GET, W1, I1, "X", true },
	{ "[{\"operations\": [\"read\"]}]", OPERATION_SCHEDULE_DELETE, W1, I1, "X", false },
	{ "[{\"operations\": [\"read\", \"cancel\"]}]", OPERATION_CANCEL, W1, I1, NULL, true },
	{ "[{\"operations\": [\"schedule\"]}]", OPERATION_SCHEDULE_UPDATE, W1, I1, "X", true },
};

static void
test_rules_permit_what_they_say(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route route = { .operation = rows[i].operation, .workspace = str_from(rows[i].workspace),
			.item = str_from(rows[i].item), .job_type = str_from(rows[i].job_type) };
		struct buf caller = BUF_EMPTY;
		struct config *config;

		buf_add_z(&caller, "{\"name\": \"a\", \"keys\": [{\"sha256\": "
		    "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}]");
		if (rows[i].allow)
			buf_printf(&caller, ", \"allow\": %s", rows[i].allow);
		buf_add_char(&caller, '}');
		config = config_with(buf_str(&caller));
		if (policy_permits(&config->callers[0], &route) != rows[i].permitted)
			fail_msg("row %zu: %s", i, rows[i].allow ? rows[i].allow : "no rules");
		config_unref(&config);
		buf_fini(&caller);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds_every_key_of_many),
		cmocka_unit_test(test_zero_hash_is_nobodys),
		cmocka_unit_test(test_certificates_name_callers),
		cmocka_unit_test(test_rules_permit_what_they_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
