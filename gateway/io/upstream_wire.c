/* What TLS and plain TCP do differently on an open connection. */
#include "io/upstream_wire.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"

void
upstream_wire_begin(struct upstream_connection *connection)
{
	if (connection->ssl)
		SSL_set_read_ahead(connection->ssl, 1);
}

bool
upstream_wire_has_more(const struct upstream_connection *connection)
{
	return connection->ssl != NULL && SSL_has_pending(connection->ssl);
}

bool
upstream_wire_has_ended(const struct upstream_connection *connection, int n)
{
	return n <= 0 && SSL_get_error(connection->ssl, n) != SSL_ERROR_WANT_READ;
}

bool
upstream_wire_is_quiet(struct upstream_connection *connection)
{
	char byte;
	int n;

	if (recv(bufferevent_getfd(connection->bev), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
		return errno == EAGAIN || errno == EINTR;
	if (connection->ssl == NULL)
		return false;
	ERR_clear_error();	/* it may be a ticket: only TLS can tell */
	n = SSL_peek(connection->ssl, &byte, 1);
	return n <= 0 && SSL_get_error(connection->ssl, n) == SSL_ERROR_WANT_READ;
}

bool
upstream_wire_write(struct upstream_connection *connection, struct str bytes)
{
	int n;

	if (connection->ssl == NULL)
		return false;	/* it could take a part; fetches have time */
	ERR_clear_error();
	n = SSL_write(connection->ssl, bytes.p, (int)bytes.n);
	ERR_clear_error();
	check(n <= 0 || (size_t)n == bytes.n);	/* SSL_MODE_ENABLE_PARTIAL_WRITE is not set */
	return n > 0;
}

int
upstream_wire_read(struct upstream_connection *connection, char *bytes, size_t n)
{
	if (connection->ssl == NULL)
		return (int)recv(bufferevent_getfd(connection->bev), bytes, n, MSG_DONTWAIT);
	ERR_clear_error();
	return SSL_read(connection->ssl, bytes, (int)n);
}

struct upstream_wire_end
upstream_wire_end(struct upstream_connection *connection, short what, int error)
{
	struct upstream_wire_end end = { false, NULL };
	unsigned long code;

	if (connection->ssl == NULL) {
		/* FIN is all that plain TCP has to say of its end (RFC 9112 8). */
		end.clean = (what & BEV_EVENT_EOF) != 0;
		end.why = !end.clean && error ? strerror(error) : "end of file";
		return end;
	}
	code = bufferevent_get_openssl_error(connection->bev);
	if (code == 0)
		code = ERR_peek_last_error();	/* of a read past libevent */
	end.clean = (SSL_get_shutdown(connection->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
	if (ERR_GET_LIB(code) > ERR_LIB_NONE)
		end.why = ERR_reason_error_string(code);
	if (end.why == NULL)
		end.why = end.clean ? "close_notify" : error ? strerror(error) : "end of file";
	return end;
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
}
