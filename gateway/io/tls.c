/* TLS settings that listeners and the upstream share, and what certificate files say about themselves. */
#include "io/tls.h"
#include "io/tls_private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* The forward-secret AEAD suites of TLS 1.2; all suites of 1.3 are such (RFC 9325 4.2). */
#define TLS_12_SUITES "ECDHE+AESGCM:ECDHE+CHACHA20"

/* 112 bits: RSA and DH of 2048, no SHA-1 signatures. */
#define TLS_SECURITY_LEVEL 2

/* Refuse to ask for the pass phrase of a key on a terminal that nobody watches. */
static int
on_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

void
tls_describe(struct buf *error, const char *file, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

	/* The system's word ("No such file") lies under OpenSSL's ("system lib"). */
	for (unsigned long older; (older = ERR_get_error()) != 0;)
		if (ERR_SYSTEM_ERROR(older))
			reason = strerror(ERR_GET_REASON(older));
	buf_printf(error, "%s: %s: %s", file, what, reason ? reason : "no reason given");
}

/* Apply what both sides have in common. */
static bool
tls_context_set(SSL_CTX *context)
{
	/*
	 * An idle connection keeps no 16 KiB buffers. Never SSL_MODE_ENABLE_PARTIAL_WRITE: libevent 2.1's do_write
	 * goes on with the next chunk where SSL_write took only a part of one, and so loses bytes.
	 */
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_security_level(context, TLS_SECURITY_LEVEL);
	SSL_CTX_set_default_passwd_cb(context, on_passphrase);
	return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
	    SSL_CTX_set_cipher_list(context, TLS_12_SUITES) == 1;
}

SSL_CTX *
tls_context_new(const SSL_METHOD *method, struct buf *error)
{
	SSL_CTX *context;

	ERR_clear_error();
	context = SSL_CTX_new(method);
	if (context != NULL && tls_context_set(context))
		return context;
	tls_describe(error, "TLS", "cannot be set up");
	SSL_CTX_free(context);
	return NULL;
}

bool
tls_certificate_expiry(const char *cert_file, int64_t *not_after_us)
{
	BIO *file = BIO_new_file(cert_file, "r");
	X509 *certificate = file ? PEM_read_bio_X509(file, NULL, on_passphrase, NULL) : NULL;
	struct tm tm;
	bool known = certificate != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1;

	if (known)
		*not_after_us = (int64_t)timegm(&tm) * CLOCK_SECOND;
	X509_free(certificate);
	BIO_free(file);
	ERR_clear_error();
	return known;
}
