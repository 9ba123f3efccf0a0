/* One GET, blocking. */
#include "command/fetch.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/http1.h"

/* The gateway answers within its own 2 s, whatever happens. */
#define FETCH_US (5 * (int64_t)CLOCK_SECOND)
#define FETCH_HEAD_BYTES 16384
/* 20 lanes of 33 limits for each of some hundred identities. */
#define FETCH_BYTES_MAX (16 << 20)
#define FETCH_READ_BYTES 65536

struct fetching {
	int fd;
	struct mono_time until;
	struct buf *error;
};

/* Wait until the socket is ready for EVENTS; false where the time is up. */
static bool
fetch_wait(const struct fetching *f, short events)
{
	struct pollfd ready = { f->fd, events, 0 };
	int64_t left_us;
	int n;

	do {
		left_us = mono_since(f->until, clock_now_mono());
		n = poll(&ready, 1, left_us > 0 ? (int)(left_us / CLOCK_MS + 1) : 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return true;
	buf_printf(f->error, "no answer within %d s", (int)(FETCH_US / CLOCK_SECOND));
	return false;
}

/* The address of HOST and PORT; NULL with a sentence. Freed by freeaddrinfo. */
static struct addrinfo *
fetch_address(struct str host, uint16_t port, struct buf *error)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	char name[64], service[8];

	if (str_eq(host, STR("0.0.0.0")))
		host = STR("127.0.0.1");
	else if (str_eq(host, STR("::")))
		host = STR("::1");
	snprintf(name, sizeof(name), "%.*s", STR_ARG(host));
	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(name, service, &hints, &found) != 0)
		buf_printf(error, "%s is no numeric address", name);
	return found;
}

/* Connect; false with a sentence. */
static bool
fetch_connect(struct fetching *f, const struct addrinfo *address)
{
	int fault = 0;
	socklen_t length = sizeof(fault);

	f->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->fd < 0 || (connect(f->fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)) {
		buf_add_z(f->error, strerror(errno));
		return false;
	}
	if (!fetch_wait(f, POLLOUT))
		return false;
	if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &fault, &length) == 0 && fault == 0)
		return true;
	buf_add_z(f->error, strerror(fault));
	return false;
}

/* Send all of TEXT; false with a sentence. */
static bool
fetch_send(struct fetching *f, struct str text)
{
	while (text.n > 0) {
		ssize_t n = fetch_wait(f, POLLOUT) ? send(f->fd, text.p, text.n, MSG_NOSIGNAL) : 0;

		if (n == 0)
			return false;
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			buf_add_z(f->error, strerror(errno));
			return false;
		}
		text = str_sub(text, n > 0 ? (size_t)n : 0, text.n);
	}
	return true;
}

/* Read until the other side closes; false with a sentence. */
static bool
fetch_receive(struct fetching *f, struct buf *answer)
{
	while (answer->n <= FETCH_BYTES_MAX) {
		ssize_t n;

		if (!fetch_wait(f, POLLIN))
			return false;
		n = recv(f->fd, buf_room(answer, FETCH_READ_BYTES), FETCH_READ_BYTES, 0);
		if (n == 0)
			return true;
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			buf_add_z(f->error, strerror(errno));
			return false;
		}
		answer->n += n > 0 ? (size_t)n : 0;
	}
	buf_add_z(f->error, "the answer has no end");
	return false;
}

/* Take an answer apart; 0 with a sentence. */
static int
fetch_parse(struct str answer, struct buf *body, struct buf *error)
{
	const struct http1_limits limits = { .head_bytes = FETCH_HEAD_BYTES };
	enum http1_fault fault = HTTP1_OK;
	struct http1_scan scan;
	struct http1_head head;
	size_t head_n;
	struct str rest;

	http1_scan_init(&scan, false);
	head_n = http1_scan_head(&scan, answer, &limits, &fault);
	if (head_n > 0)
		fault = http1_parse_response(str_sub(answer, 0, head_n), STR("GET"), &limits, &head);
	if (head_n == 0 || fault != HTTP1_OK) {
		buf_add_z(error, "what answers there does not speak HTTP");
		return 0;
	}
	rest = str_sub(answer, head_n, answer.n);
	if (head.framing == HTTP1_CHUNKED || (head.framing == HTTP1_LENGTH && head.content_length != rest.n)) {
		buf_add_z(error, "the answer is not whole");
		return 0;
	}
	buf_add(body, rest);
	return head.status;
}

int
fetch(struct str host, uint16_t port, const char *target, struct str token, struct buf *body, struct buf *error)
{
	struct fetching f = { -1, mono_add(clock_now_mono(), FETCH_US), error };
	struct addrinfo *address = fetch_address(host, port, error);
	struct buf request = BUF_EMPTY, answer = BUF_EMPTY;
	int status = 0;

	buf_printf(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", target);
	if (token.n)
		buf_printf(&request, "Authorization: Bearer %.*s\r\n", STR_ARG(token));
	buf_add_z(&request, "\r\n");
	if (address && fetch_connect(&f, address) && fetch_send(&f, buf_str(&request)) && fetch_receive(&f, &answer))
		status = fetch_parse(buf_str(&answer), body, error);
	if (f.fd >= 0)
		close(f.fd);
	if (address)
		freeaddrinfo(address);
	buf_wipe(&request);
	buf_fini(&answer);
	return status;
}
