/* rules/jwks and io/jose: which keys of a document are taken, and what they verify. */
#include "rules/jwks.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "io/jose.h"
#include "token_maker.h"

#define ALL (1u << JWA_RS256 | 1u << JWA_PS256 | 1u << JWA_ES256)
#define RSA_ONLY (1u << JWA_RS256)
#define PSS_ONLY (1u << JWA_PS256)
#define EC_ONLY (1u << JWA_ES256)
#define CLAIMS "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":2000}"

static EVP_PKEY *rsa, *rsa_small, *rsa_other, *rsa_three, *ec, *ec_other, *ec_384;

/* An RSA key of that many bits with the exponent E. */
static EVP_PKEY *
make_rsa(unsigned bits, unsigned e)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	BIGNUM *exponent = BN_new();
	EVP_PKEY *key = NULL;

	assert_true(BN_set_word(exponent, e) == 1 && EVP_PKEY_keygen_init(context) == 1);
	assert_true(EVP_PKEY_CTX_set_rsa_keygen_bits(context, (int)bits) == 1 &&
	    EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context, exponent) == 1 && EVP_PKEY_generate(context, &key) == 1);
	BN_free(exponent);
	EVP_PKEY_CTX_free(context);
	return key;
}

static int
make_keys(void **state)
{
	(void)state;
	rsa = make_rsa(2048, 65537);
	rsa_other = make_rsa(2048, 65537);
	rsa_small = make_rsa(1024, 65537);
	rsa_three = make_rsa(2048, 3);
	ec = EVP_EC_gen("P-256");
	ec_other = EVP_EC_gen("P-256");
	ec_384 = EVP_EC_gen("P-384");
	return ec && ec_other && ec_384 ? 0 : -1;
}

static int
free_keys(void **state)
{
	EVP_PKEY *keys[] = { rsa, rsa_small, rsa_other, rsa_three, ec, ec_other, ec_384 };

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		EVP_PKEY_free(keys[i]);
	return 0;
}

/* The algorithm that the one key of DOCUMENT is taken with, or -1 where it is not. */
static int
taken(struct str document, unsigned algorithms)
{
	struct buf error = BUF_EMPTY;
	struct arena arena;
	struct jwks set;
	int as = -1;

	arena_init(&arena);
	if (jwks_parse(&arena, document, algorithms, &set, &error)) {
		assert_int_equal(set.count, 1);
		assert_int_equal(error.n, 0);
		as = (int)set.keys[0].algorithm;
	} else {
		assert_true(error.n > 0);
	}
	buf_fini(&error);
	arena_fini(&arena);
	return as;
}

static void
test_keys_are_taken_for_what_they_are(void **state)
{
	const struct { EVP_PKEY *key; const char *more; unsigned algorithms; int as; } rows[] = {
		{ rsa, ",\"kid\":\"k\"", ALL, JWA_RS256 },
		{ rsa, ",\"kid\":\"k\",\"use\":\"sig\",\"x5t\":\"k\",\"x5c\":[\"MII\"],\"issuer\":\"i\"", RSA_ONLY, JWA_RS256 },
		{ rsa, ",\"kid\":\"k\",\"alg\":\"RS256\"", ALL, JWA_RS256 },
		{ rsa, ",\"kid\":\"k\",\"alg\":\"PS256\"", ALL, JWA_PS256 },
		{ rsa, ",\"kid\":\"k\"", PSS_ONLY, JWA_PS256 },
		{ rsa, ",\"kid\":\"k\",\"alg\":\"PS256\"", RSA_ONLY, -1 },
		{ rsa, ",\"kid\":\"k\",\"alg\":\"RS256\"", PSS_ONLY, -1 },
		{ rsa, ",\"kid\":\"k\"", EC_ONLY, -1 },
		{ rsa, ",\"kid\":\"k\",\"alg\":\"ES256\"", ALL, -1 },
		{ rsa, ",\"kid\":\"k\",\"alg\":\"RS512\"", ALL, -1 },
		{ rsa, ",\"kid\":\"k\",\"alg\":\"HS256\"", ALL, -1 },
		{ rsa, ",\"kid\":\"k\",\"alg\":\"none\"", ALL, -1 },
		{ rsa, ",\"kid\":\"k\",\"alg\":7", ALL, -1 },
		{ rsa, "", ALL, -1 },
		{ rsa, ",\"kid\":\"\"", ALL, -1 },
		{ rsa, ",\"kid\":7", ALL, -1 },
		{ rsa, ",\"kid\":\"k\",\"use\":\"enc\"", ALL, -1 },
		{ rsa, ",\"kid\":\"k\",\"use\":null", ALL, -1 },
		{ rsa, ",\"kid\":\"k\",\"key_ops\":[\"verify\"]", ALL, JWA_RS256 },
		{ rsa, ",\"kid\":\"k\",\"key_ops\":[\"encrypt\"]", ALL, -1 },
		{ rsa, ",\"kid\":\"k\",\"d\":\"AQAB\"", ALL, -1 },
		{ rsa, ",\"kid\":\"k\",\"k\":\"AQAB\"", ALL, -1 },
		{ rsa_three, ",\"kid\":\"k\"", ALL, JWA_RS256 },
		{ rsa_small, ",\"kid\":\"k\"", ALL, -1 },
		{ ec, ",\"kid\":\"k\"", ALL, JWA_ES256 },
		{ ec, ",\"kid\":\"k\",\"alg\":\"ES256\",\"use\":\"sig\"", EC_ONLY, JWA_ES256 },
		{ ec, ",\"kid\":\"k\",\"alg\":\"ES384\"", ALL, -1 },
		{ ec, ",\"kid\":\"k\",\"alg\":\"RS256\"", ALL, -1 },
		{ ec, ",\"kid\":\"k\"", RSA_ONLY, -1 },
		{ ec, ",\"kid\":\"k\",\"d\":\"AQAB\"", ALL, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf document = BUF_EMPTY;

		buf_add_z(&document, "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"k\",\"k\":\"c2VjcmV0\"},");
		add_jwk(&document, rows[i].key, rows[i].more);
		buf_add_z(&document, "]}");
		if (taken(buf_str(&document), rows[i].algorithms) != rows[i].as)
			fail_msg("row %zu is taken as %d", i, taken(buf_str(&document), rows[i].algorithms));
		buf_fini(&document);
	}
}

#define EC_KEY_OF(crv, x, y) "{\"keys\":[{\"kty\":\"EC\",\"kid\":\"k\",\"crv\":\"" crv "\",\"x\":\"" x "\",\"y\":\"" y "\"}]}"
#define X "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"

static void
test_wrong_documents_and_numbers_are_refused(void **state)
{
	static const struct { const char *text; int as; } rows[] = {
		{ "", -1 }, { "[]", -1 }, { "{}", -1 }, { "{\"keys\":{}}", -1 }, { "{\"keys\":[]}", -1 }, { "{\"keys\":[7]}", -1 },
		{ "{\"keys\":[", -1 }, { "{\"keys\":[],\"keys\":[]}", -1 }, { "{\"keys\":[{}]} x", -1 },
		{ "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", -1 },
		{ EC_KEY_OF("P-256", X, X), JWA_ES256 },	/* no point, which only OpenSSL sees */
		{ EC_KEY_OF("P-384", X, X), -1 }, { EC_KEY_OF("secp256k1", X, X), -1 }, { EC_KEY_OF("P-256", X, "AQAB"), -1 },
		{ EC_KEY_OF("P-256", "AA" X, X), -1 }, { EC_KEY_OF("P-256", X, ""), -1 }, { EC_KEY_OF("P-256", X "=", X), -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (taken(str_from(rows[i].text), ALL) != rows[i].as)
			fail_msg("row %zu: %s", i, rows[i].text);
}

/* The exponent, and the modulus' last byte. */
static void
test_rsa_numbers_are_sound(void **state)
{
	static const struct { const char *e; uint8_t first, last; size_t bytes; int as; } rows[] = {
		{ "AQAB", 0xC0, 1, 256, JWA_RS256 }, { "Aw", 0xC0, 1, 256, JWA_RS256 }, { "AQ", 0xC0, 1, 256, -1 },
		{ "Ag", 0xC0, 1, 256, -1 }, { "AQAA", 0xC0, 1, 256, -1 }, { "AAEAAQ", 0xC0, 1, 256, -1 },
		{ "AQAAAAAAAAAB", 0xC0, 1, 256, -1 }, { "", 0xC0, 1, 256, -1 }, { "AQAB=", 0xC0, 1, 256, -1 },
		{ "AQAB", 0x7F, 1, 256, -1 }, { "AQAB", 0x80, 1, 256, JWA_RS256 }, { "AQAB", 0xC0, 2, 256, -1 },
		{ "AQAB", 0xC0, 1, 255, -1 }, { "AQAB", 0, 1, 257, -1 }, { "AQAB", 1, 1, 257, JWA_RS256 },
		{ "AQAB", 0xC0, 1, 1024, JWA_RS256 }, { "AQAB", 0xC0, 1, 1025, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t n[1025] = { 0 };
		struct buf document = BUF_EMPTY;

		n[0] = rows[i].first;
		n[rows[i].bytes - 1] = rows[i].last;
		buf_add_z(&document, "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k\",\"n\":\"");
		add_base64url(&document, n, rows[i].bytes);
		buf_printf(&document, "\",\"e\":\"%s\"}]}", rows[i].e);
		if (taken(buf_str(&document), ALL) != rows[i].as)
			fail_msg("row %zu", i);
		buf_fini(&document);
	}
}

/* The keys k1 (rsa, RS256), p1 (rsa, PS256) and e1 (ec). */
static struct jose_keys *
key_set(void)
{
	struct buf document = BUF_EMPTY, error = BUF_EMPTY;
	struct jose_keys *keys;
	struct arena arena;
	struct jwks set;

	arena_init(&arena);
	buf_add_z(&document, "{\"keys\":[");
	add_jwk(&document, rsa, ",\"kid\":\"k1\"");
	buf_add_char(&document, ',');
	add_jwk(&document, rsa, ",\"kid\":\"p1\",\"alg\":\"PS256\"");
	buf_add_char(&document, ',');
	add_jwk(&document, ec, ",\"kid\":\"e1\"");
	buf_add_z(&document, "]}");
	assert_true(jwks_parse(&arena, buf_str(&document), ALL, &set, &error));
	keys = jose_keys_new(set.keys, set.count, &error);
	assert_non_null(keys);
	buf_fini(&document);
	buf_fini(&error);
	arena_fini(&arena);
	return keys;
}

static void
test_two_keys_of_one_id_are_refused(void **state)
{
	struct buf document = BUF_EMPTY;

	(void)state;
	buf_add_z(&document, "{\"keys\":[");
	add_jwk(&document, rsa, ",\"kid\":\"k\"");
	buf_add_char(&document, ',');
	add_jwk(&document, rsa_other, ",\"kid\":\"k\"");
	buf_add_z(&document, "]}");
	assert_int_equal(taken(buf_str(&document), ALL), -1);
	assert_int_equal(taken(buf_str(&document), EC_ONLY), -1);
	buf_fini(&document);
}

static void
test_a_point_beside_the_curve_is_no_key(void **state)
{
	struct jwa_key key = { STR("k"), JWA_ES256, .x = STR(X), .y = STR(X) };
	struct buf error = BUF_EMPTY;

	(void)state;
	assert_null(jose_keys_new(&key, 1, &error));
	assert_true(error.n > 0);
	buf_fini(&error);
}

static void
test_signatures_are_verified(void **state)
{
	const struct { const char *kid, *header, *algorithm; EVP_PKEY *by; bool good; } rows[] = {
		{ "k1", "{\"alg\":\"RS256\"}", "RS256", rsa, true },
		{ "p1", "{\"alg\":\"PS256\"}", "PS256", rsa, true },
		{ "e1", "{\"alg\":\"ES256\"}", "ES256", ec, true },
		{ "k1", "{\"alg\":\"RS256\"}", "RS256", rsa_other, false },
		{ "k1", "{\"alg\":\"RS256\"}", "PS256", rsa, false },
		{ "k1", "{\"alg\":\"PS256\"}", "PS256", rsa, false },
		{ "p1", "{\"alg\":\"PS256\"}", "RS256", rsa, false },
		{ "p1", "{\"alg\":\"RS256\"}", "RS256", rsa, false },
		{ "k1", "{\"alg\":\"RS384\"}", "RS384", rsa, false },
		{ "k1", "{\"alg\":\"none\"}", "RS256", rsa, false },
		{ "k1", "{\"alg\":\"HS256\"}", "RS256", rsa, false },
		{ "k1", "{\"kid\":\"k1\"}", "RS256", rsa, false },
		{ "k1", "{\"alg\":\"RS256\"}", "RS256", rsa_small, false },
		{ "e1", "{\"alg\":\"ES256\"}", "ES256", ec_other, false },
		{ "e1", "{\"alg\":\"RS256\"}", "RS256", rsa, false },
		{ "k1", "{\"alg\":\"ES256\"}", "ES256", ec, false },
	};
	struct jose_keys *keys = key_set();

	(void)state;
	assert_int_equal(jose_keys_count(keys), 3);
	assert_null(jose_keys_find(keys, STR("k")));
	assert_null(jose_keys_find(keys, STR("K1")));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct jose_key *key = jose_keys_find(keys, str_from(rows[i].kid));
		struct buf token = BUF_EMPTY;

		assert_non_null(key);
		add_token(&token, rows[i].header, CLAIMS, rows[i].by, rows[i].algorithm);
		if (jose_verify(key, buf_str(&token)) != rows[i].good)
			fail_msg("row %zu", i);
		token.p[token.n / 2] ^= 1;	/* within the claims or the signature */
		assert_false(jose_verify(key, buf_str(&token)));
		buf_fini(&token);
	}
	jose_keys_unref(&keys);
}

/* What cjose would read beyond its end. */
static void
test_signatures_of_another_length_are_wrong(void **state)
{
	struct jose_keys *keys = key_set();
	struct buf token = BUF_EMPTY;

	(void)state;
	for (int i = 0; i < 3; i++) {
		static const char *const kids[] = { "k1", "p1", "e1" }, *const algorithms[] = { "RS256", "PS256", "ES256" };
		const struct jose_key *key = jose_keys_find(keys, str_from(kids[i]));
		char header[32];

		snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algorithms[i]);
		buf_clear(&token);
		add_token(&token, header, CLAIMS, i == 2 ? ec : rsa, algorithms[i]);
		assert_true(jose_verify(key, buf_str(&token)));
		while (token.p[token.n - 1] != '.') {
			token.n--;
			assert_false(jose_verify(key, buf_str(&token)));
		}
		for (int more = 0; more < 600; more++) {
			buf_add_char(&token, 'A');
			assert_false(jose_verify(key, buf_str(&token)));
		}
	}
	buf_fini(&token);
	jose_keys_unref(&keys);
}

static struct str shared_token;
static struct jose_keys *shared_keys;
static atomic_int wrong;

/* Verify with the shared keys, a good token and a bad one in turn. */
static void *
verify_much(void *arg)
{
	struct jose_keys *keys = jose_keys_ref(shared_keys);
	struct buf bad = BUF_EMPTY;

	buf_add(&bad, shared_token);
	bad.p[bad.n - 40] = bad.p[bad.n - 40] == 'A' ? 'B' : 'A';
	for (int i = 0; i < 200; i++) {
		const struct jose_key *key = jose_keys_find(keys, str_from(arg));

		if (!jose_verify(key, shared_token) || jose_verify(key, buf_str(&bad)))
			atomic_fetch_add(&wrong, 1);
	}
	buf_fini(&bad);
	jose_keys_unref(&keys);
	return NULL;
}

static void
test_threads_share_a_key_set(void **state)
{
	static char k1[] = "k1", e1[] = "e1";
	struct buf token = BUF_EMPTY;
	pthread_t threads[4];

	(void)state;
	shared_keys = key_set();
	for (int round = 0; round < 2; round++) {
		buf_clear(&token);
		add_token(&token, round ? "{\"alg\":\"ES256\"}" : "{\"alg\":\"RS256\"}", CLAIMS, round ? ec : rsa,
		    round ? "ES256" : "RS256");
		shared_token = buf_str(&token);
		for (int i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, verify_much, round ? e1 : k1), 0);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
	}
	assert_int_equal(atomic_load(&wrong), 0);
	buf_fini(&token);
	jose_keys_unref(&shared_keys);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_are_taken_for_what_they_are),
		cmocka_unit_test(test_wrong_documents_and_numbers_are_refused),
		cmocka_unit_test(test_rsa_numbers_are_sound),
		cmocka_unit_test(test_two_keys_of_one_id_are_refused),
		cmocka_unit_test(test_a_point_beside_the_curve_is_no_key),
		cmocka_unit_test(test_signatures_are_verified),
		cmocka_unit_test(test_signatures_of_another_length_are_wrong),
		cmocka_unit_test(test_threads_share_a_key_set),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
