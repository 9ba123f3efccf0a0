/* rules/jwt: form, header and claims of tokens, without their signatures (see test_caller_token.c). */
#include "rules/jwt.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/jwa.h"

#define TENANT "11111111-2222-3333-4444-555555555555"

static void
test_algorithms_have_exact_names(void **state)
{
	static const char *const foreign[] = { "none", "None", "rs256", "RS256 ", "RS384", "HS256", "ES384", "" };
	enum jwa algorithm;

	(void)state;
	for (unsigned i = 0; i < JWA_COUNT; i++) {
		assert_true(jwa_from(jwa_name((enum jwa)i), &algorithm));
		assert_int_equal(algorithm, i);
	}
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		assert_false(jwa_from(str_from(foreign[i]), &algorithm));
}

static void
test_bearer_is_found_in_authorization(void **state)
{
	static const struct { const char *value, *token; } rows[] = {
		{ "Bearer abc", "abc" }, { "bearer abc", "abc" }, { "BEARER   abc ", "abc" }, { "Bearer ", "" },
		{ "Bearer", NULL }, { "Basic abc", NULL }, { "Bearerabc", NULL }, { "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str token = jwt_of_authorization(str_from(rows[i].value));

		assert_int_equal(token.p != NULL, rows[i].token != NULL);
		assert_true(token.p == NULL || str_eq(token, str_from(rows[i].token)));
	}
}

static void
test_issuers_of_entra_have_a_tenant(void **state)
{
	static const struct { const char *issuer; bool entra; } rows[] = {
		{ "https://sts.windows.net/" TENANT "/", true },
		{ "https://login.microsoftonline.com/" TENANT "/v2.0", true },
		{ "https://login.microsoftonline.us/" TENANT "/v2.0", true },
		{ "https://sts.windows.net/" TENANT, false },
		{ "https://sts.windows.net/" TENANT "/x", false },
		{ "https://login.microsoftonline.com/" TENANT "/", false },
		{ "https://login.microsoftonline.com/common/v2.0", false },
		{ "http://sts.windows.net/" TENANT "/", false },
		{ "https://sts.windows.net.evil.example/" TENANT "/", false },
		{ "https://idp.example/", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str tenant = jwt_tenant_of_issuer(str_from(rows[i].issuer));

		assert_int_equal(tenant.p != NULL, rows[i].entra);
		assert_true(tenant.p == NULL || str_eq(tenant, STR(TENANT)));
	}
}

/* {"alg":"RS256","kid":"k1"} . {"iss":"i","aud":"a","exp":2000,"sub":"s","jti":"j"} . bytes */
#define HEADER "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0"
#define CLAIMS "eyJpc3MiOiJpIiwiYXVkIjoiYSIsImV4cCI6MjAwMCwic3ViIjoicyIsImp0aSI6ImoifQ"

static void
test_a_token_is_read(void **state)
{
	struct arena arena;
	struct jwt jwt;

	(void)state;
	arena_init(&arena);
	assert_int_equal(jwt_parse(&arena, STR(HEADER "." CLAIMS ".c2ln"), &jwt), JWT_OK);
	assert_true(str_eq(jwt.algorithm, STR("RS256")) && str_eq(jwt.key_id, STR("k1")) && str_eq(jwt.issuer, STR("i")));
	assert_true(jwt.audience_count == 1 && str_eq(jwt.audiences[0], STR("a")));
	assert_true(jwt.expires_s == 2000 && jwt.not_before_s == -1 && jwt.issued_s == -1);
	assert_true(str_eq(jwt.subject, STR("s")) && str_eq(jwt.id, STR("j")));
	assert_null(jwt.tenant.p);
	assert_null(jwt.scopes.p);
	arena_fini(&arena);
}

/* What is wrong with its frame leaves the issuer known: such a token is one of ours that is broken. */
static void
test_a_broken_token_shows_its_issuer(void **state)
{
	static const struct { const char *token; enum jwt_fault fault; bool shows; } rows[] = {
		{ "", JWT_BAD_FORM, false },
		{ "a", JWT_BAD_FORM, false },
		{ "a.b", JWT_BAD_FORM, false },
		{ HEADER "." CLAIMS, JWT_BAD_FORM, false },
		{ HEADER "." CLAIMS ".", JWT_BAD_FORM, false },
		{ "." CLAIMS ".c2ln", JWT_BAD_FORM, false },
		{ HEADER ".." "c2ln", JWT_BAD_FORM, false },
		{ HEADER "." CLAIMS ".c2ln.c2ln", JWT_BAD_FORM, false },
		{ HEADER "." CLAIMS ".c2l", JWT_BAD_FORM, true },
		{ HEADER "." CLAIMS ".c2ln=", JWT_BAD_FORM, true },
		{ HEADER "=." CLAIMS ".c2ln", JWT_BAD_FORM, true },
		{ HEADER "." CLAIMS "==.c2ln", JWT_BAD_FORM, false },
		{ "e30." CLAIMS ".c2ln", JWT_BAD_HEADER, true },
		{ "W10." CLAIMS ".c2ln", JWT_BAD_JSON, true },
		{ HEADER ".W10.c2ln", JWT_BAD_JSON, false },
		{ HEADER ".e30.c2ln", JWT_BAD_CLAIM, false },
		{ "Bearer " HEADER "." CLAIMS ".c2ln", JWT_BAD_FORM, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena arena;
		struct jwt jwt;

		arena_init(&arena);
		assert_int_equal(jwt_parse(&arena, str_from(rows[i].token), &jwt), rows[i].fault);
		assert_int_equal(jwt.issuer.p != NULL, rows[i].shows);
		arena_fini(&arena);
	}
}

/* At each edge of time, and for each thing that must be so. */
static void
test_claims_are_judged(void **state)
{
	static const struct str audiences[] = { STR_INIT("a"), STR_INIT("b") };
	static const struct jwt good = { .issuer = STR_INIT("i"), .audiences = { STR_INIT("x"), STR_INIT("b") },
		.audience_count = 2, .expires_s = 2000, .not_before_s = 1000, .issued_s = 1000, .tenant = STR_INIT(TENANT) };
	static const struct { int64_t now_s; const char *issuer, *tenant; size_t audience_count; enum jwt_fault fault; }
	rows[] = {
		{ 1500, "i", "", 2, JWT_OK },
		{ 1500, "i", TENANT, 2, JWT_OK },
		{ 1999, "i", "", 2, JWT_OK },
		{ 2000, "i", "", 2, JWT_EXPIRED },
		{ 940, "i", "", 2, JWT_OK },
		{ 939, "i", "", 2, JWT_NOT_YET },
		{ 1500, "I", "", 2, JWT_BAD_ISSUER },
		{ 1500, "i/", "", 2, JWT_BAD_ISSUER },
		{ 1500, "i", "11111111-2222-3333-4444-555555555556", 2, JWT_BAD_ISSUER },
		{ 1500, "i", "", 1, JWT_BAD_AUDIENCE },
		{ 1500, "i", "", 0, JWT_BAD_AUDIENCE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct jwt_expected expected = { str_from(rows[i].issuer), str_from(rows[i].tenant), audiences,
			rows[i].audience_count };
		struct wall_time now = { rows[i].now_s * CLOCK_SECOND };

		assert_int_equal(jwt_judge(&good, &expected, now), rows[i].fault);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_algorithms_have_exact_names),
		cmocka_unit_test(test_bearer_is_found_in_authorization),
		cmocka_unit_test(test_issuers_of_entra_have_a_tenant),
		cmocka_unit_test(test_a_token_is_read),
		cmocka_unit_test(test_a_broken_token_shows_its_issuer),
		cmocka_unit_test(test_claims_are_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
