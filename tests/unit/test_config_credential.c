/* rules/config: credentials of identities, what they need and what is wrong with them. */
#include "rules/config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "config_change.h"

#define WHERE "identities[0] (\"default\").credential"
#define ONE WHERE ": must have exactly one of \"client_secret\", \"certificate\", \"managed_identity\" and \"workload_identity\""
#define ALLOWED "callers[0] (\"etl\").allow: is missing, and identity \"default\" has a credential: say what this caller may do with it " \
	"([{}] permits all)"
#define PRINCIPAL "must be a UUID or a domain name, is "
#define SECRET(more) "{\"client_secret\": {\"tenant\": \"t.example\", \"client_id\": \"c-1\", \"secret\": {\"env\": \"S\"}" more "}}"

static const struct { const char *credential, *errors; } rows[] = {
	{ SECRET(""), NULL },
	{ SECRET(", \"authority\": \"https://login.example/x/\", \"ca_file\": \"ca.pem\""), NULL },
	{ "{\"certificate\": {\"tenant\": \"t\", \"client_id\": \"c\", \"cert_file\": \"c.pem\", \"key_file\": \"k.pem\"}}", NULL },
	{ "{\"managed_identity\": {}}", NULL },
	{ "{\"managed_identity\": {\"client_id\": \"c\", \"endpoint\": \"http://127.0.0.1:1\"}, \"scope\": \"api://x/.default\"}", NULL },
	{ "{\"workload_identity\": {}}", NULL },
	{ "{}", ONE },
	{ "{\"scope\": \"x\"}", ONE },
	{ "{\"managed_identity\": {}, \"workload_identity\": {}}", ONE },
	{ "[]", WHERE ": must be an object, is an empty list" },
	{ "{\"managed_identity\": 1}", WHERE ".managed_identity: must be an object, is 1" },
	{ "{\"client_secret\": {\"client_id\": \"c\", \"secret\": {\"env\": \"S\"}}}", WHERE ".client_secret.tenant: is missing" },
	{ "{\"client_secret\": {\"tenant\": \"t\", \"client_id\": \"c\"}}", WHERE ".client_secret.secret: is missing" },
	{ "{\"client_secret\": {\"tenant\": \"t\", \"client_id\": \"c\", \"secret\": \"hunter2\"}}",
	    WHERE ".client_secret.secret: must be {\"file\": \"...\"} or {\"env\": \"...\"}; a secret does not stand here itself" },
	{ "{\"client_secret\": {\"tenant\": \"a/b\", \"client_id\": \"c\", \"secret\": {\"env\": \"S\"}}}",
	    WHERE ".client_secret.tenant: " PRINCIPAL "\"a/b\"" },
	{ "{\"client_secret\": {\"tenant\": \"..\", \"client_id\": \"c\", \"secret\": {\"env\": \"S\"}}}",
	    WHERE ".client_secret.tenant: " PRINCIPAL "\"..\"" },
	{ SECRET(", \"authority\": \"http://login.example\""),
	    WHERE ".client_secret.authority: must begin with https:// (secrets are never sent in the clear), is \"http://login.example\"" },
	{ SECRET(", \"authority\": \"https://u:p@login.example\""), WHERE ".client_secret.authority: must not have a user or password" },
	{ SECRET(", \"cert_file\": \"x\""), WHERE ".client_secret.cert_file: unknown key" },
	{ "{\"managed_identity\": {\"endpoint\": \"ftp://x\"}}",
	    WHERE ".managed_identity.endpoint: must begin with http:// or https://, is \"ftp://x\"" },
	{ "{\"managed_identity\": {}, \"scope\": \"a b\"}",
	    WHERE ".scope: must be one scope, as \"https://api.fabric.microsoft.com/.default\", is \"a b\"" },
};

/* The configuration with the credential, and with `allow` where ALLOW; NULL and its errors. */
static struct config *
parse(const char *credential, bool allow, struct buf *errors)
{
	struct buf identities = BUF_EMPTY;
	char *with, *text;
	struct config *config;

	buf_printf(&identities, "[{\"name\": \"default\", \"credential\": %s}]", credential);
	buf_add_char(&identities, '\0');
	with = change(LEAST, "identities", identities.p);
	text = allow ? change(with, "callers[0].allow", "[{}]") : strdup(with);
	config = config_parse(str_from(text), STR("f.json"), STR("/etc/jobgate"), errors);
	free(with);
	free(text);
	buf_fini(&identities);
	return config;
}

static void
test_one_credential_one_sentence(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf errors = BUF_EMPTY, expected = BUF_EMPTY;
		struct config *config = parse(rows[i].credential, true, &errors);

		if (rows[i].errors)
			buf_printf(&expected, "f.json: %s\n", rows[i].errors);
		if (!str_eq(buf_str(&errors), buf_str(&expected)) || (config == NULL) != (rows[i].errors != NULL))
			fail_msg("%s\n     got: %.*sexpected: %.*s", rows[i].credential, STR_ARG(buf_str(&errors)), STR_ARG(buf_str(&expected)));
		config_unref(&config);
		buf_fini(&expected);
		buf_fini(&errors);
	}
}

static void
test_values_and_defaults(void **state)
{
	struct buf errors = BUF_EMPTY;
	struct config *config = parse(SECRET(", \"authority\": \"https://login.example/x//\""), true, &errors);
	const struct config_credential *c = &config->identities[0].credential;

	(void)state;
	assert_int_equal(c->kind, CONFIG_CREDENTIAL_CLIENT_SECRET);
	assert_true(str_eq(c->tenant, STR("t.example")) && str_eq(c->client_id, STR("c-1")) && str_eq(c->secret.env, STR("S")));
	assert_true(str_eq(c->authority, STR("https://login.example/x")));
	assert_true(str_eq(c->scope, STR("https://api.fabric.microsoft.com/.default")));
	config_unref(&config);
	config = parse(SECRET(""), true, &errors);
	assert_true(str_eq(config->identities[0].credential.authority, STR("https://login.microsoftonline.com")));
	config_unref(&config);
	config = parse("{\"workload_identity\": {\"token_file\": \"token\"}}", true, &errors);
	assert_int_equal(config->identities[0].credential.authority.n, 0);	/* the environment's */
	assert_true(str_eq(config->identities[0].credential.token_file, STR("/etc/jobgate/token")));
	config_unref(&config);
	buf_fini(&errors);
}

static void
test_allow_is_needed(void **state)
{
	struct buf errors = BUF_EMPTY;

	(void)state;
	assert_null(parse(SECRET(""), false, &errors));
	assert_true(str_eq(buf_str(&errors), STR("f.json: " ALLOWED "\n")));
	buf_fini(&errors);
}

/* A quota for each token: only where tokens are verified, and go upstream. */
static void
test_per_token(void **state)
{
	static const char issuers[] = "[{\"issuer\": \"https://idp.example\", \"audiences\": [\"a\"], \"jwks\": {\"file\": \"k\"}}]";
	char *plain = change(LEAST, "identities", "[{\"name\": \"default\", \"per_token\": true}]");
	char *good = change(plain, "issuers", issuers);
	struct buf errors = BUF_EMPTY;
	struct config *config;

	(void)state;
	assert_null(config_parse(str_from(plain), STR("f.json"), STR("."), &errors));
	assert_true(str_eq(buf_str(&errors), STR("f.json: identities[0] (\"default\").per_token: needs issuers: a token that is not verified "
	    "chooses no bucket\n")));
	buf_clear(&errors);
	config = config_parse(str_from(good), STR("f.json"), STR("."), &errors);
	assert_non_null(config);
	assert_true(config->identities[0].per_token);
	config_unref(&config);
	free(plain);
	plain = change(good, "identities", "[{\"name\": \"default\", \"per_token\": true, \"credential\": {\"managed_identity\": {}}}]");
	free(good);
	good = change(plain, "callers[0].allow", "[{}]");
	assert_null(config_parse(str_from(good), STR("f.json"), STR("."), &errors));
	assert_true(str_eq(buf_str(&errors), STR("f.json: identities[0] (\"default\").per_token: has no meaning with a credential: the "
	    "upstream sees one principal\n")));
	free(plain);
	free(good);
	buf_fini(&errors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_per_token),
		cmocka_unit_test(test_one_credential_one_sentence),
		cmocka_unit_test(test_values_and_defaults),
		cmocka_unit_test(test_allow_is_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
