/*
 * TLS settings: contexts for listeners, the upstream and the store, and digests. The only module beside upstream and
 * front that knows OpenSSL.
 *
 * One context per worker, never shared between threads; loading files is done on the helper or at start, not on a
 * loop that serves.
 */
#ifndef JOBGATE_IO_TLS_H
#define JOBGATE_IO_TLS_H

#include "base/buf.h"

struct tls_server;	/* a listener's certificate and settings */
struct tls_client;	/* how the upstream is verified; a session cache of its own */

/* TLS >= 1.2, 1.2 suites ECDHE+AESGCM and CHACHA20, no renegotiation, ALPN http/1.1. NULL and a sentence in ERROR. */
struct tls_server *tls_server_new(const char *cert_file, const char *key_file, struct buf *error);
void tls_server_free(struct tls_server **server);

/*
 * Ask clients for a certificate of the authorities in CA_FILE. None is needed, and a wrong one does not end the handshake: what it says,
 * and why it is not believed, is told by tls_server_peer. Before the first tls_server_ssl. False with a sentence in ERROR.
 */
bool tls_server_ask_client(struct tls_server *server, const char *ca_file, struct buf *error);

/* What a client's certificate says. */
struct tls_peer {
	const char *fault;		/* why it is not to be believed, in OpenSSL's words; NULL: it is */
	int64_t not_after_us;		/* when it ends, wall clock */
	uint8_t spki_sha256[32];	/* of its public key */
	struct buf names;		/* "DNS:a.example", "URI:spiffe://b/c", "email:d@e.example", a newline behind each */
};
/*
 * The certificate of the client behind SSL, whose handshake has ended; NULL where it has shown none. Where SERVER is not the one that
 * made SSL, it is verified again by SERVER's authorities: a reload may have changed them. The caller frees it.
 */
struct tls_peer *tls_server_peer(struct tls_server *server, void *ssl);
void tls_peer_free(struct tls_peer **peer);
/* A number that no other server of this process has or had. */
uint64_t tls_server_number(const struct tls_server *server);

/*
 * CA_FILE empty: the system's store. SERVER_NAME: SNI and the name (or IP) to verify, no partial wildcards, purpose
 * server.
 */
struct tls_client *tls_client_new(const char *ca_file, const char *server_name, struct buf *error);
/* Another one for SERVER_NAME that believes the same authorities, which are not read again; NULL and a sentence. */
struct tls_client *tls_client_like(const struct tls_client *like, const char *server_name, struct buf *error);
void tls_client_free(struct tls_client **client);
/* Offer no ALPN: the peer speaks something other than HTTP. Before the first tls_client_ssl. */
void tls_client_drop_alpn(struct tls_client *client);

/* An SSL * (as void *) ready for a handshake; owned by who gets it. For io/ alone. */
void *tls_server_ssl(struct tls_server *server);
/* With the newest unused session, verification and SNI set. */
void *tls_client_ssl(struct tls_client *client);
/* After the handshake: NULL where the peer is verified, else a sentence why not. */
const char *tls_client_verdict(void *ssl);
/* After a handshake that failed with CODE (bufferevent_get_openssl_error): why, or NULL where OpenSSL knows nothing. */
const char *tls_client_failure(void *ssl, unsigned long code);
/*
 * Before freeing an SSL whose exchange ended clean: keeps its session resumable (pitfalls: else it is marked not
 * resumable).
 */
void tls_end_clean(void *ssl);

/* NotAfter of a certificate file in wall-clock microseconds, for warnings; false where unreadable. */
bool tls_certificate_expiry(const char *cert_file, int64_t *not_after_us);

/* SHA-256 of BYTES (thread-safe; nothing of them is left in memory). */
void digest_sha256(struct str bytes, uint8_t out[32]);

/* HMAC-SHA-256 of BYTES with KEY (RFC 2104); never fails. */
void digest_hmac_sha256(struct str key, struct str bytes, uint8_t out[32]);

/* N random bytes from the system's generator; never fails (a system without one ends the process). */
void random_bytes(uint8_t *out, size_t n);

#endif
