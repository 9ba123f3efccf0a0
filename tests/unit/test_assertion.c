/* Client assertions: the header, the claims and the signature, verified with the certificate's own key; and files that cannot sign. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/base64.h"
#include "io/assertion.h"
#include "io/tls.h"
#include "tls_certs.h"

static char folder[PATH_MAX], cert_file[PATH_MAX], key_file[PATH_MAX], other_key[PATH_MAX], small_cert[PATH_MAX], small_key[PATH_MAX],
    ec_cert[PATH_MAX], ec_key[PATH_MAX];
static struct certs_identity good;

/* A self-signed identity with an RSA key of BITS. */
static struct certs_identity
rsa_identity(unsigned bits)
{
	struct certs_identity made = { EVP_RSA_gen(bits), X509_new() };

	check(made.key != NULL && made.certificate != NULL);
	X509_gmtime_adj(X509_getm_notBefore(made.certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(made.certificate), 3600);
	X509_set_pubkey(made.certificate, made.key);
	check(X509_sign(made.certificate, made.key, EVP_sha256()) > 0);
	return made;
}

static int
set_up(void **state)
{
	struct certs_identity other = rsa_identity(2048), small = rsa_identity(1024), ec = certs_authority("ec");

	(void)state;
	good = rsa_identity(2048);
	certs_folder(folder);
	certs_write_certificate(certs_path(cert_file, folder, "cert.pem"), good.certificate);
	certs_write_key(certs_path(key_file, folder, "key.pem"), good.key);
	certs_write_key(certs_path(other_key, folder, "other.pem"), other.key);
	certs_write_certificate(certs_path(small_cert, folder, "small-cert.pem"), small.certificate);
	certs_write_key(certs_path(small_key, folder, "small-key.pem"), small.key);
	certs_write_certificate(certs_path(ec_cert, folder, "ec-cert.pem"), ec.certificate);
	certs_write_key(certs_path(ec_key, folder, "ec-key.pem"), ec.key);
	certs_drop(&other);
	certs_drop(&small);
	certs_drop(&ec);
	return 0;
}

static int
tear_down(void **state)
{
	const char *files[] = { cert_file, key_file, other_key, small_cert, small_key, ec_cert, ec_key };

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlink(files[i]);
	rmdir(folder);
	certs_drop(&good);
	return 0;
}

/* One part of a token as JSON. */
static json_t *
part_json(struct str part)
{
	uint8_t bytes[4096];
	json_t *json;
	size_t n;

	assert_true(BASE64_DECODED(part.n) <= sizeof(bytes) && base64_decode_url(part, bytes, &n));
	json = json_loadb((char *)bytes, n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	return json;
}

/* Verify SIGNATURE over TEXT with PSS and a salt of 32 bytes. */
static bool
verify(struct str text, struct str signature)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *options;
	uint8_t bytes[1024];
	size_t n;
	bool ok;

	assert_true(BASE64_DECODED(signature.n) <= sizeof(bytes) && base64_decode_url(signature, bytes, &n));
	ok = EVP_DigestVerifyInit(context, &options, EVP_sha256(), NULL, X509_get0_pubkey(good.certificate)) == 1
	    && EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1
	    && EVP_PKEY_CTX_set_rsa_pss_saltlen(options, 32) == 1
	    && EVP_DigestVerify(context, bytes, n, (const unsigned char *)text.p, text.n) == 1;
	EVP_MD_CTX_free(context);
	return ok;
}

static const struct wall_time now = { 1800000000LL * CLOCK_SECOND };

static void
test_what_is_signed(void **state)
{
	struct assertion a = { cert_file, key_file, STR("https://login.test/t/oauth2/v2.0/token"), STR("client-1"), now };
	struct buf out = BUF_EMPTY, again = BUF_EMPTY, error = BUF_EMPTY, thumb = BUF_EMPTY;
	struct str rest, header, claims, signature, text;
	unsigned char digest[32];
	unsigned n;
	json_t *json;

	(void)state;
	assert_true(assertion_make(&a, &out, &error) && assertion_make(&a, &again, &error));
	assert_false(str_eq(buf_str(&out), buf_str(&again)));
	rest = buf_str(&out);
	assert_true(str_next(&rest, '.', &header) && str_next(&rest, '.', &claims) && str_next(&rest, '.', &signature) && rest.n == 0);
	text = str_sub(buf_str(&out), 0, header.n + 1 + claims.n);
	assert_true(verify(text, signature));
	json = part_json(header);
	assert_string_equal(json_string_value(json_object_get(json, "alg")), "PS256");
	assert_string_equal(json_string_value(json_object_get(json, "typ")), "JWT");
	X509_digest(good.certificate, EVP_sha256(), digest, &n);
	base64_encode_url(&thumb, (struct str){ (char *)digest, n });
	assert_true(str_eq(str_from(json_string_value(json_object_get(json, "x5t#S256"))), buf_str(&thumb)));
	json_decref(json);
	json = part_json(claims);
	assert_string_equal(json_string_value(json_object_get(json, "aud")), "https://login.test/t/oauth2/v2.0/token");
	assert_string_equal(json_string_value(json_object_get(json, "iss")), "client-1");
	assert_string_equal(json_string_value(json_object_get(json, "sub")), "client-1");
	assert_int_equal(strlen(json_string_value(json_object_get(json, "jti"))), 32);
	assert_true(json_integer_value(json_object_get(json, "nbf")) == 1800000000);
	assert_true(json_integer_value(json_object_get(json, "iat")) == 1800000000);
	assert_true(json_integer_value(json_object_get(json, "exp")) - 1800000000 <= 600);
	json_decref(json);
	buf_fini(&out);
	buf_fini(&again);
	buf_fini(&thumb);
	buf_fini(&error);
}

static void
test_what_cannot_sign(void **state)
{
	const struct { const char *cert, *key, *error; } rows[] = {
		{ "/nowhere/cert.pem", key_file, "/nowhere/cert.pem: " },
		{ cert_file, "/nowhere/key.pem", "/nowhere/key.pem: " },
		{ key_file, key_file, "no certificate" },
		{ cert_file, cert_file, "no private key" },
		{ cert_file, other_key, "is not the key of the certificate" },
		{ small_cert, small_key, "has 1024 bits" },
		{ ec_cert, ec_key, "is not an RSA key" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct assertion a = { rows[i].cert, rows[i].key, STR("https://x/"), STR("c"), now };
		struct buf out = BUF_EMPTY, error = BUF_EMPTY;

		assert_false(assertion_make(&a, &out, &error));
		assert_int_equal(out.n, 0);
		buf_add_char(&error, '\0');
		if (strstr(error.p, rows[i].error) == NULL)
			fail_msg("%s: %s", rows[i].error, error.p);
		buf_fini(&error);
		buf_fini(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_is_signed), cmocka_unit_test(test_what_cannot_sign) };

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
