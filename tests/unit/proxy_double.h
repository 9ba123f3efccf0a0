/*
 * A proxy that gives tunnels, or does what a script says instead, for the tests of the upstream client; each connection in a thread.
 */
#ifndef JOBGATE_TESTS_PROXY_DOUBLE_H
#define JOBGATE_TESTS_PROXY_DOUBLE_H

#include <poll.h>

#include "upstream_peer.h"

struct proxy {
	int listener;
	uint16_t port, target;		/* where tunnels lead, whatever is asked for */
	const char *answer;		/* instead of a tunnel; NULL: give one */
	bool stall;			/* say nothing until the client goes */
	bool drip;			/* the tunnel's answer in single bytes */
	pthread_t acceptor, threads[PEER_CONNECTIONS_MAX];
	int fds[PEER_CONNECTIONS_MAX];
	size_t connections;
	atomic_uint tunnels;
	pthread_mutex_t lock;
	char head[4096];		/* the newest question, and what came behind it */
};

struct proxy_connection { struct proxy *proxy; int fd; };

/* Read one head. */
static inline bool
proxy_read_head(struct proxy *proxy, int fd)
{
	char head[sizeof(proxy->head)] = "";
	size_t n = 0;
	ssize_t got;

	while (strstr(head, "\r\n\r\n") == NULL) {
		got = recv(fd, head + n, sizeof(head) - 1 - n, 0);
		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	pthread_mutex_lock(&proxy->lock);
	memcpy(proxy->head, head, sizeof(head));
	pthread_mutex_unlock(&proxy->lock);
	return true;
}

/* Carry bytes both ways until an end. */
static inline void
proxy_carry(int a, int b)
{
	struct pollfd fds[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };
	char bytes[16384];

	while (poll(fds, 2, 20000) > 0)
		for (int i = 0; i < 2; i++) {
			ssize_t n = fds[i].revents ? recv(fds[i].fd, bytes, sizeof(bytes), 0) : -2;

			if (n == 0 || n == -1)
				return;
			if (n > 0 && send(fds[!i].fd, bytes, (size_t)n, MSG_NOSIGNAL) != n)
				return;
		}
}

/* Lead a tunnel to the target. */
static inline void
proxy_tunnel(struct proxy *proxy, int fd)
{
	static const char yes[] = "HTTP/1.1 200 Connection established\r\nVia: 1.1 double\r\n\r\n";
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(proxy->target), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int other = socket(AF_INET, SOCK_STREAM, 0);

	check(connect(other, (struct sockaddr *)&address, sizeof(address)) == 0);
	for (size_t i = 0; proxy->drip && i < sizeof(yes) - 1; i++) {
		send(fd, yes + i, 1, MSG_NOSIGNAL);
		usleep(200);
	}
	if (!proxy->drip)
		send(fd, yes, sizeof(yes) - 1, MSG_NOSIGNAL);
	atomic_fetch_add(&proxy->tunnels, 1);
	proxy_carry(fd, other);
	close(other);
}

static inline void *
proxy_connection_main(void *arg)
{
	struct proxy_connection own = *(struct proxy_connection *)arg;
	char byte;

	free(arg);
	if (proxy_read_head(own.proxy, own.fd)) {
		if (own.proxy->answer)
			send(own.fd, own.proxy->answer, strlen(own.proxy->answer), MSG_NOSIGNAL);
		else if (!own.proxy->stall)
			proxy_tunnel(own.proxy, own.fd);
		shutdown(own.fd, own.proxy->stall ? SHUT_RD : SHUT_WR);
		while (recv(own.fd, &byte, 1, 0) > 0)
			;
	}
	return NULL;
}

static inline void *
proxy_accept_main(void *arg)
{
	struct proxy *proxy = arg;
	int fd;

	while ((fd = accept(proxy->listener, NULL, NULL)) >= 0) {
		struct proxy_connection *own = malloc(sizeof(*own));

		check(own != NULL && proxy->connections < PEER_CONNECTIONS_MAX);
		*own = (struct proxy_connection){ proxy, fd };
		proxy->fds[proxy->connections] = fd;
		check(pthread_create(&proxy->threads[proxy->connections], NULL, proxy_connection_main, own) == 0);
		proxy->connections++;
	}
	return NULL;
}

static inline void
proxy_start(struct proxy *proxy)
{
	memset(proxy, 0, sizeof(*proxy));
	pthread_mutex_init(&proxy->lock, NULL);
	proxy->listener = peer_listen(&proxy->port);
	check(pthread_create(&proxy->acceptor, NULL, proxy_accept_main, proxy) == 0);
}

static inline void
proxy_stop(struct proxy *proxy)
{
	shutdown(proxy->listener, SHUT_RDWR);
	pthread_join(proxy->acceptor, NULL);
	close(proxy->listener);
	for (size_t i = 0; i < proxy->connections; i++) {
		shutdown(proxy->fds[i], SHUT_RDWR);
		pthread_join(proxy->threads[i], NULL);
		close(proxy->fds[i]);
	}
	pthread_mutex_destroy(&proxy->lock);
}

#endif
