/* TLS towards the upstream: whom to believe, which name to demand, and the tickets for quick reconnections. */
#include "io/tls.h"
#include "io/tls_private.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

/* TLS 1.3 servers send two tickets, each for one use (RFC 8446 C.4): older ones are dropped. */
#define TLS_CLIENT_TICKETS 2

struct tls_client {
	SSL_CTX *context;	/* owned */
	char *name;		/* owned: host name or IP address to demand */
	bool is_address;
	SSL_SESSION *tickets[TLS_CLIENT_TICKETS];	/* owned; newest first, NULL behind the last */
};

/* Where systems keep all their roots in one file: a directory would be read at each handshake, on the loop. */
static const char *const tls_system_stores[] = {
	"/etc/ssl/certs/ca-certificates.crt",	/* Debian and its kin */
	"/etc/pki/tls/certs/ca-bundle.crt",	/* Fedora and its kin */
	"/etc/ssl/cert.pem",			/* Alpine, BSD */
};

/* Keep a ticket that a server has just sent; returning 1 keeps the reference. */
static int
on_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct tls_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	SSL_SESSION_free(client->tickets[TLS_CLIENT_TICKETS - 1]);
	memmove(&client->tickets[1], &client->tickets[0], sizeof(client->tickets[0]) * (TLS_CLIENT_TICKETS - 1));
	client->tickets[0] = session;
	return 1;
}

/* Take the newest ticket that is still good; a TLS 1.2 session stays for more uses. The caller owns a reference. */
static SSL_SESSION *
tls_client_take_ticket(struct tls_client *client)
{
	SSL_SESSION *session;

	while ((session = client->tickets[0]) != NULL) {
		if (SSL_SESSION_is_resumable(session) && SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION) {
			SSL_SESSION_up_ref(session);
			return session;
		}
		memmove(&client->tickets[0], &client->tickets[1], sizeof(client->tickets[0]) * (TLS_CLIENT_TICKETS - 1));
		client->tickets[TLS_CLIENT_TICKETS - 1] = NULL;
		if (SSL_SESSION_is_resumable(session))
			return session;
		SSL_SESSION_free(session);
	}
	return NULL;
}

/* The one file of the system's roots, or NULL; SSL_CERT_FILE names another, as everywhere. */
static const char *
tls_client_system_store(void)
{
	const char *file = secure_getenv("SSL_CERT_FILE");

	if (file != NULL && file[0] != '\0')
		return file;
	for (size_t i = 0; i < sizeof(tls_system_stores) / sizeof(tls_system_stores[0]); i++)
		if (access(tls_system_stores[i], R_OK) == 0)
			return tls_system_stores[i];
	return NULL;
}

/* Load the roots that are believed. */
static bool
tls_client_load(SSL_CTX *context, const char *ca_file, struct buf *error)
{
	if (ca_file == NULL || ca_file[0] == '\0')
		ca_file = tls_client_system_store();
	if (ca_file == NULL) {
		buf_add_z(error, "the system has no file of root certificates (install ca-certificates or name a ca_file)");
		return false;
	}
	if (SSL_CTX_load_verify_file(context, ca_file) == 1)
		return true;
	tls_describe(error, ca_file, "no root certificates can be read from it");
	return false;
}

/* Whether NAME is a numeric address, which certificates hold in another field and SNI forbids (RFC 6066 3). */
static bool
tls_name_is_address(const char *name)
{
	struct in6_addr address;

	return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

/* A client on CONTEXT, which is owned from now on and knows whom to believe. */
static struct tls_client *
tls_client_on(SSL_CTX *context, const char *server_name)
{
	struct tls_client *client = calloc(1, sizeof(*client));

	check(client != NULL);
	client->context = context;
	client->name = strdup(server_name);
	check(client->name != NULL && client->name[0] != '\0');
	client->is_address = tls_name_is_address(server_name);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	check(SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER) == 1);
	check(SSL_CTX_set_alpn_protos(context, (const unsigned char *)TLS_ALPN_WIRE, TLS_ALPN_WIRE_BYTES) == 0);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, on_ticket);
	SSL_CTX_set_app_data(context, client);
	return client;
}

struct tls_client *
tls_client_new(const char *ca_file, const char *server_name, struct buf *error)
{
	SSL_CTX *context = tls_context_new(TLS_client_method(), error);

	if (context == NULL)
		return NULL;
	if (!tls_client_load(context, ca_file, error)) {
		SSL_CTX_free(context);
		return NULL;
	}
	return tls_client_on(context, server_name);
}

struct tls_client *
tls_client_like(const struct tls_client *like, const char *server_name, struct buf *error)
{
	SSL_CTX *context = tls_context_new(TLS_client_method(), error);

	if (context == NULL)
		return NULL;
	SSL_CTX_set1_cert_store(context, SSL_CTX_get_cert_store(like->context));
	return tls_client_on(context, server_name);
}

void
tls_client_free(struct tls_client **client_p)
{
	struct tls_client *client = *client_p;

	if (client == NULL)
		return;
	*client_p = NULL;
	for (size_t i = 0; i < TLS_CLIENT_TICKETS; i++)
		SSL_SESSION_free(client->tickets[i]);
	/* A connection that outlives its client may still get a ticket. */
	SSL_CTX_sess_set_new_cb(client->context, NULL);
	SSL_CTX_free(client->context);
	free(client->name);
	free(client);
}

void
tls_client_drop_alpn(struct tls_client *client)
{
	check(SSL_CTX_set_alpn_protos(client->context, NULL, 0) == 0);
}

/* Demand the peer's name: every step must hold, since a peer whose name is not checked is anybody. */
static bool
tls_client_demand(const struct tls_client *client, SSL *ssl)
{
	if (client->is_address)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), client->name) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);	/* RFC 9525 6.3 */
	return SSL_set1_host(ssl, client->name) == 1 && SSL_set_tlsext_host_name(ssl, client->name) == 1;
}

void *
tls_client_ssl(struct tls_client *client)
{
	SSL_SESSION *session;
	SSL *ssl;

	ERR_clear_error();
	ssl = SSL_new(client->context);
	check(ssl != NULL && tls_client_demand(client, ssl));
	SSL_set_connect_state(ssl);
	session = tls_client_take_ticket(client);
	if (session != NULL)
		check(SSL_set_session(ssl, session) == 1);
	SSL_SESSION_free(session);
	return ssl;
}

/* Whether the server chose http/1.1, or knows no ALPN, which means the same. */
static bool
tls_client_alpn_fits(const SSL *ssl)
{
	const unsigned char *chosen = NULL;
	unsigned int n = 0;

	SSL_get0_alpn_selected(ssl, &chosen, &n);
	return n == 0 || (n == TLS_ALPN_WIRE_BYTES - 1 && memcmp(chosen, &TLS_ALPN_WIRE[1], n) == 0);
}

const char *
tls_client_verdict(void *ssl)
{
	long verified = SSL_get_verify_result(ssl);

	if (verified != X509_V_OK)
		return X509_verify_cert_error_string(verified);
	if (SSL_get0_peer_certificate(ssl) == NULL)
		return "the server has shown no certificate";
	if (SSL_get_verify_mode(ssl) != SSL_VERIFY_PEER)
		return "the server's certificate was not verified";
	if (!tls_client_alpn_fits(ssl))
		return "the server has chosen a protocol other than http/1.1";
	return NULL;
}

const char *
tls_client_failure(void *ssl, unsigned long code)
{
	long verified = SSL_get_verify_result(ssl);

	if (verified != X509_V_OK)
		return X509_verify_cert_error_string(verified);
	/* libevent puts SSL_get_error's small numbers into the same list. */
	return ERR_GET_LIB(code) > ERR_LIB_NONE ? ERR_reason_error_string(code) : NULL;
}

void
tls_end_clean(void *ssl)
{
	SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}
