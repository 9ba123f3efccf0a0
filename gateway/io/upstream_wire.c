/* What TLS and plain TCP do differently on a connection's socket. */
#include "io/upstream_wire.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"

void
upstream_wire_begin(struct upstream_connection *connection)
{
	if (connection->upstream->tls == NULL)
		return;
	connection->ssl = tls_client_ssl(connection->upstream->tls);
	check(SSL_set_fd(connection->ssl, connection->fd) == 1);
}

/*
 * What OpenSSL has done nothing for: 0 where that is the socket's state, else -1. As SSL_get_error does it, but for the thread's list
 * of errors, which may hold another connection's.
 */
static int
wire_nothing(struct upstream_connection *connection)
{
	const SSL *ssl = connection->ssl;

	connection->error = errno;
	if (SSL_want_read(ssl) && BIO_should_retry(SSL_get_rbio(ssl)))
		return 0;
	return SSL_want_write(ssl) && BIO_should_retry(SSL_get_wbio(ssl)) ? 0 : -1;
}

/* The same for a system call on a plain socket. */
static int
wire_plain_nothing(struct upstream_connection *connection)
{
	connection->error = errno;
	return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

int
upstream_wire_shake(struct upstream_connection *connection)
{
	int n;

	if (connection->ssl == NULL)
		return 1;
	ERR_clear_error();	/* what is left there afterwards is this handshake's */
	n = SSL_do_handshake(connection->ssl);
	if (n <= 0)
		return wire_nothing(connection);
	SSL_set_read_ahead(connection->ssl, 1);
	return 1;
}

void
upstream_wire_keep_buffers(struct upstream_connection *connection)
{
	if (connection->ssl)
		SSL_clear_mode(connection->ssl, SSL_MODE_RELEASE_BUFFERS);
}

bool
upstream_wire_has_more(const struct upstream_connection *connection)
{
	return connection->ssl != NULL && SSL_has_pending(connection->ssl);
}

bool
upstream_wire_is_quiet(struct upstream_connection *connection)
{
	char byte;
	int n;

	if (recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
		return errno == EAGAIN || errno == EINTR;
	if (connection->ssl == NULL)
		return false;
	n = SSL_peek(connection->ssl, &byte, 1);	/* it may be a ticket: only TLS can tell */
	return n <= 0 && wire_nothing(connection) == 0;
}

int
upstream_wire_read(struct upstream_connection *connection, char *bytes, size_t n)
{
	int got;

	if (connection->ssl != NULL) {
		got = SSL_read(connection->ssl, bytes, (int)n);
		return got > 0 ? got : wire_nothing(connection);
	}
	got = (int)recv(connection->fd, bytes, n, MSG_DONTWAIT);
	connection->error = 0;
	return got > 0 ? got : got == 0 ? -1 : wire_plain_nothing(connection);
}

int
upstream_wire_write(struct upstream_connection *connection, struct str bytes)
{
	int n;

	if (connection->ssl == NULL) {
		n = (int)send(connection->fd, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL);
		return n >= 0 ? n : wire_plain_nothing(connection);
	}
	n = SSL_write(connection->ssl, bytes.p, (int)bytes.n);
	check(n <= 0 || (size_t)n == bytes.n);	/* SSL_MODE_ENABLE_PARTIAL_WRITE is not set */
	return n > 0 ? n : wire_nothing(connection);
}

bool
upstream_wire_wants_room(const struct upstream_connection *connection)
{
	return connection->ssl == NULL || SSL_want_write(connection->ssl);
}

/* What OpenSSL has to say of the fault that it has just met, which it forgets; NULL where it knows nothing. */
static const char *
wire_reason(void)
{
	unsigned long code = ERR_peek_last_error();

	ERR_clear_error();
	return ERR_GET_LIB(code) > ERR_LIB_NONE ? ERR_reason_error_string(code) : NULL;
}

struct upstream_wire_end
upstream_wire_end(struct upstream_connection *connection)
{
	const char *system = connection->error ? strerror(connection->error) : "end of file";
	struct upstream_wire_end end = { false, NULL };

	if (connection->ssl == NULL) {
		/* FIN is all that plain TCP has to say of its end (RFC 9112 8). */
		end.clean = connection->error == 0;
		end.why = system;
		return end;
	}
	end.clean = (SSL_get_shutdown(connection->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
	end.why = wire_reason();
	if (end.why == NULL)
		end.why = end.clean ? "close_notify" : system;
	return end;
}

const char *
upstream_wire_shake_failure(struct upstream_connection *connection)
{
	const char *reason = tls_client_failure(connection->ssl, ERR_peek_last_error());

	ERR_clear_error();
	if (reason == NULL)
		reason = connection->error ? strerror(connection->error) : "the connection was closed during the handshake";
	return reason;
}

void
upstream_wire_shut(struct upstream_connection *connection, bool polite)
{
	if (connection->ssl == NULL)
		return;
	ERR_clear_error();
	if (polite)
		SSL_shutdown(connection->ssl);
	tls_end_clean(connection->ssl);
	ERR_clear_error();
}

void
upstream_wire_free(struct upstream_connection *connection)
{
	SSL_free(connection->ssl);
	connection->ssl = NULL;
}
