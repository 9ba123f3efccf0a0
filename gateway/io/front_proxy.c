/*
 * The PROXY protocol in front of a connection: on a plain listener the guard takes the header off the bytes that came; on one of TLS
 * it must be gone before the handshake, whose bytes OpenSSL reads from the socket itself. There a BIO stands between the two, reads
 * no byte more than the header has, and is out of the way from then on.
 */
#include "io/front.h"
#include "io/front_private.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/proxy2.h"

_Static_assert(sizeof(((struct front_conn *)0)->peer) >= PROXY2_PEER_BYTES, "the peer's place holds what a header says");

static BIO_METHOD *proxy_method;
static pthread_once_t proxy_once = PTHREAD_ONCE_INIT;

/* Let nothing of this connection in. */
static void
proxy_refuse(struct front_conn *conn, const char *why)
{
	log_line(LOG_WARN, "connection refused", log_z("peer", conn->peer), log_z("why", why));
	conn->dead = true;
	front_conn_schedule(conn);
}

bool
front_proxy_take(struct front_conn *conn)
{
	char peer[PROXY2_PEER_BYTES];
	enum proxy2 verdict;
	size_t need;

	verdict = proxy2_parse(buf_str(&conn->raw), &need, peer);
	if (verdict == PROXY2_WRONG)
		proxy_refuse(conn, "it does not begin with a header of the PROXY protocol, version 2");
	if (verdict == PROXY2_WRONG || verdict == PROXY2_MORE)
		return false;
	buf_drop(&conn->raw, need);
	if (verdict == PROXY2_CLIENT)
		memcpy(conn->peer, peer, sizeof(peer));
	conn->proxied = false;
	return true;
}

/* Read from the socket: first the header, for us, and then what it is wanted for. */
static int
on_bio_read(BIO *bio, char *out, int n)
{
	struct front_conn *conn = BIO_get_data(bio);
	BIO *socket = BIO_next(bio);
	int got;

	BIO_clear_retry_flags(bio);
	while (conn->proxied) {
		char peer[PROXY2_PEER_BYTES];
		size_t need;

		if (conn->dead || proxy2_parse(buf_str(&conn->raw), &need, peer) != PROXY2_MORE)
			return -1;
		need -= conn->raw.n;
		got = BIO_read(socket, buf_room(&conn->raw, need), (int)need);
		if (got <= 0) {
			BIO_copy_next_retry(bio);
			return got;
		}
		conn->raw.n += (size_t)got;
		front_proxy_take(conn);
	}
	got = BIO_read(socket, out, n);
	BIO_copy_next_retry(bio);
	return got;
}

/* Whatever else is asked of it is the socket's to answer. */
static long
on_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	return BIO_next(bio) ? BIO_ctrl(BIO_next(bio), command, number, pointer) : 0;
}

/* Made once; kept until the process ends. */
static void
proxy_make_method(void)
{
	proxy_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_FILTER, "PROXY protocol");
	check(proxy_method != NULL && BIO_meth_set_read(proxy_method, on_bio_read) == 1
	    && BIO_meth_set_ctrl(proxy_method, on_bio_ctrl) == 1);
}

/* Put the BIO in front of the socket's. It reads in the connection's own events alone, so never after its end. */
static void
proxy_put_bio(struct front_conn *conn)
{
	BIO *socket = SSL_get_rbio(conn->ssl), *bio;

	pthread_once(&proxy_once, proxy_make_method);
	bio = BIO_new(proxy_method);
	check(bio != NULL && socket != NULL && BIO_up_ref(socket) == 1);
	BIO_set_data(bio, conn);
	BIO_set_init(bio, 1);
	BIO_push(bio, socket);
	SSL_set0_rbio(conn->ssl, bio);
}

void
front_proxy_begin(struct front_conn *conn)
{
	const struct front_settings *settings = &conn->front->settings;

	if (!conn->proxied)
		return;
	if (!settings->hooks.is_proxy(settings->arg, conn->listener->index, str_from(conn->peer)))
		proxy_refuse(conn, "this listener is for proxies that it trusts, with the PROXY protocol");
	else if (conn->ssl)
		proxy_put_bio(conn);
}
