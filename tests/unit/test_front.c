/*
 * The front as its owner sees it, on plain and TLS listeners: whatever a client does, each request begins once and ends
 * once, refusals reach their callers, deadlines hold, and no connection stays. The fixture's owner checks the order.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "front_fixture.h"

/* --- refusals wherever the connection stands (the spike: guard over bufferevent_openssl) --- */

static const struct {
	const char *name, *bytes;
	int statuses[4];	/* of the answers in order; the last one closes */
	bool release;		/* answer what is held, once the first request is */
} spikes[] = {
	{ "in a head", MALFORMED, { 400 }, false },
	{ "in a body", CHUNKED("/hold") "2\r\n{}x", { 400 }, false },
	{ "too large a body", POST("/hold", "262145"), { 400 }, false },
	{ "too large a chunk", CHUNKED("/hold") "40001\r\n", { 400 }, false },
	{ "behind a request that waits", GET("/hold") MALFORMED, { 200, 400 }, true },
	{ "behind an answer in flight", GET("/now") MALFORMED, { 200, 400 }, false },
	{ "behind a refusal", GET("/no") GET("/now") MALFORMED, { 401, 200, 400 }, false },
	{ "behind a body", POST("/body", "3") "abc" MALFORMED, { 200, 400 }, false },
	{ "in the rest of a refused body", CHUNKED("/no") "2\r\n{}x", { 401 }, false },
};

/* Play one row, all at once or byte by byte. */
static void
play_spike(struct fixture *f, size_t i, bool tls, bool slowly)
{
	struct client c = client_open(f, tls ? CLIENT_TLS : CLIENT_PLAIN);
	size_t n = strlen(spikes[i].bytes);
	bool closes = false;

	if (spikes[i].release) {
		unsigned bodies = f->bodies;

		assert_true(client_send(&c, spikes[i].bytes, n));
		fixture_wait(&f->bodies, bodies + 1);
		fixture_release(f);
	} else {
		for (size_t at = 0; at < n; at += slowly ? 1 : n)
			if (!client_send(&c, spikes[i].bytes + at, slowly ? 1 : n))
				break;
	}
	for (size_t k = 0; k < 4 && spikes[i].statuses[k]; k++) {
		int status = client_answer(&c, &closes);

		if (status != spikes[i].statuses[k])
			fail_msg("%s%s: answer %zu is %d", tls ? "TLS, " : "", spikes[i].name, k, status);
	}
	if (!client_at_end(&c))
		fail_msg("%s%s: no clean end", tls ? "TLS, " : "", spikes[i].name);
	client_close(&c, false);
}

static void
test_refusals(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, &wide);
	for (size_t i = 0; i < sizeof(spikes) / sizeof(spikes[0]); i++)
		for (int way = 0; way < 4; way++)
			play_spike(&f, i, way & 1, way & 2);
	fixture_wait_connections(&f, 0);
	fixture_stop(&f);
}

/* --- a client that goes --- */

static const struct {
	const char *bytes;
	unsigned begun, bodies, gone;	/* how many of them */
} leavings[] = {
	{ "", 0, 0, 0 },
	{ "GET /hold HT", 0, 0, 0 },
	{ POST("/hold", "10") "12345", 1, 0, 1 },
	{ GET("/hold"), 1, 1, 1 },
	{ GET("/hold") "GET /ho", 1, 1, 1 },
	{ GET("/hold") GET("/hold"), 2, 2, 2 },
	{ GET("/hold") POST("/body", "3") "abc" GET("/now") MALFORMED GET("/now"), 4, 2, 1 },
	{ GET("/hold") POST("/hold", "3") "ab", 2, 1, 2 },
	{ POST("/no", "3") "ab", 1, 0, 0 },
};

/* Send a row and go, when it was looked at or in the same breath; everything whole is begun and ended. */
static void
play_leaving(struct fixture *f, size_t i, bool tls, int way)
{
	unsigned begun = f->begun, bodies = f->bodies, gone = f->gone;
	struct client c = client_open(f, tls ? CLIENT_TLS12 : CLIENT_PLAIN);

	if (way == 0) {
		client_say_and_close(&c, leavings[i].bytes);
	} else {
		client_say(&c, leavings[i].bytes);
		if (leavings[i].begun)
			fixture_wait(&f->begun, begun + 1);
		client_close(&c, way == 2);
	}
	fixture_wait(&f->begun, begun + leavings[i].begun);
	fixture_wait(&f->gone, gone + leavings[i].gone);
	fixture_wait_connections(f, 0);
	if (f->begun != begun + leavings[i].begun || f->gone != gone + leavings[i].gone)
		fail_msg("row %zu, %s, way %d: %u begun, %u gone", i, tls ? "TLS" : "plain", way, f->begun - begun, f->gone - gone);
	if (f->bodies > bodies + leavings[i].bodies)
		fail_msg("row %zu, %s, way %d: %u bodies", i, tls ? "TLS" : "plain", way, f->bodies - bodies);
}

static void
test_a_client_that_goes(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, &wide);
	for (size_t i = 0; i < sizeof(leavings) / sizeof(leavings[0]); i++)
		for (int way = 0; way < 6; way++)
			play_leaving(&f, i, way & 1, way >> 1);
	fixture_stop(&f);
}

/*
 * A peer that says all and close_notify in one segment: what was pipelined behind a pending request, or came from TLS in
 * the same read as the close, used to be dropped without a word.
 */
static void
test_a_request_and_the_end_in_one_breath(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, &wide);
	for (unsigned i = 0; i < 40; i++) {
		struct client c = client_open(&f, i & 1 ? CLIENT_TLS12 : CLIENT_PLAIN);

		client_say_and_close(&c, i & 2 ? GET("/hold") : POST("/hold", "2") "{}" GET("/hold") "GET /ho");
	}
	fixture_wait(&f.gone, 60);
	fixture_wait_connections(&f, 0);
	assert_int_equal(f.begun, 60);
	fixture_stop(&f);
}

/* A client that goes, or stops to read, while a large answer is written. */
static void
test_answers_that_nobody_takes(void **state)
{
	struct front_limits limits = wide;
	struct fixture f;

	(void)state;
	limits.write_timeout_us = 300 * CLOCK_MS;
	fixture_start(&f, &limits);
	for (int way = 0; way < 6; way++) {
		struct client c = client_open(&f, way & 1 ? CLIENT_TLS : CLIENT_PLAIN);

		client_say(&c, GET("/big"));
		fixture_wait(&f.bodies, (unsigned)way + 1);
		if (way < 4)
			client_close(&c, way >> 1);
		fixture_wait(&f.lost, (unsigned)way + 1);
		fixture_wait_connections(&f, 0);
		if (way >= 4)
			client_close(&c, false);
	}
	assert_int_equal(f.delivered, 0);
	fixture_stop(&f);
}

/* --- the end of a connection --- */

/* The write deadline's timer used to keep a closed connection for 30 s, deaf to its client. */
static void
test_closed_connections_do_not_stay(void **state)
{
	static const char closing[] = "GET /now HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";
	struct client c[20];
	struct fixture f;
	bool closes;

	(void)state;
	fixture_start(&f, &wide);
	for (int stays = 0; stays < 2; stays++) {
		time_t begin = time(NULL);

		for (int i = 0; i < 20; i++) {
			c[i] = client_open(&f, i & 1 ? CLIENT_TLS : CLIENT_PLAIN);
			client_say(&c[i], closing);
			assert_int_equal(client_answer(&c[i], &closes), 200);
			assert_true(closes && client_at_end(&c[i]));
		}
		for (int i = 0; i < 20 && !stays; i++)
			client_close(&c[i], false);
		fixture_wait_connections(&f, 0);	/* whose clients stay: when lingering is over, after 2 s */
		assert_true(time(NULL) - begin < 10);
		for (int i = 0; i < 20 && stays; i++)
			client_close(&c[i], false);
	}
	fixture_stop(&f);
}

/* A refusal reaches a client that is still sending, and does not read before it has sent all. */
static void
test_refusals_survive_unread_bytes(void **state)
{
	static char junk[200000];
	struct fixture f;

	(void)state;
	fixture_start(&f, &wide);
	memset(junk, 'x', sizeof(junk));
	for (int way = 0; way < 8; way++) {
		struct client c = client_open(&f, way & 1 ? CLIENT_TLS : CLIENT_PLAIN);

		/* Known at the head, known while the rest comes, said before and broken then, closed by its own word. */
		client_say(&c, way >> 1 == 0 ? MALFORMED : way >> 1 == 1 ? CHUNKED("/hold") "zz\r\n"
		    : way >> 1 == 2 ? CHUNKED("/no") "zz\r\n" : POST("/hold", "9000000"));
		for (int i = 0; i < 4; i++)
			client_send(&c, junk, sizeof(junk));
		assert_int_equal(client_answer(&c, NULL), way >> 1 == 2 ? 401 : 400);
		assert_true(client_at_end(&c));
		client_close(&c, false);
	}
	fixture_wait_connections(&f, 0);
	fixture_stop(&f);
}

static void
test_surplus_connections_are_shed(void **state)
{
	struct front_limits limits = wide;
	struct client kept[4], c;
	struct fixture f;
	bool closes;

	(void)state;
	limits.connections = 4;
	fixture_start(&f, &limits);
	for (int i = 0; i < 4; i++)
		kept[i] = client_open(&f, i & 1 ? CLIENT_TLS : CLIENT_PLAIN);
	fixture_wait_connections(&f, 4);
	for (int tls = 0; tls < 2; tls++) {
		c = client_open(&f, tls ? CLIENT_TLS : CLIENT_PLAIN);
		client_say(&c, GET("/now"));
		assert_int_equal(client_answer(&c, &closes), 503);
		assert_true(closes && client_at_end(&c));
		client_close(&c, false);
	}
	fixture_wait_connections(&f, 4);
	for (int i = 0; i < 4; i++) {
		client_say(&kept[i], GET("/now"));
		assert_int_equal(client_answer(&kept[i], &closes), 200);
		assert_false(closes);
		client_close(&kept[i], false);
	}
	fixture_stop(&f);
}

/* --- deadlines --- */

/* A byte now and then puts no deadline off; a whole handshake is no begun head. */
static void
test_deadlines(void **state)
{
	struct front_limits limits = wide;
	struct client c;
	struct fixture f;
	char byte;
	int fd;

	(void)state;
	limits.head_timeout_us = limits.body_timeout_us = 500 * CLOCK_MS;	/* also of a handshake, on a busy machine */
	fixture_start(&f, &limits);
	for (int way = 0; way < 4; way++) {
		c = client_open(&f, way & 1 ? CLIENT_TLS : CLIENT_PLAIN);
		client_say(&c, way & 2 ? POST("/hold", "1000") : "GET / HTTP/1.1\r\n");
		for (int i = 0; i < 100 && client_say(&c, "x"); i++)
			poll(NULL, 0, 10);
		assert_int_equal(client_answer(&c, NULL), 408);
		client_close(&c, false);
	}
	fd = client_socket(f.tls_port);		/* never shakes hands */
	assert_int_equal(send(fd, "\x16\x03\x01\x02", 4, 0), 4);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
	/* Clients that connect ahead of their need used to be cut when the head's time was over. */
	for (int tls = 0; tls < 2; tls++) {
		c = client_open(&f, tls ? CLIENT_TLS : CLIENT_PLAIN);
		poll(NULL, 0, 900);
		client_say(&c, GET("/now"));
		assert_int_equal(client_answer(&c, NULL), 200);
		client_close(&c, false);
	}
	fixture_wait_connections(&f, 0);
	fixture_stop(&f);
}

static void
test_idle_connections_are_closed_clean(void **state)
{
	struct front_limits limits = wide;
	struct fixture f;

	(void)state;
	limits.idle_timeout_us = 700 * CLOCK_MS;
	limits.head_timeout_us = 500 * CLOCK_MS;
	fixture_start(&f, &limits);
	for (int way = 0; way < 4; way++) {
		struct client c = client_open(&f, way & 1 ? CLIENT_TLS : CLIENT_PLAIN);

		if (way & 2) {
			client_say(&c, GET("/now"));
			assert_int_equal(client_answer(&c, NULL), 200);
		}
		assert_true(client_at_end(&c));
		client_close(&c, false);
	}
	assert_int_equal(f.faults, 0);
	fixture_stop(&f);
}

/* One client's pipeline that never runs dry: its first answer's write deadline used to end it all. */
static void
test_a_busy_connection_outlives_its_deadlines(void **state)
{
	struct front_limits limits = wide;
	struct mono_time end;
	struct fixture f;

	(void)state;
	limits.write_timeout_us = limits.head_timeout_us = 500 * CLOCK_MS;
	fixture_start(&f, &limits);
	for (int tls = 0; tls < 2; tls++) {
		struct client c = client_open(&f, tls ? CLIENT_TLS : CLIENT_PLAIN);

		client_say(&c, GET("/now") GET("/now") GET("/now") GET("/now"));
		end = mono_add(clock_now_mono(), 1200 * CLOCK_MS);
		while (mono_since(end, clock_now_mono()) > 0) {
			client_say(&c, GET("/now"));
			assert_int_equal(client_answer(&c, NULL), 200);
		}
		client_close(&c, false);
	}
	fixture_wait_connections(&f, 0);
	fixture_stop(&f);
}

/* Looks once in each turn of the loop how many requests have begun in it. */
struct turns {
	struct mail mail;
	struct fixture *f;
	unsigned seen, most;
	atomic_bool stop;
	sem_t done;
};

static void
on_turn(struct mail *mail)
{
	struct turns *t = (struct turns *)mail;
	unsigned now = atomic_load(&t->f->requests);

	t->most = now - t->seen > t->most ? now - t->seen : t->most;
	t->seen = now;
	if (atomic_load(&t->stop))
		sem_post(&t->done);
	else
		loop_post(t->f->loop, mail);
}

/* A pipeline was answered in one turn, down to its last request, and the loop heard of nothing else meanwhile. */
static void
test_a_pipeline_takes_turns(void **state)
{
	struct turns t = { .mail = { .run = on_turn } };
	struct buf text = BUF_EMPTY;
	struct fixture f;
	struct client c;

	(void)state;
	fixture_start(&f, &wide);
	t.f = &f;
	sem_init(&t.done, 0, 0);
	loop_post(f.loop, &t.mail);
	c = client_open(&f, CLIENT_PLAIN);
	for (int i = 0; i < 100; i++)
		buf_add(&text, STR(GET("/now")));
	client_send(&c, text.p, text.n);
	for (int i = 0; i < 100; i++)
		assert_int_equal(client_answer(&c, NULL), 200);
	atomic_store(&t.stop, true);
	while (sem_wait(&t.done) < 0)
		continue;
	assert_in_range(t.most, 1, 3);
	sem_destroy(&t.done);
	buf_fini(&text);
	client_close(&c, false);
	fixture_stop(&f);
}

/* --- what the owner may change at any time --- */

static void
lower_limits(struct fixture *f)
{
	struct front_limits limits = wide;

	limits.body_bytes = 100;
	front_set_limits(f->front, &limits);
}

/* A limit lowered under a body that had more already: the difference wrapped, and the body had no limit at all. */
static void
test_a_limit_lowered_under_a_body(void **state)
{
	struct fixture f;

	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct client c;

		fixture_start(&f, &wide);
		c = client_open(&f, tls ? CLIENT_TLS : CLIENT_PLAIN);
		client_say(&c, CHUNKED("/hold") "c8\r\n");
		for (int i = 0; i < 199; i++)
			client_say(&c, "x");
		fixture_wait(&f.requests, 1);
		poll(NULL, 0, 20);	/* the body's bytes are on their way; where they are not, the test is only weaker */
		fixture_on_loop(&f, lower_limits);
		client_say(&c, "x\r\n1\r\ny\r\n0\r\n\r\n");
		assert_int_equal(client_answer(&c, NULL), 400);
		client_close(&c, false);
		fixture_stop(&f);
	}
}

#define LARGE_BODY 200000

/*
 * A body that comes in pieces stays in the order in which it came, however it is cut: it is read to where it stays, but for what comes
 * with the head and, by TLS, its end. What is behind it is the next request's.
 */
static void
test_a_large_body_in_pieces(void **state)
{
	static const size_t cuts[] = { 700, 9973, 16384, 40000, LARGE_BODY };
	static char body[LARGE_BODY];
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < LARGE_BODY; i++)
		body[i] = (char)('a' + i * 7 % 26 + i / 5000 % 3);
	fixture_start(&f, &wide);
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
		for (int tls = 0; tls < 2; tls++) {
			struct client c = client_open(&f, tls ? CLIENT_TLS : CLIENT_PLAIN);

			client_say(&c, POST("/body", "200000"));
			for (size_t at = 0; at < LARGE_BODY; at += cuts[i])
				assert_true(client_send(&c, body + at, LARGE_BODY - at < cuts[i] ? LARGE_BODY - at : cuts[i]));
			client_say(&c, GET("/now"));
			while (c.in.n < LARGE_BODY || memmem(c.in.p, c.in.n, body, LARGE_BODY) == NULL)
				assert_true(client_more(&c) > 0);
			assert_int_equal(client_answer(&c, NULL), 200);
			assert_int_equal(client_answer(&c, NULL), 200);
			client_close(&c, false);
		}
	fixture_stop(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_a_client_that_goes),
		cmocka_unit_test(test_a_request_and_the_end_in_one_breath),
		cmocka_unit_test(test_answers_that_nobody_takes),
		cmocka_unit_test(test_closed_connections_do_not_stay),
		cmocka_unit_test(test_refusals_survive_unread_bytes),
		cmocka_unit_test(test_surplus_connections_are_shed),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_idle_connections_are_closed_clean),
		cmocka_unit_test(test_a_busy_connection_outlives_its_deadlines),
		cmocka_unit_test(test_a_pipeline_takes_turns),
		cmocka_unit_test(test_a_limit_lowered_under_a_body),
		cmocka_unit_test(test_a_large_body_in_pieces),
	};

	if (getenv("JOBGATE_TEST"))
		cmocka_set_test_filter(getenv("JOBGATE_TEST"));
	return cmocka_run_group_tests_name("front", tests, NULL, NULL);
}
