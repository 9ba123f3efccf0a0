/* For the tls_*.c files alone: what listener and upstream contexts have in common. */
#ifndef JOBGATE_IO_TLS_PRIVATE_H
#define JOBGATE_IO_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "base/buf.h"

/* The one protocol that either side speaks, as ALPN has it on the wire (RFC 7301 3.1). */
#define TLS_ALPN_WIRE "\x08http/1.1"
#define TLS_ALPN_WIRE_BYTES (sizeof(TLS_ALPN_WIRE) - 1)

/* A context with the settings of both sides; NULL and a sentence where OpenSSL's own configuration forbids them. */
SSL_CTX *tls_context_new(const SSL_METHOD *method, struct buf *error);

/* Add "FILE: WHAT: REASON" to ERROR, with the reason of the thread's newest OpenSSL error, and forget the errors. */
void tls_describe(struct buf *error, const char *file, const char *what);

/* What the peer of SSL shows, verified by CONTEXT; NULL where it shows nothing. */
struct tls_peer *tls_peer_new(SSL_CTX *context, SSL *ssl);

#endif
