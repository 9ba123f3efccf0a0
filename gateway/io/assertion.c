/* Signing a client assertion with EVP. */
#include "io/assertion.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/jsonw.h"
#include "io/tls.h"
#include "io/tls_private.h"

/* Entra takes ten minutes at most; clocks differ. */
#define ASSERTION_LIFE_S 540
#define ASSERTION_JTI_BYTES 16
#define ASSERTION_RSA_BITS_MIN 2048

/* No passphrase is asked for on a terminal. */
static int
no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* Read the certificate; NULL with a sentence. */
static X509 *
assertion_read_certificate(const char *file, struct buf *error)
{
	BIO *bio = BIO_new_file(file, "r");
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;

	BIO_free(bio);
	if (certificate == NULL)
		tls_describe(error, file, "no certificate can be read from it");
	return certificate;
}

/* Read the key; NULL with a sentence. */
static EVP_PKEY *
assertion_read_key(const char *file, struct buf *error)
{
	BIO *bio = BIO_new_file(file, "r");
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

	BIO_free(bio);
	if (key == NULL)
		tls_describe(error, file, "no private key can be read from it");
	return key;
}

/* Whether the two belong together and can make PS256. */
static bool
assertion_fits(const struct assertion *a, X509 *certificate, EVP_PKEY *key, struct buf *error)
{
	if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
		buf_printf(error, "%s: is not an RSA key", a->key_file);
	else if (EVP_PKEY_get_bits(key) < ASSERTION_RSA_BITS_MIN)
		buf_printf(error, "%s: has %d bits, under %d", a->key_file, EVP_PKEY_get_bits(key), ASSERTION_RSA_BITS_MIN);
	else if (X509_check_private_key(certificate, key) != 1)
		buf_printf(error, "%s: is not the key of the certificate %s", a->key_file, a->cert_file);
	else
		return true;
	ERR_clear_error();
	return false;
}

/* Append the first part of the token: how it is signed. */
static void
assertion_add_header(X509 *certificate, struct buf *out)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	struct buf thumbprint = BUF_EMPTY, json = BUF_EMPTY;
	struct jsonw w = { &json, false };

	check(X509_digest(certificate, EVP_sha256(), digest, &n) == 1);
	base64_encode_url(&thumbprint, (struct str){ (const char *)digest, n });
	jsonw_object(&w, NULL);
	jsonw_string(&w, "alg", STR("PS256"));
	jsonw_string(&w, "typ", STR("JWT"));
	jsonw_string(&w, "x5t#S256", buf_str(&thumbprint));
	jsonw_end_object(&w);
	base64_encode_url(out, buf_str(&json));
	buf_fini(&thumbprint);
	buf_fini(&json);
}

/* Append the second part: who says so, to whom, and how long it holds. */
static void
assertion_add_claims(const struct assertion *a, struct buf *out)
{
	int64_t now_s = a->now.us / CLOCK_SECOND;
	uint8_t random[ASSERTION_JTI_BYTES];
	char jti[2 * ASSERTION_JTI_BYTES];
	struct buf json = BUF_EMPTY;
	struct jsonw w = { &json, false };

	random_bytes(random, sizeof(random));
	str_hex_encode(random, sizeof(random), jti);
	jsonw_object(&w, NULL);
	jsonw_string(&w, "aud", a->audience);
	jsonw_string(&w, "iss", a->client_id);
	jsonw_string(&w, "sub", a->client_id);
	jsonw_string(&w, "jti", (struct str){ jti, sizeof(jti) });
	jsonw_int(&w, "nbf", now_s);
	jsonw_int(&w, "iat", now_s);
	jsonw_int(&w, "exp", now_s + ASSERTION_LIFE_S);
	jsonw_end_object(&w);
	base64_encode_url(out, buf_str(&json));
	buf_fini(&json);
}

/* Append the signature of TEXT: RSASSA-PSS with SHA-256 and a salt as long as the digest (RFC 7518 3.5). */
static bool
assertion_add_signature(EVP_PKEY *key, struct buf *text)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *options;
	unsigned char signature[16384 / 8];
	size_t n = sizeof(signature);
	bool ok;

	check(context != NULL);
	ok = EVP_DigestSignInit(context, &options, EVP_sha256(), NULL, key) == 1
	    && EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1
	    && EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1
	    && EVP_PKEY_get_size(key) <= (int)sizeof(signature)
	    && EVP_DigestSign(context, signature, &n, (const unsigned char *)text->p, text->n) == 1;
	EVP_MD_CTX_free(context);
	if (ok) {
		buf_add_char(text, '.');
		base64_encode_url(text, (struct str){ (const char *)signature, n });
	}
	return ok;
}

bool
assertion_make(const struct assertion *a, struct buf *out, struct buf *error)
{
	X509 *certificate = assertion_read_certificate(a->cert_file, error);
	EVP_PKEY *key = certificate ? assertion_read_key(a->key_file, error) : NULL;
	struct buf text = BUF_EMPTY;
	bool ok = key != NULL && assertion_fits(a, certificate, key, error);

	if (ok) {
		assertion_add_header(certificate, &text);
		buf_add_char(&text, '.');
		assertion_add_claims(a, &text);
		ok = assertion_add_signature(key, &text);
		if (!ok)
			tls_describe(error, a->key_file, "it cannot sign");
	}
	if (ok)
		buf_add(out, buf_str(&text));
	buf_wipe(&text);
	EVP_PKEY_free(key);
	X509_free(certificate);
	return ok;
}
