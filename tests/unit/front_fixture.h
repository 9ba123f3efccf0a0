/*
 * What the front's component test stands on: a front with a plain and a TLS listener on a loop in a thread, an owner that
 * checks the order of what it is told about each request, and blocking clients.
 *
 * The target says what the owner does: /now answers at the head, /no refuses there, /body answers when the body is whole,
 * /big too with 4 MiB, /hold waits for fixture_release.
 */
#ifndef JOBGATE_TESTS_FRONT_FIXTURE_H
#define JOBGATE_TESTS_FRONT_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "io/front.h"
#include "tls_certs.h"

#define FIXTURE_BIG (4 << 20)
/* Nothing here takes longer, under valgrind neither. */
#define FIXTURE_PATIENCE_MS 20000

#define HOST "Host: gate.example\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"
#define POST(target, length) "POST " target " HTTP/1.1\r\n" HOST "Content-Length: " length "\r\n\r\n"
#define CHUNKED(target) "POST " target " HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
#define MALFORMED "GET / HTTP/1.1\n\n"

/* Out of the way unless a test sets its own. */
static const struct front_limits wide = { 1000, 32768, 8192, 262144, 60 * CLOCK_SECOND, 60 * CLOCK_SECOND, 60 * CLOCK_SECOND,
	60 * CLOCK_SECOND };

struct fixture {
	struct loop *loop;
	struct front *front;
	struct tls_server *tls;
	struct front_settings settings;
	uint16_t port, tls_port;
	pthread_t thread;
	bool threaded;
	atomic_size_t connections;
	struct told *held;		/* the loop's thread alone */
	char *big;
	/* What happened; each request is begun once and ended once. */
	atomic_uint begun, requests, faults, bodies, delivered, lost, gone;
};

/* What the owner was told of one request. */
struct told {
	struct fixture *f;
	struct front_request *client;
	struct told *next;		/* among the held */
	char target[32];
	bool requested, bodied, faulted, replied;
};

/* --- the owner --- */

/* Answer with N bytes. */
static inline void
fixture_reply(struct told *told, int status, const char *bytes, size_t n, bool close)
{
	struct http1_field fields[] = { { STR("X-Target"), str_from(told->target) } };
	struct front_reply reply = { status, "Word", fields, 1, { bytes, n }, close };

	check(!told->replied);
	told->replied = true;
	front_reply(told->client, &reply);
}

/* A request begins. */
static inline struct told *
fixture_begin(struct fixture *f, struct front_request *client)
{
	struct told *told = calloc(1, sizeof(*told));
	struct str target = front_head(client)->target;

	check(told != NULL && front_owner(client) == NULL);
	told->f = f;
	told->client = client;
	snprintf(told->target, sizeof(told->target), "%.*s", STR_ARG(target));
	front_set_owner(client, told);
	atomic_fetch_add(&f->begun, 1);
	return told;
}

static inline void
on_fixture_request(void *arg, struct front_request *client)
{
	struct told *told = fixture_begin(arg, client);

	told->requested = true;
	atomic_fetch_add(&told->f->requests, 1);
	if (strncmp(told->target, "/no", 3) == 0)
		fixture_reply(told, strcmp(told->target, "/no") == 0 ? 401 : 200, "text", 4, false);
}

static inline void
on_fixture_body(void *arg, struct front_request *client)
{
	struct told *told = front_owner(client);
	struct fixture *f = arg;
	struct buf *body = front_body(client);

	check(told != NULL && told->requested && !told->bodied && !told->faulted && !told->replied);
	told->bodied = true;
	atomic_fetch_add(&f->bodies, 1);
	if (strcmp(told->target, "/body") == 0)
		fixture_reply(told, 200, body->p, body->n, false);
	else if (strcmp(told->target, "/big") == 0)
		fixture_reply(told, 200, f->big, FIXTURE_BIG, false);
	else {
		told->next = f->held;
		f->held = told;
	}
}

static inline void
on_fixture_fault(void *arg, struct front_request *client, enum front_fault fault)
{
	struct told *told = front_owner(client) ? front_owner(client) : fixture_begin(arg, client);
	int status = fault == FRONT_FAULT_OVERLOAD ? 503 : fault == FRONT_FAULT_TIMEOUT ? 408 : 400;

	check(!told->bodied && !told->faulted && !told->replied);
	told->faulted = true;
	atomic_fetch_add(&told->f->faults, 1);
	fixture_reply(told, status, "fault", 5, true);
}

static inline void
on_fixture_gone(void *arg, struct front_request *client)
{
	struct told *told = front_owner(client), **at;
	struct fixture *f = arg;

	check(told != NULL && told->client == client && !told->replied && (told->requested || told->faulted));
	for (at = &f->held; *at && *at != told;)
		at = &(*at)->next;
	if (*at)
		*at = told->next;
	free(told);
	atomic_fetch_add(&f->gone, 1);
}

static inline void
on_fixture_sent(void *arg, struct front_request *client, bool delivered)
{
	struct told *told = front_owner(client);
	struct fixture *f = arg;

	check(told != NULL && told->client == client && told->replied);
	front_set_owner(client, NULL);
	free(told);
	atomic_fetch_add(delivered ? &f->delivered : &f->lost, 1);
}

/* --- life --- */

/* Make the front with its two listeners; its loop does not run yet. */
static inline void
fixture_init(struct fixture *f, const struct front_limits *limits)
{
	static const struct certs_request leaf = { "gate.example", "DNS:gate.example", NULL, "serverAuth", -60, 3600 };
	struct certs_identity ca = certs_authority("test"), own = certs_make(&ca, &leaf);
	char folder[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
	struct buf error = BUF_EMPTY;

	memset(f, 0, sizeof(*f));
	signal(SIGPIPE, SIG_IGN);
	certs_folder(folder);
	certs_write_certificate(certs_path(cert, folder, "c.pem"), own.certificate);
	certs_write_key(certs_path(key, folder, "k.pem"), own.key);
	f->tls = tls_server_new(cert, key, &error);
	check(f->tls != NULL);
	unlink(cert);
	unlink(key);
	rmdir(folder);
	certs_drop(&own);
	certs_drop(&ca);
	f->loop = loop_new();
	f->big = calloc(1, FIXTURE_BIG);
	f->settings = (struct front_settings){ .limits = *limits, .arg = f, .connections = &f->connections,
		.hooks = { on_fixture_request, on_fixture_body, on_fixture_fault, on_fixture_gone, on_fixture_sent } };
	f->front = front_new(f->loop, &f->settings);
	front_listen(f->front, front_bind(STR("127.0.0.1"), &f->port, &error), NULL);
	front_listen(f->front, front_bind(STR("127.0.0.1"), &f->tls_port, &error), f->tls);
}

static inline void *
fixture_thread(void *arg)
{
	loop_run(((struct fixture *)arg)->loop);
	return NULL;
}

static inline void
fixture_start(struct fixture *f, const struct front_limits *limits)
{
	fixture_init(f, limits);
	check(pthread_create(&f->thread, NULL, fixture_thread, f) == 0);
	f->threaded = true;
}

struct fixture_mail {
	struct mail mail;
	struct fixture *f;
	void (*fn)(struct fixture *f);
	sem_t done;
};

static inline void
on_fixture_mail(struct mail *mail)
{
	struct fixture_mail *m = (struct fixture_mail *)mail;

	m->fn(m->f);
	sem_post(&m->done);
}

/* Run FN on the loop's thread and wait for it. */
static inline void
fixture_on_loop(struct fixture *f, void (*fn)(struct fixture *f))
{
	struct fixture_mail m = { .mail = { .run = on_fixture_mail }, .f = f, .fn = fn };

	sem_init(&m.done, 0, 0);
	loop_post(f->loop, &m.mail);
	while (sem_wait(&m.done) < 0 && errno == EINTR)
		continue;
	sem_destroy(&m.done);
}

static inline void
fixture_release_now(struct fixture *f)
{
	struct told *told, *next;

	for (told = f->held, f->held = NULL; told; told = next) {
		next = told->next;
		fixture_reply(told, 200, "held", 4, false);
	}
}

/* Answer all that is held. */
static inline void
fixture_release(struct fixture *f)
{
	fixture_on_loop(f, fixture_release_now);
}

static inline void
fixture_stop_now(struct fixture *f)
{
	loop_stop(f->loop);
}

/* End all; every request that was begun must have ended once. */
static inline void
fixture_stop(struct fixture *f)
{
	if (f->threaded) {
		fixture_on_loop(f, fixture_stop_now);
		pthread_join(f->thread, NULL);
	}
	front_free(&f->front);
	loop_free(&f->loop);
	tls_server_free(&f->tls);
	free(f->big);
	check(f->held == NULL && f->connections == 0);
	check(f->begun == f->delivered + f->lost + f->gone);
}

/* Wait until *COUNTER is at least N. */
static inline void
fixture_wait(atomic_uint *counter, unsigned n)
{
	for (int i = 0; atomic_load(counter) < n; i++) {
		check(i < FIXTURE_PATIENCE_MS);
		poll(NULL, 0, 1);
	}
}

/* Wait until so many connections are open. */
static inline void
fixture_wait_connections(struct fixture *f, size_t n)
{
	for (int i = 0; atomic_load(&f->connections) != n; i++) {
		check(i < FIXTURE_PATIENCE_MS);
		poll(NULL, 0, 1);
	}
}

/* --- clients --- */

struct client {
	int fd;
	SSL *ssl;	/* NULL: plain */
	struct buf in;
};

/* An SSL of the newest version, or of TLS 1.2. */
static inline SSL *
client_ssl(bool tls12)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl;

	if (tls12)
		SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
	ssl = SSL_new(context);
	SSL_CTX_free(context);
	check(ssl != NULL);
	return ssl;
}

/* Connect without a handshake. */
static inline int
client_socket(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct timeval patience = { FIXTURE_PATIENCE_MS / 1000, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	check(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

enum client_kind { CLIENT_PLAIN, CLIENT_TLS, CLIENT_TLS12 };

/* Connect; a handshake may fail where connections are shed and time is short. */
static inline bool
client_try_open(struct fixture *f, enum client_kind kind, struct client *c)
{
	*c = (struct client){ .fd = client_socket(kind == CLIENT_PLAIN ? f->port : f->tls_port) };
	if (kind == CLIENT_PLAIN)
		return true;
	c->ssl = client_ssl(kind == CLIENT_TLS12);
	return SSL_set_fd(c->ssl, c->fd) == 1 && SSL_connect(c->ssl) == 1;
}

static inline struct client
client_open(struct fixture *f, enum client_kind kind)
{
	struct client c;

	check(client_try_open(f, kind, &c));
	return c;
}

/* Send what the peer takes; false where it has closed. */
static inline bool
client_send(struct client *c, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = c->ssl ? SSL_write(c->ssl, bytes, (int)n) : send(c->fd, bytes, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		bytes += sent;
		n -= (size_t)sent;
	}
	return true;
}

static inline bool
client_say(struct client *c, const char *text)
{
	return client_send(c, text, strlen(text));
}

/* Read more: 1, 0 at a clean end (a close_notify on TLS), -1 at any other. */
static inline int
client_more(struct client *c)
{
	char *room = buf_room(&c->in, 65536);
	ssize_t n = c->ssl ? SSL_read(c->ssl, room, 65536) : recv(c->fd, room, 65536, 0);

	if (n > 0)
		c->in.n += (size_t)n;
	if (n > 0)
		return 1;
	if (c->ssl == NULL)
		return n == 0 ? 0 : -1;
	return SSL_get_error(c->ssl, (int)n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

/* Take one answer; its status, or -1 where the connection ended before. CLOSES: whether it says so. */
static inline int
client_answer(struct client *c, bool *closes)
{
	struct http1_limits limits = { 65536, 8192 };
	enum http1_fault fault = HTTP1_OK;
	struct http1_head head;
	size_t n, whole;

	for (;;) {
		struct http1_scan scan;

		http1_scan_init(&scan, false);
		n = http1_scan_head(&scan, buf_str(&c->in), &limits, &fault);
		if (n > 0)
			break;
		check(fault == HTTP1_OK);
		if (client_more(c) <= 0)
			return -1;
	}
	check(http1_parse_response(str_sub(buf_str(&c->in), 0, n), STR("GET"), &limits, &head) == HTTP1_OK);
	check(head.framing == HTTP1_LENGTH && http1_count(&head, STR("Date")) == 1);
	whole = n + (size_t)head.content_length;
	if (closes)
		*closes = !head.keep_alive;
	n = (size_t)head.status;
	while (c->in.n < whole)
		if (client_more(c) <= 0)
			return -1;
	buf_drop(&c->in, whole);
	return (int)n;
}

/* Whether the connection has ended clean, with nothing before. */
static inline bool
client_at_end(struct client *c)
{
	return c->in.n == 0 && client_more(c) == 0;
}

/* Close; by a reset where told so. */
static inline void
client_close(struct client *c, bool reset)
{
	struct linger hard = { 1, 0 };

	if (reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	SSL_free(c->ssl);
	close(c->fd);
	buf_fini(&c->in);
}

/*
 * Say all and close in one breath: one segment with the FIN, on TLS with a close_notify in it. Of TLS 1.2: a ticket of 1.3
 * that comes unread makes the kernel send a reset instead of all this.
 */
static inline void
client_say_and_close(struct client *c, const char *text)
{
	int one = 1;

	setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &one, sizeof(one));
	client_say(c, text);
	if (c->ssl)
		SSL_shutdown(c->ssl);
	client_close(c, false);
}

#endif
