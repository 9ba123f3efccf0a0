/* TLS of a listener: its certificate, and the SSL objects of its connections. */
#include "io/tls.h"
#include "io/tls_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"

/* One TLS 1.3 ticket a connection: the next connection needs no more, and each costs a write. */
#define TLS_SERVER_TICKETS 1

struct tls_server {
	SSL_CTX *context;	/* owned */
	uint64_t number;
};

/* Sessions of one context are of no other: each has ticket keys of its own. Still OpenSSL wants a name to resume verified clients. */
static const unsigned char session_context[] = "jobgate";

static atomic_uint_fast64_t server_count;

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
	server->number = atomic_fetch_add(&server_count, 1) + 1;
	return server;
}

/*
 * Verify a client's certificate and let the handshake go on whatever comes out, which SSL_get_verify_result keeps (in the session's ticket
 * too): an answer in words tells more than an alert that most clients print as a number.
 */
static int
on_client_certificate(X509_STORE_CTX *store, void *arg)
{
	(void)arg;
	X509_verify_cert(store);
	ERR_clear_error();
	return 1;
}

bool
tls_server_ask_client(struct tls_server *server, const char *ca_file, struct buf *error)
{
	SSL_CTX *context = server->context;
	STACK_OF(X509_NAME) *names;

	ERR_clear_error();
	names = SSL_load_client_CA_file(ca_file);
	if (names == NULL || SSL_CTX_load_verify_file(context, ca_file) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		tls_describe(error, ca_file, "no authorities for clients can be read from it");
		return false;
	}
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(context, on_client_certificate, NULL);
	check(SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT) == 1);
	check(SSL_CTX_set_session_id_context(context, session_context, sizeof(session_context)) == 1);
	return true;
}

struct tls_peer *
tls_server_peer(struct tls_server *server, void *ssl)
{
	return tls_peer_new(server->context, ssl);
}

uint64_t
tls_server_number(const struct tls_server *server)
{
	return server->number;
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
