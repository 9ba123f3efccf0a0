/* Connections that go from one front to another: none is lost, none is heard by two, and those that cannot go stay. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_fixture.h"

/* Two fronts on two threads; what comes to the first goes to the second while LEAVES, if that is taken. */
static struct fixture first, second;
static atomic_bool leaves, taken;
static atomic_uint offered;
static size_t as_listener;

struct move_mail {
	struct mail mail;
	struct front_moved moved;
};

static void
on_move_mail(struct mail *mail)
{
	front_take(second.front, &((struct move_mail *)mail)->moved);
	free(mail);
}

static bool
on_leaves(void *arg, size_t number)
{
	(void)number;
	return arg == &first && atomic_load(&leaves);
}

static bool
on_leave(void *arg, const struct front_moved *moved)
{
	struct move_mail *m = calloc(1, sizeof(*m));

	(void)arg;
	atomic_fetch_add(&offered, 1);
	if (!atomic_load(&taken)) {
		free(m);
		return false;
	}
	m->mail.run = on_move_mail;
	m->moved = *moved;
	m->moved.listener += as_listener;
	loop_post(second.loop, &m->mail);
	return true;
}

/* Like fixture_start, with a front whose connections may leave. */
static void
start(struct fixture *f)
{
	struct buf error = BUF_EMPTY;

	fixture_init(f, &wide);
	front_free(&f->front);
	f->settings.hooks.leaves = on_leaves;
	f->settings.hooks.on_leave = on_leave;
	f->front = front_new(f->loop, &f->settings);
	f->port = f->tls_port = 0;
	front_listen(f->front, front_bind(STR("127.0.0.1"), &f->port, &error), NULL);
	front_listen(f->front, front_bind(STR("127.0.0.1"), &f->tls_port, &error), f->tls);
	check(pthread_create(&f->thread, NULL, fixture_thread, f) == 0);
	f->threaded = true;
}

static int
start_both(void **state)
{
	(void)state;
	start(&first);
	start(&second);
	leaves = taken = false;
	offered = 0;
	as_listener = 0;
	return 0;
}

static int
stop_both(void **state)
{
	(void)state;
	fixture_wait_connections(&first, 0);
	fixture_wait_connections(&second, 0);
	fixture_stop(&first);
	fixture_stop(&second);
	return 0;
}

/* Ask and be answered with STATUS. */
static void
ask(struct client *client, const char *request, int status)
{
	bool closes;

	client_say(client, request);
	assert_int_equal(client_answer(client, &closes), status);
	assert_false(closes);
}

static void
test_goes_between_two_requests(void **state)
{
	struct client client = client_open(&first, CLIENT_PLAIN);

	(void)state;
	ask(&client, GET("/now"), 200);
	leaves = taken = true;
	ask(&client, GET("/now"), 200);
	ask(&client, POST("/body", "4") "text", 200);
	assert_int_equal(offered, 1);
	assert_int_equal(first.requests, 1);
	assert_int_equal(second.requests, 2);
	fixture_wait_connections(&first, 0);
	fixture_wait_connections(&second, 1);
	client_close(&client, false);
}

/* A new connection is heard by the second alone; half a head is no reason to move again, and none to lose it. */
static void
test_goes_before_its_first_request(void **state)
{
	struct client client = client_open(&first, CLIENT_PLAIN);

	(void)state;
	leaves = taken = true;
	client_say(&client, "GET /now HTT");
	fixture_wait_connections(&second, 1);
	ask(&client, "P/1.1\r\n" HOST "\r\n", 200);
	assert_int_equal(first.requests, 0);
	client_close(&client, false);
}

static void
test_stays_where_nobody_takes_it(void **state)
{
	struct client client = client_open(&first, CLIENT_PLAIN);

	(void)state;
	leaves = true;
	for (int i = 0; i < 3; i++)
		ask(&client, GET("/now"), 200);
	assert_int_equal(offered, 3);
	assert_int_equal(first.requests, 3);
	client_close(&client, false);
}

/* Pipelined bytes are in the first front's hands already, and OpenSSL's keys never leave it. */
static void
test_stays_where_more_is_known(void **state)
{
	struct client client = client_open(&first, CLIENT_PLAIN), tls = client_open(&first, CLIENT_TLS);
	bool closes;

	(void)state;
	client_say(&client, GET("/hold") GET("/now"));
	fixture_wait(&first.bodies, 1);
	leaves = taken = true;
	ask(&tls, GET("/now"), 200);
	fixture_release(&first);
	assert_int_equal(client_answer(&client, &closes), 200);
	assert_int_equal(client_answer(&client, &closes), 200);
	assert_int_equal(offered, 0);
	assert_int_equal(second.requests, 0);
	client_close(&client, false);
	client_close(&tls, false);
}

static void
test_a_client_that_goes_is_let_go(void **state)
{
	struct client client = client_open(&first, CLIENT_PLAIN);

	(void)state;
	ask(&client, GET("/now"), 200);
	leaves = taken = true;
	client_close(&client, false);
	fixture_wait_connections(&first, 0);
	fixture_wait_connections(&second, 0);
	assert_int_equal(second.begun, 0);
}

static void
drain_now(struct fixture *f)
{
	front_drain(f->front);
}

/* It was on its way when the drain began: its request is answered, and that is the last. */
static void
test_comes_to_a_front_that_drains(void **state)
{
	struct client client = client_open(&first, CLIENT_PLAIN);
	bool closes;

	(void)state;
	ask(&client, GET("/now"), 200);
	fixture_on_loop(&second, drain_now);
	leaves = taken = true;
	client_say(&client, GET("/now"));
	assert_int_equal(client_answer(&client, &closes), 200);
	assert_true(closes && client_at_end(&client));
	assert_int_equal(second.requests, 1);
	client_close(&client, false);
}

static void
test_no_such_listener(void **state)
{
	struct client client = client_open(&first, CLIENT_PLAIN);

	(void)state;
	as_listener = 7;
	leaves = taken = true;
	client_say(&client, GET("/now"));
	fixture_wait_connections(&first, 0);
	assert_true(client_more(&client) <= 0);	/* the request was unread: the end may be a reset */
	client_close(&client, false);
}

int
main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, start_both, stop_both)
	const struct CMUnitTest tests[] = {
		TEST(test_goes_between_two_requests), TEST(test_goes_before_its_first_request), TEST(test_stays_where_nobody_takes_it),
		TEST(test_stays_where_more_is_known), TEST(test_a_client_that_goes_is_let_go), TEST(test_comes_to_a_front_that_drains),
		TEST(test_no_such_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
