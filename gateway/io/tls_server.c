/* TLS of a listener: its certificate, and the SSL objects of its connections. */
#include "io/tls.h"
#include "io/tls_private.h"

#include <openssl/err.h>
#include <stdlib.h>

#include "base/check.h"

/* One TLS 1.3 ticket a connection: the next connection needs no more, and each costs a write. */
#define TLS_SERVER_TICKETS 1

struct tls_server {
	SSL_CTX *context;	/* owned */
};

/* Choose http/1.1; a client that offers ALPN without it is told so (RFC 7301 3.2). */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned int in_n, void *arg)
{
	static const unsigned char own[] = TLS_ALPN_WIRE;
	unsigned char *chosen = NULL;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_n, own, TLS_ALPN_WIRE_BYTES, in, in_n) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* Load the certificate chain and its key, which must belong together. */
static bool
tls_server_load(SSL_CTX *context, const char *cert_file, const char *key_file, struct buf *error)
{
	if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1) {
		tls_describe(error, cert_file, "no certificate can be read from it");
		return false;
	}
	if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1) {
		tls_describe(error, key_file, "no private key can be read from it");
		return false;
	}
	if (SSL_CTX_check_private_key(context) != 1) {
		tls_describe(error, key_file, "the key does not belong to the certificate");
		return false;
	}
	return true;
}

struct tls_server *
tls_server_new(const char *cert_file, const char *key_file, struct buf *error)
{
	SSL_CTX *context = tls_context_new(TLS_server_method(), error);
	struct tls_server *server;

	if (context == NULL)
		return NULL;
	if (!tls_server_load(context, cert_file, key_file, error)) {
		SSL_CTX_free(context);
		return NULL;
	}
	SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	check(SSL_CTX_set_num_tickets(context, TLS_SERVER_TICKETS) == 1);
	server = calloc(1, sizeof(*server));
	check(server != NULL);
	server->context = context;
	return server;
}

void
tls_server_free(struct tls_server **server)
{
	if (*server == NULL)
		return;
	SSL_CTX_free((*server)->context);
	free(*server);
	*server = NULL;
}

void *
tls_server_ssl(struct tls_server *server)
{
	SSL *ssl;

	ERR_clear_error();
	ssl = SSL_new(server->context);
	check(ssl != NULL);
	SSL_set_accept_state(ssl);
	return ssl;
}
