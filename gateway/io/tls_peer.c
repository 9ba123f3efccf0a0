/* Who a client's certificate says it is, and whether that is to be believed. */
#include "io/tls.h"
#include "io/tls_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"

/* Names beyond this are no certificate of a service, and each is looked up. */
#define TLS_PEER_NAMES_MAX 64

/* The prefix of a kind of name; NULL for those that name no caller. */
static const char *
peer_kind(int type)
{
	return type == GEN_DNS ? "DNS:" : type == GEN_URI ? "URI:" : type == GEN_EMAIL ? "email:" : NULL;
}

/* Append a name, if it is of visible ASCII; DNS names, and what follows an @, in lower case. */
static void
peer_add_name(struct tls_peer *peer, int type, const ASN1_STRING *value)
{
	struct str s = { (const char *)ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value) };
	bool lower = type == GEN_DNS;

	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return;		/* NUL and newline among them: no name ends before its end */
	buf_add_z(&peer->names, peer_kind(type));
	for (size_t i = 0; i < s.n; i++) {
		buf_add_char(&peer->names, lower ? str_lower(s.p[i]) : s.p[i]);
		lower = lower || (type == GEN_EMAIL && s.p[i] == '@');
	}
	buf_add_char(&peer->names, '\n');
}

/* Append the names of the certificate. */
static void
peer_read_names(struct tls_peer *peer, X509 *certificate)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int count = sk_GENERAL_NAME_num(names);

	if (count > TLS_PEER_NAMES_MAX)
		peer->fault = "it has too many names";
	for (int i = 0; i < count && count <= TLS_PEER_NAMES_MAX; i++) {
		int type;
		const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

		if (peer_kind(type))
			peer_add_name(peer, type, value);
	}
	GENERAL_NAMES_free(names);
}

/* Hash the public key as it stands in the certificate (RFC 7469 2.4). */
static void
peer_hash_key(struct tls_peer *peer, X509 *certificate)
{
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);

	if (n <= 0)
		peer->fault = "its key cannot be read";
	else
		digest_sha256((struct str){ (const char *)der, (size_t)n }, peer->spki_sha256);
	OPENSSL_free(der);
}

/* Read when it ends. */
static void
peer_read_end(struct tls_peer *peer, X509 *certificate)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1)
		peer->not_after_us = (int64_t)timegm(&tm) * CLOCK_SECOND;
	else
		peer->fault = "its end cannot be read";
}

/* Verify the certificate again, by authorities that came after its handshake; NULL where it is good. */
static const char *
peer_verify(SSL_CTX *context, SSL *ssl, X509 *certificate)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	const char *fault = NULL;

	check(store != NULL && X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(context), certificate,
	    SSL_get_peer_cert_chain(ssl)) == 1);
	param = X509_STORE_CTX_get0_param(store);
	X509_VERIFY_PARAM_set_auth_level(param, SSL_CTX_get_security_level(context));
	check(X509_STORE_CTX_set_default(store, "ssl_client") == 1);
	if (X509_verify_cert(store) != 1)
		fault = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
	X509_STORE_CTX_free(store);
	ERR_clear_error();
	return fault;
}

struct tls_peer *
tls_peer_new(SSL_CTX *context, SSL *ssl)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	long verified = SSL_get_verify_result(ssl);
	struct tls_peer *peer;

	if (certificate == NULL)
		return NULL;
	peer = calloc(1, sizeof(*peer));
	check(peer != NULL);
	peer_read_names(peer, certificate);
	peer_hash_key(peer, certificate);
	peer_read_end(peer, certificate);
	if (SSL_get_SSL_CTX(ssl) != context)
		peer->fault = peer_verify(context, ssl, certificate);
	else if (verified != X509_V_OK)
		peer->fault = X509_verify_cert_error_string(verified);
	return peer;
}

void
tls_peer_free(struct tls_peer **peer)
{
	if (*peer == NULL)
		return;
	buf_fini(&(*peer)->names);
	free(*peer);
	*peer = NULL;
}
