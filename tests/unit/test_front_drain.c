/* The front's drain: what clients have sent by then is answered, on plain and TLS listeners, and every connection ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_fixture.h"

static void
drain_now(struct fixture *f)
{
	front_drain(f->front);
}

static void
test_drain(void **state)
{
	struct client idle[2], held[2], half[2];
	struct fixture f;
	bool closes;

	(void)state;
	fixture_start(&f, &wide);
	for (int tls = 0; tls < 2; tls++) {
		idle[tls] = client_open(&f, tls ? CLIENT_TLS : CLIENT_PLAIN);
		held[tls] = client_open(&f, tls ? CLIENT_TLS : CLIENT_PLAIN);
		half[tls] = client_open(&f, tls ? CLIENT_TLS : CLIENT_PLAIN);
		client_say(&held[tls], GET("/hold"));
		client_say(&half[tls], "GET /now HTTP/1.1\r\n");
	}
	fixture_wait(&f.bodies, 2);
	fixture_wait_connections(&f, 6);
	poll(NULL, 0, 50);
	fixture_on_loop(&f, drain_now);
	for (int tls = 0; tls < 2; tls++) {
		assert_true(client_at_end(&idle[tls]));
		client_say(&half[tls], HOST "\r\n");
		assert_int_equal(client_answer(&half[tls], &closes), 200);
		assert_true(closes && client_at_end(&half[tls]));
	}
	fixture_release(&f);
	for (int tls = 0; tls < 2; tls++) {
		assert_int_equal(client_answer(&held[tls], &closes), 200);
		assert_true(closes && client_at_end(&held[tls]));
		client_close(&held[tls], false);
		client_close(&idle[tls], false);
		client_close(&half[tls], false);
	}
	fixture_wait_connections(&f, 0);
	fixture_stop(&f);
}

struct accept_and_drain {
	struct mail mail;
	struct fixture *f;
	struct loop_timer end;
};

static void
on_drain_mail(struct mail *mail)
{
	front_drain(((struct accept_and_drain *)mail)->f->front);
}

static void
on_test_end(void *arg)
{
	loop_stop(arg);
}

/*
 * A connection accepted in the very turn in which the drain begins was freed before it was known whole: evhttp, which
 * held the connections then, kept it without us, its client waited for the end of the process, and whatever it sent
 * was kept. Now what it has sent is heard and answered; what is no TLS on a TLS listener is closed.
 */
static void
test_accepted_and_drained_in_one_turn(void **state)
{
	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct accept_and_drain a = { .mail = { .run = on_drain_mail } };
		struct fixture f;
		char answer[16] = "";
		int fd;

		fixture_init(&f, &wide);
		a.f = &f;
		fd = client_socket(tls ? f.tls_port : f.port);
		assert_true(send(fd, GET("/now"), strlen(GET("/now")), 0) > 0);
		loop_post(f.loop, &a.mail);	/* behind the connection in the kernel's list of what is ready */
		loop_timer_init(&a.end, f.loop, on_test_end, f.loop);
		loop_timer_at(&a.end, mono_add(clock_now_mono(), 100 * CLOCK_MS));
		loop_run(f.loop);
		loop_timer_fini(&a.end);
		if (tls) {
			assert_int_equal(f.connections, 0);
			assert_true(recv(fd, answer, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
		} else {
			assert_int_equal(recv(fd, answer, 9, MSG_DONTWAIT), 9);
			assert_string_equal(answer, "HTTP/1.1 ");
		}
		close(fd);
		fixture_stop(&f);
	}
}

#define CROWD 200

/* More have connected and sent than a turn takes when the drain begins: all of them are heard and answered. */
static void
test_a_crowd_is_heard_before_the_drain(void **state)
{
	struct accept_and_drain a = { .mail = { .run = on_drain_mail } };
	struct fixture f;
	int fds[CROWD];

	(void)state;
	fixture_init(&f, &wide);
	a.f = &f;
	for (size_t i = 0; i < CROWD; i++) {
		fds[i] = client_socket(f.port);
		assert_true(send(fds[i], GET("/now"), strlen(GET("/now")), 0) > 0);
	}
	loop_post(f.loop, &a.mail);
	loop_timer_init(&a.end, f.loop, on_test_end, f.loop);
	loop_timer_at(&a.end, mono_add(clock_now_mono(), 300 * CLOCK_MS));
	loop_run(f.loop);
	loop_timer_fini(&a.end);
	for (size_t i = 0; i < CROWD; i++) {
		char answer[16];

		assert_int_equal(recv(fds[i], answer, 9, MSG_DONTWAIT), 9);
		close(fds[i]);
	}
	fixture_stop(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_accepted_and_drained_in_one_turn),
		cmocka_unit_test(test_a_crowd_is_heard_before_the_drain),
	};

	return cmocka_run_group_tests_name("front_drain", tests, NULL, NULL);
}
