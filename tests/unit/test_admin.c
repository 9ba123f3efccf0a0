/* Who waits for the status on the admin listener: told together, refused in time, and forgotten when gone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate/admin.h"

#define CLIENTS 3
#define PATIENCE_US (20 * (int64_t)CLOCK_SECOND)

static struct loop *loop;
static struct admin *admin;
static struct loop_timer tick;
static uint16_t port;
static int asked, clients[CLIENTS];
static struct buf heard[CLIENTS];
static bool (*is_done)(void);
static struct mono_time begun;

static int
on_readiness(void *arg, struct buf *reasons)
{
	(void)arg;
	(void)reasons;
	return 200;
}

static bool
on_metrics(void *arg, struct metrics_source *source)
{
	(void)arg;
	(void)source;
	return false;
}

static void
on_status(void *arg)
{
	(void)arg;
	asked++;
}

/* Read what came to the clients, and look whether the test has seen all. */
static void
on_tick(void *arg)
{
	(void)arg;
	for (int i = 0; i < CLIENTS; i++) {
		ssize_t n = clients[i] < 0 ? -1 : recv(clients[i], buf_room(&heard[i], 4096), 4096, MSG_DONTWAIT);

		heard[i].n += n > 0 ? (size_t)n : 0;
	}
	assert_true(mono_since(loop_now(loop), begun) < PATIENCE_US);
	if (is_done())
		loop_stop(loop);
	else
		loop_timer_at(&tick, mono_add(loop_now(loop), 2 * CLOCK_MS));
}

/* Let the loop run until DONE. */
static void
run_until(bool (*done)(void))
{
	is_done = done;
	loop_timer_at(&tick, loop_now(loop));
	loop_run(loop);
}

/* Have client I ask. */
static void
ask(int i)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	static const char request[] = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";

	clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(clients[i], (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(clients[i], request, sizeof(request) - 1, 0), sizeof(request) - 1);
}

static int
setup(void **state)
{
	static const struct admin_hooks hooks = { on_readiness, on_metrics, on_status };
	struct buf error = BUF_EMPTY;
	int fd;

	(void)state;
	loop = loop_new();
	port = 0;
	fd = front_bind(STR("127.0.0.1"), &port, &error);
	assert_true(fd >= 0);
	admin = admin_new(loop, fd, &hooks, NULL);
	loop_timer_init(&tick, loop, on_tick, NULL);
	begun = loop_now(loop);
	asked = 0;
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = -1;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	admin_free(&admin);
	loop_timer_fini(&tick);
	loop_free(&loop);
	for (int i = 0; i < CLIENTS; i++) {
		if (clients[i] >= 0)
			close(clients[i]);
		buf_fini(&heard[i]);
	}
	return 0;
}

static bool
is_asked(void)
{
	return asked > 0;
}

static bool
is_later(void)
{
	return mono_since(loop_now(loop), begun) > 300 * CLOCK_MS;
}

static bool
is_first_heard(void)
{
	return heard[0].n > 0;
}

static bool
are_all_heard(void)
{
	return heard[0].n && heard[1].n && heard[2].n;
}

/* However many ask while one question is under way, it is one, and all get its answer; the next asks anew. */
static void
test_one_question(void **state)
{
	(void)state;
	for (int i = 0; i < CLIENTS; i++)
		ask(i);
	run_until(is_later);
	assert_int_equal(asked, 1);
	admin_tell_status(admin, STR("{\"answer\":42}\n"));
	run_until(are_all_heard);
	for (int i = 0; i < CLIENTS; i++) {
		assert_true(str_starts(buf_str(&heard[i]), STR("HTTP/1.1 200 OK\r\n")));
		assert_true(str_find(buf_str(&heard[i]), STR("\r\n\r\n{\"answer\":42}\n")) < heard[i].n);
		buf_clear(&heard[i]);
	}
	close(clients[0]);
	ask(0);
	asked = 0;
	run_until(is_asked);
	admin_tell_status(admin, STR("{}"));
	run_until(is_first_heard);
}

/* The limiter is stuck: 503 after two seconds; its answer, when it comes all the same, is nobody's. */
static void
test_deadline(void **state)
{
	(void)state;
	ask(0);
	run_until(is_first_heard);
	assert_true(str_starts(buf_str(&heard[0]), STR("HTTP/1.1 503 ")));
	assert_true(str_find(buf_str(&heard[0]), STR("JobgateUnavailable")) < heard[0].n);
	assert_true(mono_since(loop_now(loop), begun) >= 1900 * CLOCK_MS);
	admin_tell_status(admin, STR("{}"));
	assert_int_equal(asked, 1);
}

/* One hangs up while it waits: the others are told, and nothing of it is left. */
static void
test_gone(void **state)
{
	(void)state;
	ask(0);
	ask(1);
	run_until(is_asked);
	close(clients[1]);
	clients[1] = -1;
	run_until(is_later);
	admin_tell_status(admin, STR("{}"));
	run_until(is_first_heard);
	assert_int_equal(heard[1].n, 0);
}

/* The end comes while somebody waits. */
static void
test_freed(void **state)
{
	(void)state;
	ask(0);
	run_until(is_asked);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_question, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
