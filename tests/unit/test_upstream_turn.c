/* The upstream client within one turn of its loop: what comes together, what is written together, and what comes too late for it. */
#include "upstream_fixture.h"

#include <sys/ioctl.h>

#include "io/upstream_private.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define OK_RESPONSE OK_HEAD "Content-Length: 2\r\n\r\nok"

/* Wait until N bytes have come to the exchange's connection, while its loop stands still. */
static void
wait_arrived(struct exchange *x, int n)
{
	int fd = x->call->connection->fd, there = 0;

	for (int ms = 0; there < n && ms < 10000; ms++) {
		assert_int_equal(ioctl(fd, FIONREAD, &there), 0);
		usleep(1000);
	}
	assert_true(there >= n);
}

/*
 * Records that came together are read together: they are in OpenSSL's buffer then, and the socket, which has nothing left, wakes
 * nobody for the second. So is the end that comes with them.
 */
static void
test_records_that_come_together(void **state)
{
	static const struct peer_step steps[] = {
		{ .response = OK_HEAD "Content-Length: 100\r\n\r\n", .body_bytes = 100 },
		{ .response = OK_HEAD "\r\n", .body_bytes = 100, .end = PEER_CLEAN },
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fixture f;
		struct exchange x;

		fixture_init(&f, &(struct fixture_options){ 0 });
		f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
		f.peer.steps[1] = steps[i];
		f.peer.step_count = 2;
		exchange_run(&f, &x, false, "GET", 0);	/* takes the tickets in */
		exchange_end(&x);
		exchange_begin(&f, &x, false, "GET", 0);
		x.hold = true;
		fixture_run(&f, until_ready);
		fixture_send(&x);
		upstream_write(f.upstream);		/* as at the end of the turn */
		/* Of TLS 1.3 each record has a head of 5 bytes, a type and a tag of 16. */
		wait_arrived(&x, (int)strlen(steps[i].response) + 22 + 100 + 22 + (i ? 2 + 22 : 0));
		fixture_run(&f, until_ended);
		assert_int_equal(x.status, 200);
		assert_int_equal(x.got.n, 100);
		assert_int_equal(x.idle_after, i == 0);
		exchange_end(&x);
		fixture_fini(&f);
	}
}

/* More messages and more answers in one turn than their common memory holds: none is mixed up with another, none is lost. */
static void
test_a_turn_of_many(void **state)
{
	struct fixture f;
	struct exchange x[12];

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_HEAD "Content-Length: 12000\r\n\r\n", .body_bytes = 12000 };
	f.peer.step_count = 1;
	for (size_t i = 0; i < 12; i++) {
		exchange_begin(&f, &x[i], false, "POST", 12000 + i);
		x[i].hold = true;
		fixture_run(&f, until_ready);
	}
	for (size_t i = 0; i < 12; i++)
		fixture_send(&x[i]);
	upstream_write(f.upstream);
	for (size_t i = 0; i < 12; i++)
		wait_arrived(&x[i], 12000);
	for (size_t i = 0; i < 12; i++) {
		f.exchange = &x[i];
		fixture_run(&f, until_ended);
		assert_int_equal(x[i].status, 200);
		assert_int_equal(x[i].got.n, 12000);
		assert_int_equal(x[i].written, strlen("POST /x HTTP/1.1\r\nHost: " NAME "\r\nContent-Length: 12000\r\n\r\n") + 12000 + i);
		exchange_end(&x[i]);
	}
	assert_int_equal(upstream_counts(f.upstream).idle, 12);
	fixture_fini(&f);
}

/* An answer that has come by the turn in which its deadline is noticed has come in time. */
static void
test_an_answer_in_the_turn_of_its_deadline(void **state)
{
	struct fixture f;
	struct exchange x;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	exchange_run(&f, &x, false, "GET", 0);		/* takes the tickets in */
	exchange_end(&x);
	exchange_begin(&f, &x, false, "GET", 0);
	x.hold = true;
	x.deadline_ms = 20;
	fixture_run(&f, until_ready);
	fixture_send(&x);
	upstream_write(f.upstream);
	wait_arrived(&x, (int)strlen(OK_RESPONSE) + 22);
	usleep(30000);
	fixture_run(&f, until_ended);
	assert_int_equal(x.status, 200);
	assert_int_equal(x.idle_after, 1);
	exchange_end(&x);
	fixture_fini(&f);
}

/*
 * A turn that comes to its messages too late writes none of what was not to be begun any more. The connection is as good as it was: each was
 * closed, and a worker that was too busy for 5,000 callers had a handshake more to make for each.
 */
static void
test_a_write_that_comes_too_late(void **state)
{
	struct fixture f;
	struct exchange x;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	exchange_begin(&f, &x, false, "POST", 0);
	x.hold = true;
	x.begin_ms = 1;
	fixture_run(&f, until_ready);
	fixture_send(&x);
	usleep(3000);
	fixture_run(&f, until_ended);
	assert_int_equal(x.responses, 0);
	assert_int_equal(x.failure.reason, UPSTREAM_REASON_LATE);
	assert_int_equal(x.failure.written_bytes, 0);
	assert_int_equal(upstream_counts(f.upstream).idle, 1);
	exchange_end(&x);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_that_come_together),
		cmocka_unit_test(test_a_turn_of_many),
		cmocka_unit_test(test_an_answer_in_the_turn_of_its_deadline),
		cmocka_unit_test(test_a_write_that_comes_too_late),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
