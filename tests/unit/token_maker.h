/*
 * Tokens and key sets for tests, made with OpenSSL. Included after cmocka, by one file of each program.
 */
#ifndef JOBGATE_TESTS_TOKEN_MAKER_H
#define JOBGATE_TESTS_TOKEN_MAKER_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* Append BYTES as base64url without padding. */
static inline void
add_base64url(struct buf *out, const void *bytes, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t bits = 0;
	int held = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | ((const uint8_t *)bytes)[i];
		for (held += 8; held >= 6; held -= 6)
			buf_add_char(out, digits[bits >> (held - 6) & 63]);
	}
	if (held)
		buf_add_char(out, digits[bits << (6 - held) & 63]);
}

/* Append the number NAME of KEY, SIZE bytes long (0: as many as it needs). */
static inline void
add_number(struct buf *out, EVP_PKEY *key, const char *name, size_t size)
{
	BIGNUM *number = NULL;
	uint8_t bytes[1024];

	assert_int_equal(EVP_PKEY_get_bn_param(key, name, &number), 1);
	size = size ? size : (size_t)BN_num_bytes(number);
	assert_int_equal(BN_bn2binpad(number, bytes, (int)size), (int)size);
	add_base64url(out, bytes, size);
	BN_free(number);
}

/* Append KEY, whose public part it shows, as a JWK with the members of MORE, as `,"kid":"k1"`. */
static inline void
add_jwk(struct buf *out, EVP_PKEY *key, const char *more)
{
	if (EVP_PKEY_is_a(key, "RSA")) {
		buf_add_z(out, "{\"kty\":\"RSA\",\"n\":\"");
		add_number(out, key, OSSL_PKEY_PARAM_RSA_N, 0);
		buf_add_z(out, "\",\"e\":\"");
		add_number(out, key, OSSL_PKEY_PARAM_RSA_E, 0);
	} else {
		buf_add_z(out, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
		add_number(out, key, OSSL_PKEY_PARAM_EC_PUB_X, 32);
		buf_add_z(out, "\",\"y\":\"");
		add_number(out, key, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
	}
	buf_printf(out, "\"%s}", more);
}

/* A signature of P-256 as r and s, 32 bytes each, of the one in DER (RFC 7518 3.4). */
static inline void
add_es256(struct buf *out, const uint8_t *der, size_t n)
{
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)n);
	uint8_t bytes[64];

	assert_non_null(signature);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(signature), bytes, 32), 32);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(signature), bytes + 32, 32), 32);
	add_base64url(out, bytes, sizeof(bytes));
	ECDSA_SIG_free(signature);
}

/* Append the signature of TEXT by KEY with ALGORITHM, whatever a header says. */
static inline void
add_signature(struct buf *out, struct str text, EVP_PKEY *key, const char *algorithm)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *how;
	uint8_t bytes[1024];
	size_t n = sizeof(bytes);

	assert_int_equal(EVP_DigestSignInit(context, &how, strstr(algorithm, "384") ? EVP_sha384() : EVP_sha256(), NULL, key),
	    1);
	if (algorithm[0] == 'P')
		assert_true(EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) == 1);
	assert_int_equal(EVP_DigestSign(context, bytes, &n, (const uint8_t *)text.p, text.n), 1);
	if (algorithm[0] == 'E')
		add_es256(out, bytes, n);
	else
		add_base64url(out, bytes, n);
	EVP_MD_CTX_free(context);
}

/* Append the token of HEADER and CLAIMS, signed by KEY with ALGORITHM. */
static inline void
add_token(struct buf *out, const char *header, const char *claims, EVP_PKEY *key, const char *algorithm)
{
	size_t start = out->n;
	struct buf signature = BUF_EMPTY;

	add_base64url(out, header, strlen(header));
	buf_add_char(out, '.');
	add_base64url(out, claims, strlen(claims));
	add_signature(&signature, str_sub(buf_str(out), start, out->n), key, algorithm);
	buf_add_char(out, '.');
	buf_add(out, buf_str(&signature));
	buf_fini(&signature);
}

#endif
