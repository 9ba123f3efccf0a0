/* gate/caller_token: tokens, valid and broken, judged as a request's are: rules/jwt, io/jose and the issuers' configuration. */
#include "gate/caller_token.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <stdio.h>

#include "gate/caller_token_cache.h"
#include "rules/jwks.h"
#include "token_maker.h"

#define TENANT "11111111-2222-3333-4444-555555555555"
#define OTHER "99999999-2222-3333-4444-555555555555"
#define V1 "https://sts.windows.net/" TENANT "/"
#define V2 "https://login.microsoftonline.com/" TENANT "/v2.0"
#define IDP "https://idp.example"
#define AUDIENCE "https://api.fabric.microsoft.com"
#define NOW 1700000000
#define ISSUER(issuer, algorithms) "{\"issuer\": \"" issuer "\", \"audiences\": [\"" AUDIENCE "\", \"api://gate\"], " \
	"\"algorithms\": [" algorithms "], \"jwks\": {\"file\": \"k\"}}"
#define CONFIG "{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"upstream\": {\"url\": \"https://h\", \"quota\": " \
	"{\"requests\": 200, \"window\": \"60s\"}}, \"issuers\": [" ISSUER(V1, "\"RS256\"") ", " ISSUER(V2, "\"RS256\"") ", " \
	ISSUER(IDP, "\"RS256\", \"PS256\", \"ES256\"") "], \"callers\": [{\"name\": \"c\", \"tokens\": [{\"tenant\": \"" TENANT "\", " \
	"\"object\": \"" TENANT "\"}]}]}"
#define HEADER "{\"typ\":\"JWT\",\"alg\":\"RS256\",\"kid\":\"k1\"}"
/* Of version 1, with MORE behind; of version 2; of another issuer. */
#define CLAIMS_OF(issuer, more) "{\"iss\":\"" issuer "\",\"aud\":\"" AUDIENCE "\",\"iat\":1699999000,\"nbf\":1699999000," \
	"\"exp\":1700003600,\"tid\":\"" TENANT "\",\"oid\":\"" TENANT "\",\"appid\":\"" TENANT "\",\"scp\":\"Item.Execute.All\"" more "}"
#define CLAIMS CLAIMS_OF(V1, "")

static EVP_PKEY *rsa, *rsa_other, *ec, *ec_other;
static struct config *config;
static struct keyring *keyring;
static int cases;

/* The keys of DOCUMENT for issuer I. */
static void
set_keys(size_t i, struct str document)
{
	struct buf error = BUF_EMPTY;
	struct arena arena;
	struct jwks set;

	arena_init(&arena);
	assert_true(jwks_parse(&arena, document, config->issuers[i].algorithms, &set, &error));
	keyring->keys[i] = jose_keys_new(set.keys, set.count, &error);
	assert_non_null(keyring->keys[i]);
	arena_fini(&arena);
	buf_fini(&error);
}

static int
set_up(void **state)
{
	struct buf document = BUF_EMPTY, errors = BUF_EMPTY;

	(void)state;
	rsa = EVP_RSA_gen(2048);
	rsa_other = EVP_RSA_gen(2048);
	ec = EVP_EC_gen("P-256");
	ec_other = EVP_EC_gen("P-256");
	config = config_parse(STR(CONFIG), STR("f"), STR("."), &errors);
	if (config == NULL)
		fail_msg("%.*s", STR_ARG(buf_str(&errors)));
	keyring = keyring_new(config->issuer_count);
	buf_add_z(&document, "{\"keys\":[");
	add_jwk(&document, rsa, ",\"kid\":\"k1\"");
	buf_add_char(&document, ',');
	add_jwk(&document, rsa, ",\"kid\":\"p1\",\"alg\":\"PS256\"");
	buf_add_char(&document, ',');
	add_jwk(&document, ec, ",\"kid\":\"e1\"");
	buf_add_z(&document, "]}");
	for (size_t i = 0; i < config->issuer_count; i++)
		set_keys(i, buf_str(&document));
	buf_fini(&document);
	buf_fini(&errors);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	config_unref(&config);
	keyring_unref(&keyring);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(rsa_other);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(ec_other);
	return 0;
}

/* Judge TOKEN at NOW_S: it must be so. */
static void
expect_at(struct str token, int64_t now_s, enum caller_token_result result, enum jwt_fault fault, const char *what)
{
	struct wall_time now = { now_s * CLOCK_SECOND };
	struct arena arena;
	struct caller_token bearer;

	cases++;
	arena_init(&arena);
	caller_token_judge(&arena, config, keyring, token, now, &bearer);
	if (bearer.result != result || bearer.fault != fault)
		fail_msg("%s: result %d (expected %d), fault \"%s\" (expected \"%s\")", what, bearer.result, result,
		    jwt_fault_text(bearer.fault), jwt_fault_text(fault));
	/* Nothing may be told of a token whose signature was not seen to hold. */
	assert_int_equal(bearer.verified, result == CALLER_TOKEN_GOOD || (result == CALLER_TOKEN_BAD && fault >= JWT_BAD_ISSUER));
	arena_fini(&arena);
}

static void
expect(struct str token, enum jwt_fault fault, const char *what)
{
	expect_at(token, NOW, fault == JWT_OK ? CALLER_TOKEN_GOOD : CALLER_TOKEN_BAD, fault, what);
}

/* Sign HEADER and CLAIMS with KEY and ALGORITHM, and judge that. */
static void
expect_signed(const char *header, const char *claims, EVP_PKEY *key, const char *algorithm, enum jwt_fault fault)
{
	struct buf token = BUF_EMPTY;

	add_token(&token, header, claims, key, algorithm);
	expect(buf_str(&token), fault, header[0] == HEADER[0] && strcmp(header, HEADER) == 0 ? claims : header);
	buf_fini(&token);
}

static void
test_good_tokens(void **state)
{
	(void)state;
	expect_signed(HEADER, CLAIMS, rsa, "RS256", JWT_OK);
	expect_signed(HEADER, CLAIMS_OF(V2, ",\"azp\":\"" TENANT "\",\"ver\":\"2.0\""), rsa, "RS256", JWT_OK);
	expect_signed(HEADER, CLAIMS_OF(IDP, ",\"sub\":\"s\""), rsa, "RS256", JWT_OK);
	expect_signed("{\"alg\":\"PS256\",\"kid\":\"p1\"}", CLAIMS_OF(IDP, ""), rsa, "PS256", JWT_OK);
	expect_signed("{\"alg\":\"ES256\",\"kid\":\"e1\"}", CLAIMS_OF(IDP, ""), ec, "ES256", JWT_OK);
	expect_signed("{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", CLAIMS, rsa, "RS256", JWT_OK);
	expect_signed("{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"application/at+jwt\"}", CLAIMS, rsa, "RS256", JWT_OK);
	expect_signed("{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"jwt\",\"x5t\":\"k1\"}", CLAIMS, rsa, "RS256", JWT_OK);
	expect_signed(" {\n\"kid\" : \"k1\" ,\t\"alg\":\"RS256\"} ", CLAIMS, rsa, "RS256", JWT_OK);
	expect_signed("{\"alg\":\"RS\\u0032\\u0035\\u0036\",\"kid\":\"\\u006b1\"}", CLAIMS, rsa, "RS256", JWT_OK);
}

/* Each key with each algorithm that a header may say, signed with what the key can do. */
static void
test_the_algorithm_is_the_keys(void **state)
{
	static const char *const algorithms[] = { "RS256", "PS256", "ES256", "RS384", "HS256", "none", "None", "rs256", "ES384",
		"EdDSA" };
	const struct { const char *kid; EVP_PKEY *key; const char *own; } keys[] = {
		{ "k1", rsa, "RS256" }, { "p1", rsa, "PS256" }, { "e1", ec, "ES256" },
	};

	(void)state;
	for (size_t k = 0; k < 3; k++)
		for (size_t a = 0; a < sizeof(algorithms) / sizeof(algorithms[0]); a++) {
			bool is_own = strcmp(algorithms[a], keys[k].own) == 0;
			char header[80];

			snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", algorithms[a], keys[k].kid);
			expect_signed(header, CLAIMS_OF(IDP, ""), keys[k].key, keys[k].own, is_own ? JWT_OK : JWT_BAD_ALGORITHM);
			if (is_own)	/* by the other of its kind, and another way */
				expect_signed(header, CLAIMS_OF(IDP, ""), k == 2 ? ec_other : rsa_other, keys[k].own,
				    JWT_BAD_SIGNATURE);
		}
	expect_signed("{\"alg\":\"RS256\",\"kid\":\"k1\"}", CLAIMS, rsa, "PS256", JWT_BAD_SIGNATURE);
	expect_signed("{\"alg\":\"PS256\",\"kid\":\"p1\"}", CLAIMS_OF(IDP, ""), rsa, "RS256", JWT_BAD_SIGNATURE);
	expect_signed("{\"alg\":\"RS256\",\"kid\":\"k1\"}", CLAIMS, ec, "ES256", JWT_BAD_SIGNATURE);
	/* Of an issuer whose configuration has RS256 alone these are no keys. */
	expect_signed("{\"alg\":\"PS256\",\"kid\":\"p1\"}", CLAIMS, rsa, "PS256", JWT_UNKNOWN_KEY);
	expect_signed("{\"alg\":\"ES256\",\"kid\":\"e1\"}", CLAIMS, ec, "ES256", JWT_UNKNOWN_KEY);
}

/* What is public about the key, as the secret of an HMAC. */
static void
test_public_keys_are_no_shared_secrets(void **state)
{
	struct buf secrets[3] = { BUF_EMPTY, BUF_EMPTY, BUF_EMPTY };
	BIO *pem = BIO_new(BIO_s_mem());
	uint8_t *der = NULL;
	char *text;
	long n;

	(void)state;
	assert_int_equal(PEM_write_bio_PUBKEY(pem, rsa), 1);
	n = BIO_get_mem_data(pem, &text);
	buf_add(&secrets[0], (struct str){ text, (size_t)n });
	n = i2d_PUBKEY(rsa, &der);
	buf_add(&secrets[1], (struct str){ (char *)der, (size_t)n });
	add_jwk(&secrets[2], rsa, ",\"kid\":\"k1\"");
	for (int i = 0; i < 6; i++) {
		const char *header = i < 3 ? "{\"alg\":\"HS256\",\"kid\":\"k1\"}" : HEADER;
		struct buf token = BUF_EMPTY;
		uint8_t mac[32];

		add_base64url(&token, header, strlen(header));
		buf_add_char(&token, '.');
		add_base64url(&token, CLAIMS, strlen(CLAIMS));
		HMAC(EVP_sha256(), secrets[i % 3].p, (int)secrets[i % 3].n, (const uint8_t *)token.p, token.n, mac, NULL);
		buf_add_char(&token, '.');
		add_base64url(&token, mac, sizeof(mac));
		expect(buf_str(&token), i < 3 ? JWT_BAD_ALGORITHM : JWT_BAD_SIGNATURE, "HMAC by a public key");
		buf_fini(&token);
	}
	for (int i = 0; i < 3; i++)
		buf_fini(&secrets[i]);
	OPENSSL_free(der);
	BIO_free(pem);
}

/* A header that brings a key along, with the signature of that key: the classical forgeries. */
static void
test_headers_that_are_refused(void **state)
{
#define H(more) "{\"alg\":\"RS256\",\"kid\":\"k1\"" more "}"
	static const struct { const char *header; enum jwt_fault fault; } rows[] = {
		{ H(",\"jku\":\"https://evil.example/k\""), JWT_FORBIDDEN_HEADER },
		{ H(",\"x5u\":\"https://evil.example/c\""), JWT_FORBIDDEN_HEADER },
		{ H(",\"x5c\":[\"MIIB\"]"), JWT_FORBIDDEN_HEADER },
		{ H(",\"x5c\":null"), JWT_FORBIDDEN_HEADER },
		{ H(",\"jwk\":{}"), JWT_FORBIDDEN_HEADER },
		{ H(",\"crit\":[\"exp\"]"), JWT_FORBIDDEN_HEADER },
		{ H(",\"crit\":[]"), JWT_FORBIDDEN_HEADER },
		{ H(",\"b64\":false,\"crit\":[\"b64\"]"), JWT_FORBIDDEN_HEADER },
		{ H(",\"b64\":true"), JWT_FORBIDDEN_HEADER },
		{ H(",\"typ\":\"JWE\""), JWT_BAD_HEADER },
		{ H(",\"typ\":\"dpop+jwt\""), JWT_BAD_HEADER },
		{ H(",\"typ\":7"), JWT_BAD_HEADER },
		{ H(",\"typ\":\"\""), JWT_BAD_HEADER },
		{ H(",\"kid\":\"k1\""), JWT_BAD_JSON },
		{ H(",\"alg\":\"none\""), JWT_BAD_JSON },
		{ H(",\"x\":1,\"x\":2"), JWT_BAD_JSON },
		{ "{\"kid\":\"k1\"}", JWT_BAD_HEADER },
		{ "{\"alg\":\"RS256\"}", JWT_BAD_HEADER },
		{ "{\"alg\":\"RS256\",\"kid\":\"\"}", JWT_BAD_HEADER },
		{ "{\"alg\":\"RS256\",\"kid\":null}", JWT_BAD_HEADER },
		{ "{\"alg\":\"RS256\",\"kid\":1}", JWT_BAD_HEADER },
		{ "{\"alg\":[\"RS256\"],\"kid\":\"k1\"}", JWT_BAD_HEADER },
		{ "{\"alg\":null,\"kid\":\"k1\"}", JWT_BAD_HEADER },
		{ "{\"ALG\":\"RS256\",\"kid\":\"k1\"}", JWT_BAD_HEADER },
		{ "{\"alg\":\"RS256\",\"kid\":\"K1\"}", JWT_UNKNOWN_KEY },
		{ "{\"alg\":\"RS256\",\"kid\":\"k1 \"}", JWT_UNKNOWN_KEY },
		{ "{\"alg\":\"RS256\",\"kid\":\"../../k1\"}", JWT_UNKNOWN_KEY },
		{ "{\"alg\":\"RS256\",\"kid\":\"k1\\u0000\"}", JWT_BAD_JSON },
		{ "{\"alg\":\"RS256\",\"kid\":\"k2\"}", JWT_UNKNOWN_KEY },
		{ "{}", JWT_BAD_HEADER },
		{ "[]", JWT_BAD_JSON },
		{ "\"RS256\"", JWT_BAD_JSON },
		{ "{\"alg\":\"RS256\",\"kid\":\"k1\"", JWT_BAD_JSON },
		{ "{\"alg\":\"RS256\",\"kid\":\"k1\"}{}", JWT_BAD_JSON },
		{ "{\"alg\":\"RS256\",\"kid\":\"\xff\"}", JWT_BAD_JSON },
		{ "", JWT_BAD_FORM },
	};
	struct buf header = BUF_EMPTY;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].header[0])
			expect_signed(rows[i].header, CLAIMS, rsa, "RS256", rows[i].fault);
	buf_add_z(&header, "{\"alg\":\"RS256\",\"kid\":\"k1\",\"jwk\":");
	add_jwk(&header, rsa_other, ",\"kid\":\"k1\"");
	buf_add_z(&header, "}");
	buf_add_char(&header, '\0');
	expect_signed(header.p, CLAIMS, rsa_other, "RS256", JWT_FORBIDDEN_HEADER);
	buf_fini(&header);
}

#define C(dates, audience, more) "{\"iss\":\"" V1 "\"," audience dates ",\"tid\":\"" TENANT "\"" more "}"
#define AUD "\"aud\":\"" AUDIENCE "\","
#define EXP "\"exp\":1700003600"

static void
test_claims(void **state)
{
	static const struct { const char *claims; enum jwt_fault fault; } rows[] = {
		{ C(EXP, AUD, ""), JWT_OK },
		{ C(EXP, "\"aud\":[\"" AUDIENCE "\"],", ""), JWT_OK },
		{ C(EXP, "\"aud\":[\"x\",\"api://gate\"],", ""), JWT_OK },
		{ C(EXP, "\"aud\":\"api://gate\",", ""), JWT_OK },
		{ C(EXP, "\"aud\":\"" AUDIENCE "/\",", ""), JWT_BAD_AUDIENCE },
		{ C(EXP, "\"aud\":\"API://gate\",", ""), JWT_BAD_AUDIENCE },
		{ C(EXP, "\"aud\":\"\",", ""), JWT_BAD_AUDIENCE },
		{ C(EXP, "\"aud\":[\"x\",\"y\"],", ""), JWT_BAD_AUDIENCE },
		{ C(EXP, "\"aud\":\"" AUDIENCE " api://gate\",", ""), JWT_BAD_AUDIENCE },
		{ C(EXP, "", ""), JWT_BAD_CLAIM },
		{ C(EXP, "\"aud\":[],", ""), JWT_BAD_CLAIM },
		{ C(EXP, "\"aud\":null,", ""), JWT_BAD_CLAIM },
		{ C(EXP, "\"aud\":{\"a\":\"" AUDIENCE "\"},", ""), JWT_BAD_CLAIM },
		{ C(EXP, "\"aud\":[\"" AUDIENCE "\",7],", ""), JWT_BAD_CLAIM },
		{ C(EXP, "\"aud\":[[\"" AUDIENCE "\"]],", ""), JWT_BAD_CLAIM },
		{ C(EXP, "\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"],", ""),
		    JWT_BAD_CLAIM },
		{ C("\"iat\":1", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":\"1700003600\"", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":1700003600.5", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":1.7e9", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":-1", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":null", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":true", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":[1700003600]", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":253402300799", AUD, ""), JWT_OK },
		{ C("\"exp\":253402300800", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":9223372036854775807", AUD, ""), JWT_BAD_CLAIM },
		{ C("\"exp\":0", AUD, ""), JWT_EXPIRED },
		{ C("\"exp\":1700000000", AUD, ""), JWT_EXPIRED },
		{ C("\"exp\":1700000001", AUD, ""), JWT_OK },
		{ C(EXP ",\"nbf\":1700000060", AUD, ""), JWT_OK },
		{ C(EXP ",\"nbf\":1700000061", AUD, ""), JWT_NOT_YET },
		{ C(EXP ",\"iat\":1700000060", AUD, ""), JWT_OK },
		{ C(EXP ",\"iat\":1700000061", AUD, ""), JWT_NOT_YET },
		{ C(EXP ",\"nbf\":\"0\"", AUD, ""), JWT_BAD_CLAIM },
		{ C(EXP ",\"nbf\":1.5", AUD, ""), JWT_BAD_CLAIM },
		{ C(EXP ",\"nbf\":null", AUD, ""), JWT_BAD_CLAIM },
		{ C(EXP ",\"iat\":-5", AUD, ""), JWT_BAD_CLAIM },
		{ C(EXP ",\"iat\":1e3", AUD, ""), JWT_BAD_CLAIM },
		{ C(EXP, AUD, ",\"sub\":7"), JWT_BAD_CLAIM },
		{ C(EXP, AUD, ",\"sub\":\"\""), JWT_BAD_CLAIM },
		{ C(EXP, AUD, ",\"oid\":{}"), JWT_BAD_CLAIM },
		{ C(EXP, AUD, ",\"appid\":[]"), JWT_BAD_CLAIM },
		{ C(EXP, AUD, ",\"azp\":false"), JWT_BAD_CLAIM },
		{ C(EXP, AUD, ",\"scp\":[\"Item.Execute.All\"]"), JWT_BAD_CLAIM },
		{ C(EXP, AUD, ",\"scp\":\"\""), JWT_OK },
		{ C(EXP, AUD, ",\"jti\":1"), JWT_BAD_CLAIM },
		{ C(EXP, AUD, ",\"uti\":null"), JWT_BAD_CLAIM },
		{ C(EXP, AUD, ",\"roles\":[\"a\"],\"x\":{\"y\":[1,2,{\"z\":null}]},\"name\":\"\\u00c4nn\\ud83d\\ude00\""), JWT_OK },
		{ C(EXP, AUD, ",\"exp\":1700003601"), JWT_BAD_JSON },
		{ C(EXP, AUD, ",\"oid\":\"a\\u0000\""), JWT_BAD_JSON },
		{ C(EXP, AUD, ",\"oid\":\"\\ud800\""), JWT_BAD_JSON },
		{ "{\"iss\":\"" V1 "\"," AUD EXP "}", JWT_BAD_ISSUER },
		{ "{\"iss\":\"" V1 "\"," AUD EXP ",\"tid\":\"" OTHER "\"}", JWT_BAD_ISSUER },
		{ "{\"iss\":\"" V2 "\"," AUD EXP ",\"tid\":\"" OTHER "\"}", JWT_BAD_ISSUER },
		{ "{\"iss\":\"" IDP "\"," AUD EXP ",\"tid\":\"" OTHER "\"}", JWT_OK },
		{ "{\"iss\":\"" IDP "\"," AUD EXP "}", JWT_OK },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf token = BUF_EMPTY;
		enum jwt_fault fault = rows[i].fault;

		add_token(&token, HEADER, rows[i].claims, rsa, "RS256");
		/* What cannot be read shows no issuer either. */
		expect_at(buf_str(&token), NOW, fault == JWT_OK ? CALLER_TOKEN_GOOD : fault == JWT_BAD_JSON ? CALLER_TOKEN_FOREIGN : CALLER_TOKEN_BAD,
		    fault, rows[i].claims);
		buf_fini(&token);
	}
}

static void
test_tokens_of_others_are_foreign(void **state)
{
	static const struct { const char *claims; enum jwt_fault fault; } rows[] = {
		{ CLAIMS_OF("https://sts.windows.net/" OTHER "/", ""), JWT_BAD_ISSUER },
		{ CLAIMS_OF("https://sts.windows.net/" TENANT, ""), JWT_BAD_ISSUER },
		{ CLAIMS_OF("https://IDP.example", ""), JWT_BAD_ISSUER },
		{ CLAIMS_OF("https://idp.example/", ""), JWT_BAD_ISSUER },
		{ CLAIMS_OF("", ""), JWT_BAD_CLAIM },
		{ "{" AUD EXP "}", JWT_BAD_CLAIM },
		{ "{\"iss\":[\"" V1 "\"]," AUD EXP "}", JWT_BAD_CLAIM },
		{ "{\"iss\":\"" V1 "\",\"iss\":\"" V1 "\"," AUD EXP "}", JWT_BAD_JSON },
		{ "[\"" V1 "\"]", JWT_BAD_JSON },
		{ "{", JWT_BAD_JSON },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf token = BUF_EMPTY;

		add_token(&token, HEADER, rows[i].claims, rsa, "RS256");
		expect_at(buf_str(&token), NOW, CALLER_TOKEN_FOREIGN, rows[i].fault, rows[i].claims);
		buf_fini(&token);
	}
}

/* Put BYTES in the place of CUT bytes at AT (from the end where negative) of a good token, and judge that. */
static void
expect_changed(long at, size_t cut, const char *bytes, enum caller_token_result result, enum jwt_fault fault)
{
	struct buf token = BUF_EMPTY, changed = BUF_EMPTY;
	size_t from;

	add_token(&token, HEADER, CLAIMS, rsa, "RS256");
	from = at < 0 ? token.n - (size_t)-at : (size_t)at;
	buf_add(&changed, str_sub(buf_str(&token), 0, from));
	buf_add_z(&changed, bytes);
	buf_add(&changed, str_sub(buf_str(&token), from + cut, token.n));
	expect_at(buf_str(&changed), NOW, result, fault, bytes);
	buf_fini(&token);
	buf_fini(&changed);
}

static void
test_damaged_texts(void **state)
{
	(void)state;
	expect_changed(0, 0, "", CALLER_TOKEN_GOOD, JWT_OK);
	expect_changed(0, 0, " ", CALLER_TOKEN_BAD, JWT_BAD_FORM);
	expect_changed(-1, 1, "", CALLER_TOKEN_BAD, JWT_BAD_FORM);
	expect_changed(-342, 338, "", CALLER_TOKEN_BAD, JWT_BAD_SIGNATURE);
	expect_changed(-4, 4, "AA", CALLER_TOKEN_BAD, JWT_BAD_SIGNATURE);
	expect_changed(-342, 342, "", CALLER_TOKEN_FOREIGN, JWT_BAD_FORM);
	expect_changed(-342, 342, "AA", CALLER_TOKEN_BAD, JWT_BAD_SIGNATURE);
	expect_changed(-343, 343, "", CALLER_TOKEN_FOREIGN, JWT_BAD_FORM);
	expect_changed(-343, 0, "=", CALLER_TOKEN_FOREIGN, JWT_BAD_FORM);
	expect_changed(-343, 0, ".", CALLER_TOKEN_FOREIGN, JWT_BAD_FORM);
	expect_changed(-342, 0, "AAAA", CALLER_TOKEN_BAD, JWT_BAD_SIGNATURE);
	expect_changed(-20, 0, "\n", CALLER_TOKEN_BAD, JWT_BAD_FORM);
	expect_changed(-20, 1, "+", CALLER_TOKEN_BAD, JWT_BAD_FORM);
	expect_changed(-20, 1, "/", CALLER_TOKEN_BAD, JWT_BAD_FORM);
	expect_changed(-20, 1, "=", CALLER_TOKEN_BAD, JWT_BAD_FORM);
	expect_changed(-20, 1, "\xc3", CALLER_TOKEN_BAD, JWT_BAD_FORM);
	expect_changed(-20, 1, "%2d", CALLER_TOKEN_BAD, JWT_BAD_FORM);
	expect_changed(2, 1, "=", CALLER_TOKEN_BAD, JWT_BAD_FORM);
	expect_changed(80, 1, "*", CALLER_TOKEN_FOREIGN, JWT_BAD_FORM);
	expect_changed(0, 0, "..", CALLER_TOKEN_FOREIGN, JWT_BAD_FORM);
	expect_changed(0, 51, "eyJhbGciOiJub25lIn0", CALLER_TOKEN_BAD, JWT_BAD_HEADER);
}

/* The last character of an RSA signature holds four bits that mean nothing: only one of 16 spellings is right. */
static void
test_one_spelling_per_signature(void **state)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct buf token = BUF_EMPTY;
	char *last;
	size_t value;

	(void)state;
	add_token(&token, HEADER, CLAIMS, rsa, "RS256");
	last = &token.p[token.n - 1];
	value = (size_t)(strchr(digits, *last) - digits);
	for (size_t bits = 1; bits < 16; bits++) {
		*last = digits[value | bits];
		expect(buf_str(&token), JWT_BAD_FORM, "stray bits");
	}
	buf_fini(&token);
}

/* Every byte of a good token, changed, makes a bad one: nothing of it is unsigned. */
static void
test_no_bit_can_be_turned(void **state)
{
	struct buf token = BUF_EMPTY;
	int before = cases;

	(void)state;
	add_token(&token, HEADER, CLAIMS, rsa, "RS256");
	for (size_t i = 0; i < token.n; i++) {
		struct wall_time now = { NOW * (int64_t)CLOCK_SECOND };
		struct arena arena;
		struct caller_token bearer;
		char kept = token.p[i];

		arena_init(&arena);
		token.p[i] = kept == 'A' ? 'B' : 'A';
		caller_token_judge(&arena, config, keyring, buf_str(&token), now, &bearer);
		assert_int_not_equal(bearer.result, CALLER_TOKEN_GOOD);
		assert_false(bearer.verified);
		token.p[i] = kept;
		arena_fini(&arena);
	}
	assert_int_equal(cases, before);
	buf_fini(&token);
}

static void
test_sizes(void **state)
{
	struct buf claims = BUF_EMPTY, token = BUF_EMPTY;

	(void)state;
	for (size_t room = 5400; room < 5600; room++) {
		buf_clear(&claims);
		buf_clear(&token);
		buf_add_z(&claims, "{\"iss\":\"" V1 "\"," AUD EXP ",\"tid\":\"" TENANT "\",\"x\":\"");
		memset(buf_room(&claims, room), 'x', room);
		claims.n += room;
		buf_add_z(&claims, "\"}");
		buf_add_char(&claims, '\0');
		add_token(&token, HEADER, claims.p, rsa, "RS256");
		if (token.n > JWT_BYTES_MAX - 4 && token.n <= JWT_BYTES_MAX + 4)
			expect_at(buf_str(&token), NOW, token.n > JWT_BYTES_MAX ? CALLER_TOKEN_FOREIGN : CALLER_TOKEN_GOOD,
			    token.n > JWT_BYTES_MAX ? JWT_TOO_LARGE : JWT_OK, "about 8 KB");
	}
	buf_fini(&claims);
	buf_fini(&token);
}

/* Of an issuer whose keys have not come nobody can say whether its token is good; a broken one is bad all the same. */
static void
test_keys_that_are_not_there(void **state)
{
	struct jose_keys *kept = keyring->keys[0];
	struct buf token = BUF_EMPTY;

	(void)state;
	keyring->keys[0] = NULL;
	add_token(&token, HEADER, CLAIMS, rsa, "RS256");
	expect_at(buf_str(&token), NOW, CALLER_TOKEN_NO_KEYS, JWT_OK, "no keys");
	buf_add_char(&token, '=');
	expect(buf_str(&token), JWT_BAD_FORM, "broken, no keys");
	keyring->keys[0] = kept;
	buf_fini(&token);
}

static void
test_cache_keeps_until_they_expire(void **state)
{
	struct caller_token_cache *cache = caller_token_cache_new();
	struct caller_token_known known = { .expires_s = 100, .caller = &config->callers[0] };
	struct wall_time before = { INT64_C(99999999) }, after = { INT64_C(100000000) };
	uint8_t a[32] = { 1 }, b[32] = { 1, [31] = 1 };

	(void)state;
	assert_null(caller_token_cache_find(cache, a, before));
	assert_ptr_equal(caller_token_cache_put(cache, a, &known)->caller, &config->callers[0]);
	assert_ptr_equal(caller_token_cache_find(cache, a, before)->caller, &config->callers[0]);
	assert_null(caller_token_cache_find(cache, a, after));
	assert_null(caller_token_cache_find(cache, b, before));
	caller_token_cache_put(cache, b, &known);		/* the same place: the newer stays */
	assert_null(caller_token_cache_find(cache, a, before));
	assert_non_null(caller_token_cache_find(cache, b, before));
	caller_token_cache_clear(cache);
	assert_null(caller_token_cache_find(cache, b, before));
	caller_token_cache_free(&cache);
}

/* The number that this file promises. */
static void
test_there_are_enough_cases(void **state)
{
	(void)state;
	print_message("%d tokens judged\n", cases);
	assert_true(cases >= 150);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_tokens),
		cmocka_unit_test(test_the_algorithm_is_the_keys),
		cmocka_unit_test(test_public_keys_are_no_shared_secrets),
		cmocka_unit_test(test_headers_that_are_refused),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_tokens_of_others_are_foreign),
		cmocka_unit_test(test_damaged_texts),
		cmocka_unit_test(test_one_spelling_per_signature),
		cmocka_unit_test(test_no_bit_can_be_turned),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_keys_that_are_not_there),
		cmocka_unit_test(test_cache_keeps_until_they_expire),
		cmocka_unit_test(test_there_are_enough_cases),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
