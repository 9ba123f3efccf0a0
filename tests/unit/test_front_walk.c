/* The front under clients that do anything in any order: each request begins once and ends once, and no connection stays. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "front_fixture.h"

static const char *const fragments[] = { GET("/now"), GET("/no"), GET("/hold"), GET("/big"), POST("/body", "4") "body",
	POST("/hold", "4") "bo", POST("/no", "4") "body", CHUNKED("/body") "1\r\nx\r\n0\r\n\r\n", CHUNKED("/hold") "1\r\nx\r\n",
	"\r\n", "x", MALFORMED, "POST /hold HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n",
	"GET /now HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", "HEAD /now HTTP/1.1\r\n" HOST "\r\n", "body" };

static unsigned walk_seed;

static unsigned
walk_random(unsigned n)
{
	return (unsigned)rand_r(&walk_seed) % n;
}

/* Read and forget what has come, without waiting. */
static void
walk_drain(struct client *c)
{
	struct pollfd p = { c->fd, POLLIN, 0 };

	while (poll(&p, 1, 0) == 1 && client_more(c) > 0 && walk_random(4) > 0)
		continue;
	buf_clear(&c->in);
}

/* One step of a client; it may go and come anew. */
static void
walk_step(struct fixture *f, struct client *c)
{
	const char *bytes = fragments[walk_random(sizeof(fragments) / sizeof(fragments[0]))];
	unsigned what = walk_random(20);

	if (c->fd < 0) {
		if (!client_try_open(f, (enum client_kind)walk_random(3), c)) {
			client_close(c, false);
			c->fd = -1;
		}
	} else if (what == 0) {
		client_say_and_close(c, bytes);
		c->fd = -1;
	} else if (what < 3) {
		client_close(c, what == 1);
		c->fd = -1;
	} else if (what == 3) {
		shutdown(c->fd, SHUT_WR);
	} else if (what < 6) {
		walk_drain(c);
	} else if (what == 6) {
		fixture_release(f);
	} else if (c->ssl || walk_random(2)) {
		client_say(c, bytes);
	} else {
		for (; *bytes && walk_random(30); bytes++)
			client_send(c, bytes, 1);
	}
}

static void
test_random_walks(void **state)
{
	const char *seed = getenv("JOBGATE_SEED"), *steps = getenv("JOBGATE_STEPS");
	struct front_limits limits = wide;
	struct timeval patience = { 0, 200000 };
	struct client c[24];
	struct fixture f;

	(void)state;
	walk_seed = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
	print_message("JOBGATE_SEED=%u\n", walk_seed);
	limits.connections = 20;
	limits.write_timeout_us = limits.body_timeout_us = 300 * CLOCK_MS;
	fixture_start(&f, &limits);
	for (size_t i = 0; i < 24; i++)
		c[i] = (struct client){ .fd = -1 };
	for (long n = steps ? strtol(steps, NULL, 10) : 6000; n > 0; n--) {
		struct client *one = &c[walk_random(24)];

		walk_step(&f, one);
		if (one->fd >= 0) {	/* a client that does not read must not stop the walk */
			setsockopt(one->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
			setsockopt(one->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		}
	}
	for (size_t i = 0; i < 24; i++)
		if (c[i].fd >= 0)
			client_close(&c[i], false);
	fixture_wait_connections(&f, 0);
	print_message("%u begun: %u delivered, %u lost, %u gone; %u faults\n", f.begun, f.delivered, f.lost, f.gone, f.faults);
	assert_int_equal(f.begun, f.delivered + f.lost + f.gone);
	fixture_stop(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_walks),
	};

	return cmocka_run_group_tests_name("front_walk", tests, NULL, NULL);
}
