/* fabricsim: a simulator of Microsoft Fabric's Job Scheduler API for tests, benchmarks and demonstrations. */
#include <event2/event.h>
#include <event2/listener.h>
#include <openssl/err.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "sim_server.h"

/* Load's connections come in bursts. */
#define LISTEN_BACKLOG 1024

/* Say why the start failed and end. */
_Noreturn static void
start_fail(const char *what, const char *which)
{
	fprintf(stderr, "fabricsim: %s: %s\n", what, which);
	ERR_print_errors_fp(stderr);
	exit(1);
}

/* Choose http/1.1 where the client offers it; others go without (RFC 7301 3.2). */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes, const unsigned char *in, unsigned in_bytes,
    void *arg)
{
	static const unsigned char http11[] = "\x08http/1.1";
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_bytes, http11, sizeof(http11) - 1, in, in_bytes) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* Make the TLS settings of the listener. */
static SSL_CTX *
server_tls(const struct sim_options *o)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

	if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, o->cert) != 1)
		start_fail("cannot use the certificate", o->cert);
	if (SSL_CTX_use_PrivateKey_file(tls, o->key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(tls) != 1)
		start_fail("cannot use the key", o->key);
	SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
	SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_alpn_select_cb(tls, on_alpn, NULL);
	return tls;
}

/* Serve an accepted connection. */
static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int peer_bytes, void *arg)
{
	int on = 1;

	(void)listener;
	(void)peer;
	(void)peer_bytes;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	sim_conn_new(arg, fd);
}

/* Give the processor back for a moment where no descriptor is free, rather than spin. */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
	(void)listener;
	(void)arg;
	(void)nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
}

/* Read a numeric HOST:PORT; libevent's parser refuses port 0, so the port is put in afterwards. */
static void
server_address(const char *text, struct sockaddr_storage *address, int *bytes)
{
	const char *colon = strrchr(text, ':');
	struct str host = { text, colon != NULL ? (size_t)(colon - text) : 0 };
	struct buf with_port = BUF_EMPTY;
	uint64_t port;

	memset(address, 0, sizeof(*address));
	buf_printf(&with_port, "%.*s:1", STR_ARG(host));
	if (colon == NULL || !str_to_u64(str_from(colon + 1), &port) || port > 65535 ||
	    evutil_parse_sockaddr_port(with_port.p, (struct sockaddr *)address, bytes) != 0)
		start_fail("no numeric HOST:PORT", text);
	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
	else
		((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
	buf_fini(&with_port);
}

/* Listen as the command line says, and say where. */
static struct evconnlistener *
server_listen(struct sim_server *s)
{
	struct sockaddr_storage address;
	int bytes = sizeof(address);
	socklen_t length = sizeof(address);
	struct evconnlistener *listener;
	char host[64];

	server_address(s->options.listen, &address, &bytes);
	listener = evconnlistener_new_bind(s->base, on_accept, s, LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE |
	    LEV_OPT_CLOSE_ON_EXEC, LISTEN_BACKLOG, (struct sockaddr *)&address, bytes);
	if (listener == NULL)
		start_fail(strerror(errno), s->options.listen);
	evconnlistener_set_error_cb(listener, on_accept_error);
	if (getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &length) != 0)
		start_fail(strerror(errno), s->options.listen);
	if (address.ss_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const void *)&address;

		printf("fabricsim listening on [%s]:%u\n", inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host)),
		    ntohs(six->sin6_port));
	} else {
		const struct sockaddr_in *four = (const void *)&address;

		printf("fabricsim listening on %s:%u\n", inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host)),
		    ntohs(four->sin_port));
	}
	(void)fflush(stdout);
	return listener;
}

/* End the loop. */
static void
on_signal(evutil_socket_t number, short what, void *base)
{
	(void)number;
	(void)what;
	(void)event_base_loopbreak(base);
}

/* Free everything, so that a leak checker finds only leaks. */
static void
server_fini(struct sim_server *s)
{
	struct sim_conn *conn;

	while ((conn = s->conns) != NULL)
		sim_conn_free(&conn);
	(void)event_base_loop(s->base, EVLOOP_NONBLOCK);	/* libevent frees connections a turn later */
	sim_ledger_free(&s->ledger);
	sim_quota_free(&s->quota);
	sim_jobs_free(&s->jobs);
	SSL_CTX_free(s->tls);
	event_base_free(s->base);
}

int
main(int argc, char **argv)
{
	struct sim_server s = { .base = NULL };
	struct evconnlistener *listener;
	struct event *term, *interrupt;

	(void)signal(SIGPIPE, SIG_IGN);
	sim_options_read(&s.options, argc, argv);
	s.random = s.options.seed ^ 0x5eed;	/* not the faults' series */
	s.base = event_base_new();
	check(s.base != NULL);
	s.tls = server_tls(&s.options);
	s.jobs = sim_jobs_new(s.options.job_us, &s.random);
	s.quota = sim_quota_new(s.options.quota_requests, s.options.quota_window_us, s.options.sliding,
	    s.options.phase_us);
	s.ledger = sim_ledger_new(s.options.ledger);
	s.api = (struct sim_api){ &s.options, s.jobs };
	term = evsignal_new(s.base, SIGTERM, on_signal, s.base);
	interrupt = evsignal_new(s.base, SIGINT, on_signal, s.base);
	check(term != NULL && interrupt != NULL && event_add(term, NULL) == 0 && event_add(interrupt, NULL) == 0);
	listener = server_listen(&s);
	(void)event_base_dispatch(s.base);
	evconnlistener_free(listener);
	event_free(term);
	event_free(interrupt);
	server_fini(&s);
	return 0;
}
