/* rules/config and rules/policy: issuers, tokens by which callers are known, and whose a token is. */
#include "rules/policy.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/jwa.h"
#include "config_change.h"

#define T1 "11111111-2222-3333-4444-555555555555"
#define T2 "22222222-2222-3333-4444-555555555555"
#define V1 "https://sts.windows.net/" T1 "/"
#define V1_SHOWN "https://sts.windows.net/" T1	/* 60 bytes of it */
#define V2 "https://login.microsoftonline.com/" T1 "/v2.0"
#define IDP "https://idp.example"
#define O1 "aaaaaaaa-e7a5-4d73-8187-f10824047715"
#define O2 "bbbbbbbb-e7a5-4d73-8187-f10824047715"
#define A1 "cccccccc-e7a5-4d73-8187-f10824047715"
#define ISSUER(text) "{\"issuer\": \"" text "\", \"audiences\": [\"a\"], \"jwks\": {\"file\": \"k.json\"}}"
#define ISSUERS "[" ISSUER(V1) ", " ISSUER(V2) ", " ISSUER(IDP) "]"
#define ETL "callers[0] (\"etl\")"

/* The least configuration with three issuers, and VALUE at PATH. */
static char *
text_with(const char *path, const char *value)
{
	char *issuers = change(LEAST, "issuers", ISSUERS), *text = change(issuers, path, value);

	free(issuers);
	return text;
}

/* The snapshot of that. */
static struct config *
config_with(const char *path, const char *value)
{
	char *text = text_with(path, value);
	struct buf errors = BUF_EMPTY;
	struct config *config = config_parse(str_from(text), STR("f.json"), STR("/etc/jobgate"), &errors);

	if (config == NULL)
		fail_msg("%.*s", STR_ARG(buf_str(&errors)));
	buf_fini(&errors);
	free(text);
	return config;
}

static void
test_issuers_are_read(void **state)
{
	struct config *c = config_with("issuers[2].algorithms", "[\"ES256\", \"PS256\", \"ES256\"]");

	(void)state;
	assert_int_equal(c->issuer_count, 3);
	assert_true(str_eq(c->issuers[0].issuer, STR(V1)) && str_eq(c->issuers[0].tenant, STR(T1)));
	assert_true(str_eq(c->issuers[1].tenant, STR(T1)) && c->issuers[2].tenant.n == 0);
	assert_int_equal(c->issuers[0].algorithms, 1u << JWA_RS256);
	assert_int_equal(c->issuers[2].algorithms, 1u << JWA_ES256 | 1u << JWA_PS256);
	assert_true(c->issuers[0].audience_count == 1 && str_eq(c->issuers[0].audiences[0], STR("a")));
	assert_true(str_eq(c->issuers[0].jwks_file, STR("/etc/jobgate/k.json")));
	config_unref(&c);
}

static void
test_tokens_have_ids(void **state)
{
	struct config *c = config_with("callers[0].tokens", "[{\"tenant\": \"" T1 "\", \"object\": \"" O1 "\"}, "
	    "{\"tenant\": \"" T1 "\", \"application\": \"CCCCCCCC-E7A5-4D73-8187-F10824047715\"}, "
	    "{\"id\": \"mine\", \"issuer\": \"" IDP "\", \"subject\": \"x\"}, {\"issuer\": \"" IDP "\", \"subject\": \"y\"}]");
	const struct config_token *tokens = c->callers[0].tokens;

	(void)state;
	assert_int_equal(c->callers[0].token_count, 4);
	assert_true(str_eq(tokens[0].id, STR("aaaaaaaa")) && str_eq(tokens[1].id, STR("cccccccc")));
	assert_true(str_eq(tokens[1].application, STR(A1)));
	assert_true(str_eq(tokens[2].id, STR("mine")) && tokens[3].id.n == 8);
	config_unref(&c);
}

#define SHAPE "must have \"tenant\" and one of \"object\" and \"application\" (Entra), or \"issuer\" and \"subject\""
#define ASCII "must be a text of visible ASCII characters without spaces, is "

static void
test_what_is_wrong_is_said(void **state)
{
	static const struct { const char *path, *value, *error; } rows[] = {
		{ "issuers", "[]", "issuers: must be a list of at least one, is an empty list" },
		{ "issuers[2].issuer", "\"" V1 "\"", "issuers[2] (\"" V1_SHOWN "\").issuer: is taken by issuers[0]" },
		{ "issuers[0].issuer", NULL, "issuers[0].issuer: is missing" },
		{ "issuers[0].issuer", "\"a b\"", "issuers[0].issuer: " ASCII "\"a b\"" },
		{ "issuers[0].audiences", NULL, "issuers[0].audiences: is missing" },
		{ "issuers[0].audiences", "[]", "issuers[0].audiences: must be a list of at least one, is an empty list" },
		{ "issuers[0].audiences[0]", "7", "issuers[0].audiences[0]: must be a text, is 7" },
		{ "issuers[0].algorithms", "[\"none\"]",
		    "issuers[0].algorithms[0]: must be \"RS256\", \"PS256\" or \"ES256\", is \"none\"" },
		{ "issuers[0].jwks", NULL, "issuers[0].jwks: is missing" },
		{ "issuers[0].jwks", "{}", "issuers[0].jwks: must have exactly one of \"url\" and \"file\"" },
		{ "issuers[0].jwks.url", "\"https://h/k\"", "issuers[0].jwks: must have exactly one of \"url\" and \"file\"" },
		{ "issuers[0].jwks", "{\"url\": \"http://h/k\"}", "issuers[0].jwks.url: must begin with https:// and have a path "
		    "(whoever changes the keys on their way can be anybody), is \"http://h/k\"" },
		{ "issuers[0].jwks", "{\"url\": \"https://h/k#x\"}",
		    "issuers[0].jwks.url: must be a URL of visible ASCII characters without user and fragment, is \"https://h/k#x\"" },
		{ "issuers[0].ca_file", "\"ca.pem\"", "issuers[0]: \"ca_file\" is for \"jwks\" with a \"url\"" },
		{ "callers[0].tokens", "[]", ETL ".tokens: must be a list of at least one, is an empty list" },
		{ "callers[0].tokens", "[{}]", ETL ".tokens[0]: " SHAPE },
		{ "callers[0].tokens", "[{\"tenant\": \"" T1 "\"}]", ETL ".tokens[0]: " SHAPE },
		{ "callers[0].tokens", "[{\"object\": \"" O1 "\"}]", ETL ".tokens[0]: " SHAPE },
		{ "callers[0].tokens", "[{\"subject\": \"x\"}]", ETL ".tokens[0]: " SHAPE },
		{ "callers[0].tokens", "[{\"tenant\": \"" T1 "\", \"object\": \"" O1 "\", \"application\": \"" A1 "\"}]",
		    ETL ".tokens[0]: " SHAPE },
		{ "callers[0].tokens", "[{\"issuer\": \"" IDP "\", \"tenant\": \"" T1 "\", \"subject\": \"x\"}]",
		    ETL ".tokens[0]: " SHAPE },
		{ "callers[0].tokens", "[{\"tenant\": \"contoso\", \"object\": \"" O1 "\"}]",
		    ETL ".tokens[0].tenant: must be a UUID (8-4-4-4-12 hexadecimal digits), is \"contoso\"" },
		{ "callers[0].tokens", "[{\"tenant\": \"" T2 "\", \"object\": \"" O1 "\"}]",
		    ETL ".tokens[0]: there is no issuer of tenant " T2 " in \"issuers\"" },
		{ "callers[0].tokens", "[{\"issuer\": \"https://x\", \"subject\": \"x\"}]",
		    ETL ".tokens[0]: there is no issuer \"https://x\" in \"issuers\"" },
		{ "callers[0].tokens", "[{\"issuer\": \"" V1 "\", \"subject\": \"x\"}]", ETL ".tokens[0]: \"issuer\" is one of "
		    "Entra, whose tokens are known by \"tenant\" and \"object\" or \"application\"" },
		{ "callers[0].tokens", "[{\"issuer\": \"" IDP "\", \"tenant\": \"" T1 "\", \"object\": \"" O1 "\"}]",
		    ETL ".tokens[0]: \"issuer\" is not one of the tenant" },
		{ "callers[0].tokens", "[{\"tenant\": \"" T1 "\", \"object\": \"" O1 "\"}, "
		    "{\"id\": \"b\", \"issuer\": \"" V2 "\", \"tenant\": \"" T1 "\", \"object\": \"" O1 "\"}]",
		    ETL ".tokens[1]: names the same principal as " ETL ".tokens[0]" },
		{ "callers[0].tokens", "[{\"tenant\": \"" T1 "\", \"object\": \"" O1 "\", \"id\": \"e3b0c442\"}]",
		    ETL ".tokens[0].id: \"e3b0c442\" is taken by keys[0]" },
		{ "callers[0].tokens", "[{\"tenant\": \"" T1 "\", \"object\": \"" O1 "\", \"id\": \"x\"}, "
		    "{\"tenant\": \"" T1 "\", \"object\": \"" O2 "\", \"id\": \"x\"}]",
		    ETL ".tokens[1] (\"x\").id: is taken by " ETL ".tokens[0]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = text_with(rows[i].path, rows[i].value);
		struct buf errors = BUF_EMPTY, expected = BUF_EMPTY;

		assert_null(config_parse(str_from(text), STR("f.json"), STR("."), &errors));
		buf_printf(&expected, "f.json: %s\n", rows[i].error);
		if (!str_eq(buf_str(&errors), buf_str(&expected)))
			fail_msg("row %zu: %.*s", i, STR_ARG(buf_str(&errors)));
		buf_fini(&errors);
		buf_fini(&expected);
		free(text);
	}
}

#define CALLER(name, token) "{\"name\": \"" name "\", \"tokens\": [" token "]}"

/* Whose a token is: object before application, never by what another issuer says of Entra's principals. */
static void
test_whose_a_token_is(void **state)
{
	static const struct { struct policy_principal bearer; const char *caller; } rows[] = {
		{ { STR_INIT(V1), STR_INIT(T1), STR_INIT(O1), STR_INIT(A1), STR_INIT("s") }, "object" },
		{ { STR_INIT(V2), STR_INIT(T1), STR_INIT(O1), { NULL, 0 }, { NULL, 0 } }, "object" },
		{ { STR_INIT(V1), STR_INIT(T1), STR_INIT(O2), STR_INIT(A1), { NULL, 0 } }, "application" },
		{ { STR_INIT(V1), STR_INIT(T1), { NULL, 0 }, STR_INIT(A1), { NULL, 0 } }, "application" },
		{ { STR_INIT(V1), STR_INIT(T1), STR_INIT(A1), { NULL, 0 }, { NULL, 0 } }, NULL },
		{ { STR_INIT(V1), STR_INIT(T1), STR_INIT("AAAAAAAA-e7a5-4d73-8187-f10824047715"), { NULL, 0 }, { NULL, 0 } }, NULL },
		{ { STR_INIT(V1), STR_INIT(T2), STR_INIT(O1), STR_INIT(A1), { NULL, 0 } }, NULL },
		{ { STR_INIT(V1), STR_INIT(T1), STR_INIT(O2), STR_INIT(O1), STR_INIT("svc") }, NULL },
		{ { STR_INIT(IDP), { NULL, 0 }, STR_INIT(O1), STR_INIT(A1), STR_INIT("svc") }, "subject" },
		{ { STR_INIT(IDP), { NULL, 0 }, STR_INIT(O1), STR_INIT(A1), STR_INIT("Svc") }, NULL },
		{ { STR_INIT(IDP), { NULL, 0 }, STR_INIT(O1), STR_INIT(A1), { NULL, 0 } }, NULL },
		{ { STR_INIT(V2), STR_INIT(T1), STR_INIT("dddddddd-e7a5-4d73-8187-f10824047715"), { NULL, 0 }, { NULL, 0 } }, "v2" },
		{ { STR_INIT(V1), STR_INIT(T1), STR_INIT("dddddddd-e7a5-4d73-8187-f10824047715"), { NULL, 0 }, { NULL, 0 } }, NULL },
	};
	struct config *c = config_with("callers", "[" CALLER("object", "{\"tenant\": \"" T1 "\", \"object\": \"" O1 "\"}") ", "
	    CALLER("application", "{\"tenant\": \"" T1 "\", \"application\": \"" A1 "\"}") ", "
	    CALLER("subject", "{\"issuer\": \"" IDP "\", \"subject\": \"svc\"}") ", "
	    CALLER("v2", "{\"issuer\": \"" V2 "\", \"tenant\": \"" T1 "\", \"object\": \"dddddddd-e7a5-4d73-8187-f10824047715\"}") "]");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct config_token *token = NULL;
		const struct config_caller *caller = policy_find_token(c, &rows[i].bearer, &token);

		if ((caller != NULL) != (rows[i].caller != NULL) || (caller && !str_eq(caller->name, str_from(rows[i].caller))))
			fail_msg("row %zu", i);
		assert_int_equal(caller != NULL, token != NULL);
	}
	config_unref(&c);
}

/* Each of 10,000 callers is found by its token, and nobody by another. */
static void
test_ten_thousand_callers_have_tokens(void **state)
{
	struct buf callers = BUF_EMPTY;
	struct config *c;

	(void)state;
	buf_add_char(&callers, '[');
	for (unsigned i = 0; i < 10000; i++)
		buf_printf(&callers, "%s{\"name\": \"c%u\", \"tokens\": [{\"tenant\": \"" T1 "\", \"object\": "
		    "\"%08x-0000-0000-0000-000000000000\"}]}", i ? "," : "", i, i);
	buf_add_z(&callers, "]");
	buf_add_char(&callers, '\0');
	c = config_with("callers", callers.p);
	for (unsigned i = 0; i < 10001; i++) {
		char object[40];
		const struct config_token *token;
		const struct config_caller *caller;
		struct policy_principal bearer = { STR(V1), STR(T1), { object, 36 }, { NULL, 0 }, { NULL, 0 } };

		snprintf(object, sizeof(object), "%08x-0000-0000-0000-000000000000", i);
		caller = policy_find_token(c, &bearer, &token);
		assert_int_equal(caller != NULL, i < 10000);
		assert_true(caller == NULL || caller->index == i);
	}
	config_unref(&c);
	buf_fini(&callers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_issuers_are_read),
		cmocka_unit_test(test_tokens_have_ids),
		cmocka_unit_test(test_what_is_wrong_is_said),
		cmocka_unit_test(test_whose_a_token_is),
		cmocka_unit_test(test_ten_thousand_callers_have_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
