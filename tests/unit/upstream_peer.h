/*
 * A TLS server that does what a script says, each connection in a thread of its own with blocking calls, for the
 * upstream's tests.
 *
 * A script is one step for each request of a connection; it may answer in pieces, early, not at all, and end in
 * several ways.
 */
#ifndef JOBGATE_TESTS_UPSTREAM_PEER_H
#define JOBGATE_TESTS_UPSTREAM_PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_certs.h"

enum peer_end {
	PEER_KEEP,	/* wait for the next request */
	PEER_CLEAN,	/* close_notify, then close */
	PEER_DIRTY,	/* close without close_notify */
	PEER_RESET,	/* RST */
};

struct peer_step {
	const char *response;
	size_t response_n;	/* 0: strlen */
	enum peer_end end;
	bool no_read;		/* answer without reading the request */
	bool wait_first;	/* wait for peer_go before reading */
	bool wait;		/* wait for peer_go before the end */
	int drip_ms;		/* between single bytes */
	size_t body_bytes;	/* so many 'x' behind the response */
	bool stall;		/* read the request, then say nothing until the client goes */
};

#define PEER_STEPS_MAX 4
#define PEER_CONNECTIONS_MAX 96

struct peer {
	SSL_CTX *context;
	int listener;
	uint16_t port;
	bool plain;			/* no TLS */
	bool stall_tls;			/* accept TCP, say nothing */
	bool early;			/* the first step's response is sent before any request */
	struct peer_step steps[PEER_STEPS_MAX];
	size_t step_count;		/* the last step repeats */
	pthread_t acceptor;
	pthread_t threads[PEER_CONNECTIONS_MAX];
	atomic_int fds[PEER_CONNECTIONS_MAX];	/* for peer_stop; closed by their threads' end in peer_stop */
	size_t connections;
	sem_t go;
	atomic_uint accepted, handshakes, resumed, requests, closed, ended;	/* closed: nothing more will come */
	atomic_ullong http_bytes, body_sum;
	pthread_mutex_t lock;		/* guards the two below */
	char last_head[8192];		/* of the newest request */
	char sni[256];			/* of the newest connection */
};

struct peer_connection {
	struct peer *peer;
	size_t slot;
};

/* Read; a plain peer's SSL has never begun. */
static inline int
peer_in(SSL *ssl, void *bytes, int n)
{
	return SSL_in_before(ssl) ? (int)recv(SSL_get_fd(ssl), bytes, (size_t)n, 0) : SSL_read(ssl, bytes, n);
}

/* Write likewise. */
static inline int
peer_out(SSL *ssl, const void *bytes, int n)
{
	return SSL_in_before(ssl) ? (int)send(SSL_get_fd(ssl), bytes, (size_t)n, MSG_NOSIGNAL) : SSL_write(ssl, bytes, n);
}

/* Read more into BYTES; false at the end. */
static inline bool
peer_read(struct peer *peer, SSL *ssl, char *bytes, size_t size, size_t *n)
{
	int got = peer_in(ssl, bytes + *n, (int)(size - *n));

	if (got <= 0)
		return false;
	atomic_fetch_add(&peer->http_bytes, (unsigned)got);
	*n += (size_t)got;
	return true;
}

/* Read one request with its body; false where the client went. */
static inline bool
peer_read_request(struct peer *peer, SSL *ssl)
{
	static const char field[] = "Content-Length: ";
	char *bytes = calloc(1, sizeof(peer->last_head)), *end, *length;
	size_t n = 0, left = 0, size = sizeof(peer->last_head);
	unsigned long long sum = 0;
	bool whole = false;

	check(bytes != NULL);
	while ((end = memmem(bytes, n, "\r\n\r\n", 4)) == NULL)
		if (n == size || !peer_read(peer, ssl, bytes, size, &n))
			goto out;
	end += 4;
	length = memmem(bytes, (size_t)(end - bytes), field, sizeof(field) - 1);
	if (length != NULL)
		left = strtoul(length + sizeof(field) - 1, NULL, 10);
	pthread_mutex_lock(&peer->lock);
	snprintf(peer->last_head, sizeof(peer->last_head), "%.*s", (int)(end - bytes), bytes);
	pthread_mutex_unlock(&peer->lock);
	for (const char *at = end; at < bytes + n; at++)
		sum += (unsigned char)*at;
	for (left -= n - (size_t)(end - bytes); left > 0; left -= n) {
		n = 0;
		if (!peer_read(peer, ssl, bytes, size, &n))
			goto out;
		for (size_t i = 0; i < n; i++)
			sum += (unsigned char)bytes[i];
	}
	atomic_store(&peer->body_sum, sum);
	atomic_fetch_add(&peer->requests, 1);
	whole = true;
out:
	free(bytes);
	return whole;
}

/* Write the step's response. */
static inline void
peer_answer(SSL *ssl, const struct peer_step *step)
{
	size_t n = step->response == NULL ? 0 : step->response_n ? step->response_n : strlen(step->response);

	if (n > 0 && step->drip_ms == 0)
		peer_out(ssl, step->response, (int)n);
	for (size_t i = 0; i < n && step->drip_ms > 0; i++) {
		if (peer_out(ssl, step->response + i, 1) <= 0)
			return;
		usleep((useconds_t)step->drip_ms * 1000);
	}
	for (size_t left = step->body_bytes, part; left > 0; left -= part) {
		char body[10000];

		part = left < sizeof(body) ? left : sizeof(body);
		memset(body, 'x', part);
		if (peer_out(ssl, body, (int)part) <= 0)
			return;
	}
}

/* One connection's requests, step by step. */
static inline enum peer_end
peer_serve(struct peer *peer, SSL *ssl)
{
	char byte;

	for (size_t i = 0;; i++) {
		const struct peer_step *step = &peer->steps[i < peer->step_count ? i : peer->step_count - 1];

		if (step->wait_first)
			sem_wait(&peer->go);
		if (!(i == 0 && peer->early) && !step->no_read && !peer_read_request(peer, ssl))
			return PEER_DIRTY;
		if (step->stall) {
			while (peer_in(ssl, &byte, 1) > 0)
				;
			return PEER_DIRTY;
		}
		peer_answer(ssl, step);
		if (step->wait)
			sem_wait(&peer->go);
		if (step->end != PEER_KEEP)
			return step->end;
	}
}

/* End a connection as the script says. */
static inline void
peer_end(SSL *ssl, int fd, enum peer_end end, atomic_uint *closed)
{
	struct linger reset = { 1, 0 };

	if (end == PEER_CLEAN && !SSL_in_before(ssl))
		SSL_shutdown(ssl);
	if (end == PEER_RESET)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (end != PEER_RESET) {
		/* What the client still sends is read off, so that the kernel sends FIN and no RST. */
		char bytes[4096];

		shutdown(fd, SHUT_WR);
		atomic_fetch_add(closed, 1);
		while (recv(fd, bytes, sizeof(bytes), 0) > 0)
			;
	}
}

static inline void *
peer_connection_main(void *arg)
{
	struct peer_connection own = *(struct peer_connection *)arg;
	struct peer *peer = own.peer;
	int fd = peer->fds[own.slot];
	SSL *ssl = SSL_new(peer->context);
	char byte;

	free(arg);
	check(ssl != NULL && SSL_set_fd(ssl, fd) == 1);
	if (peer->stall_tls) {
		while (recv(fd, &byte, 1, 0) > 0)
			;
	} else if (peer->plain || SSL_accept(ssl) == 1) {
		const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
		enum peer_end end;

		pthread_mutex_lock(&peer->lock);
		snprintf(peer->sni, sizeof(peer->sni), "%s", sni ? sni : "");
		pthread_mutex_unlock(&peer->lock);
		atomic_fetch_add(&peer->resumed, SSL_session_reused(ssl) ? 1 : 0);
		atomic_fetch_add(&peer->handshakes, 1);
		end = peer_serve(peer, ssl);
		peer_end(ssl, fd, end, &peer->closed);
		if (end == PEER_RESET) {
			close(fd);
			peer->fds[own.slot] = -1;
			atomic_fetch_add(&peer->closed, 1);
		}
	}
	ERR_clear_error();
	SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);	/* else the session could not be resumed */
	SSL_free(ssl);
	if (peer->fds[own.slot] >= 0)
		shutdown(fd, SHUT_RDWR);
	atomic_fetch_add(&peer->ended, 1);
	return NULL;
}

static inline void *
peer_accept_main(void *arg)
{
	struct peer *peer = arg;
	int fd;

	while ((fd = accept(peer->listener, NULL, NULL)) >= 0) {
		struct timeval bound = { 20, 0 };	/* a test that fails must not hang */
		struct peer_connection *own = malloc(sizeof(*own));

		check(own != NULL && peer->connections < PEER_CONNECTIONS_MAX);
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
		*own = (struct peer_connection){ peer, peer->connections };
		peer->fds[peer->connections] = fd;
		atomic_fetch_add(&peer->accepted, 1);
		check(pthread_create(&peer->threads[peer->connections], NULL, peer_connection_main, own) == 0);
		peer->connections++;
	}
	return NULL;
}

/* A listening socket on a free port of 127.0.0.1. */
static inline int
peer_listen(uint16_t *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check(fd >= 0 && bind(fd, (struct sockaddr *)&address, n) == 0 && listen(fd, 64) == 0);
	check(getsockname(fd, (struct sockaddr *)&address, &n) == 0);
	*port = ntohs(address.sin_port);
	return fd;
}

/* Start with the identity; the script is set in peer->steps before the first connection. */
static inline void
peer_start(struct peer *peer, const struct certs_identity *identity, int max_version)
{
	memset(peer, 0, sizeof(*peer));
	peer->context = SSL_CTX_new(TLS_server_method());
	check(peer->context != NULL);
	check(SSL_CTX_use_certificate(peer->context, identity->certificate) == 1);
	check(SSL_CTX_use_PrivateKey(peer->context, identity->key) == 1);
	SSL_CTX_set_max_proto_version(peer->context, max_version);
	SSL_CTX_set_session_id_context(peer->context, (const unsigned char *)"peer", 4);
	sem_init(&peer->go, 0, 0);
	pthread_mutex_init(&peer->lock, NULL);
	peer->listener = peer_listen(&peer->port);
	check(pthread_create(&peer->acceptor, NULL, peer_accept_main, peer) == 0);
}

static inline void
peer_go(struct peer *peer)
{
	sem_post(&peer->go);
}

/* Wait until a connection was closed, while the client's loop stands still; over loopback its end has then arrived. */
static inline void
peer_wait_closed(struct peer *peer)
{
	for (int ms = 0; atomic_load(&peer->closed) == 0; ms++) {
		check(ms < 10000);
		usleep(1000);
	}
}

/* End all connections and threads. */
static inline void
peer_stop(struct peer *peer)
{
	shutdown(peer->listener, SHUT_RDWR);
	pthread_join(peer->acceptor, NULL);
	close(peer->listener);
	for (size_t i = 0; i < PEER_CONNECTIONS_MAX; i++)
		sem_post(&peer->go);
	for (size_t i = 0; i < peer->connections; i++) {
		if (peer->fds[i] >= 0)
			shutdown(peer->fds[i], SHUT_RDWR);
		pthread_join(peer->threads[i], NULL);
		if (peer->fds[i] >= 0)
			close(peer->fds[i]);
	}
	sem_destroy(&peer->go);
	pthread_mutex_destroy(&peer->lock);
	SSL_CTX_free(peer->context);
}

#endif
