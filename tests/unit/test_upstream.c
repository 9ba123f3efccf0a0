/*
 * The upstream client against a scripted TLS server: responses good and bad, closes at every moment, deadlines,
 * cancels, the pool.
 */
#include "upstream_fixture.h"

#include "io/upstream_private.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define OK_RESPONSE OK_HEAD "Content-Length: 2\r\n\r\nok"

enum { ANY_REASON = -1, NO_REASON = -2 };

static const struct wire_row {
	const char *name, *method;
	struct peer_step step;
	int reason;		/* of the failure, or NO_REASON */
	int status;
	const char *body;
	bool pooled;		/* the connection is kept */
} wire_rows[] = {
	{ "keep-alive", "GET", { .response = OK_RESPONSE }, NO_REASON, 200, "ok", true },
	{ "202 with Location", "POST", { .response = "HTTP/1.1 202 Accepted\r\nLocation: https://x/y\r\nContent-Length: 0\r\n\r\n" },
	    NO_REASON, 202, "", true },
	{ "chunked with trailers", "GET", { .response = OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n" },
	    NO_REASON, 200, "ok", true },
	{ "100 unasked", "POST", { .response = "HTTP/1.1 100 Continue\r\n\r\n" OK_RESPONSE }, NO_REASON, 200, "ok", true },
	{ "103", "GET", { .response = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK_RESPONSE }, NO_REASON, 200, "ok", true },
	{ "101", "GET", { .response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" }, UPSTREAM_REASON_MALFORMED, 0, NULL, false },
	{ "two responses", "GET", { .response = OK_RESPONSE "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nINJECTED" }, NO_REASON, 200, "ok", false },
	{ "Connection: close", "GET", { .response = OK_HEAD "Connection: close\r\nContent-Length: 2\r\n\r\nok", .end = PEER_CLEAN },
	    NO_REASON, 200, "ok", false },
	{ "no length, clean close", "GET", { .response = OK_HEAD "\r\nok", .end = PEER_CLEAN }, NO_REASON, 200, "ok", false },
	{ "no length, keep-alive said", "GET", { .response = OK_HEAD "Connection: keep-alive\r\n\r\nok", .end = PEER_CLEAN },
	    NO_REASON, 200, "ok", false },
	{ "no length, without close_notify", "GET", { .response = OK_HEAD "\r\nok", .end = PEER_DIRTY }, UPSTREAM_REASON_CLOSED, 0, NULL, false },
	{ "no length, reset", "GET", { .response = OK_HEAD "\r\nok", .end = PEER_RESET }, UPSTREAM_REASON_CLOSED, 0, NULL, false },
	{ "short body", "GET", { .response = OK_HEAD "Content-Length: 3\r\n\r\nok", .end = PEER_CLEAN }, UPSTREAM_REASON_CLOSED, 0, NULL, false },
	{ "two lengths", "GET", { .response = OK_HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok" }, UPSTREAM_REASON_MALFORMED, 0, NULL, false },
	{ "204 with a body", "GET", { .response = "HTTP/1.1 204 No Content\r\n\r\nok" }, NO_REASON, 204, "", false },
	{ "HEAD", "HEAD", { .response = OK_HEAD "Content-Length: 2\r\n\r\n" }, NO_REASON, 200, "", true },
	{ "HEAD with a body", "HEAD", { .response = OK_RESPONSE }, NO_REASON, 200, "", false },
	{ "NUL in a value", "GET", { .response = OK_HEAD "Location: /a\0b\r\nContent-Length: 0\r\n\r\n", .response_n = 54 },
	    UPSTREAM_REASON_MALFORMED, 0, NULL, false },
	{ "status 9999999999", "GET", { .response = "HTTP/1.1 9999999999 OK\r\nContent-Length: 0\r\n\r\n" }, UPSTREAM_REASON_MALFORMED, 0, NULL, false },
	{ "100 KB of head", "GET", { .response = OK_HEAD "X: ", .body_bytes = 100000 }, UPSTREAM_REASON_TOO_LARGE, 0, NULL, false },
	{ "body over the bound", "GET", { .response = OK_HEAD "Content-Length: 3000000\r\n\r\n" }, UPSTREAM_REASON_TOO_LARGE, 0, NULL, false },
	{ "endless body", "GET", { .response = OK_HEAD "\r\n", .body_bytes = 3000000 }, UPSTREAM_REASON_TOO_LARGE, 0, NULL, false },
	{ "garbage", "GET", { .response = "220 mail.example ESMTP\r\n" }, UPSTREAM_REASON_MALFORMED, 0, NULL, false },
	{ "HTTP/1.0", "GET", { .response = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok" }, NO_REASON, 200, "ok", false },
	{ "closed after reading", "POST", { .response = NULL, .end = PEER_CLEAN }, UPSTREAM_REASON_CLOSED, 0, NULL, false },
	{ "closed dirty after reading", "POST", { .response = NULL, .end = PEER_DIRTY }, UPSTREAM_REASON_CLOSED, 0, NULL, false },
	{ "reset after reading", "POST", { .response = NULL, .end = PEER_RESET }, UPSTREAM_REASON_CLOSED, 0, NULL, false },
	{ "Keep-Alive: timeout=0", "GET", { .response = OK_HEAD "Keep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok" },
	    NO_REASON, 200, "ok", false },
};

/* The rows of what servers have been seen to do; each with what must come of it, on TLS 1.2 and 1.3. */
static void
test_wire_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(wire_rows) / sizeof(wire_rows[0]); i++) {
		const struct wire_row *row = &wire_rows[i / 2];
		struct fixture f;
		struct exchange x;

		fixture_init(&f, &(struct fixture_options){ .max_version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION });
		f.peer.steps[0] = row->step;
		f.peer.step_count = 1;
		exchange_run(&f, &x, false, row->method, 5);
		if (row->reason == NO_REASON ? x.responses != 1 : x.failures != 1 || (int)x.failure.reason != row->reason)
			fail_msg("%s: status %d, reason %s: %s", row->name, x.status, upstream_reason_name(x.failure.reason), x.failure.detail);
		if (x.responses == 1) {
			assert_int_equal(x.status, row->status);
			assert_true(str_eq(buf_str(&x.got), str_from(row->body)));
			assert_true(x.written > 0);
		} else {
			assert_true(x.failure.written_bytes > 0);
			assert_true(x.failure.detail[0] != '\0');
		}
		if (x.idle_after != (row->pooled ? 1 : 0))
			fail_msg("%s: %zu connections are pooled", row->name, x.idle_after);
		exchange_end(&x);
		fixture_fini(&f);
	}
}

static void
test_a_connection_serves_many_exchanges(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	for (int i = 0; i < 50; i++) {
		struct exchange x;

		exchange_run(&f, &x, false, "POST", (size_t)i * 700);
		assert_int_equal(x.status, 200);
		exchange_end(&x);
	}
	assert_int_equal(atomic_load(&f.peer.accepted), 1);
	assert_int_equal(upstream_counts(f.upstream).opened, 1);
	assert_int_equal(upstream_counts(f.upstream).reused, 49);
	pthread_mutex_lock(&f.peer.lock);
	assert_string_equal(f.peer.sni, NAME);
	assert_string_equal(f.peer.last_head, "POST /x HTTP/1.1\r\nHost: " NAME "\r\nContent-Length: 34300\r\n\r\n");
	pthread_mutex_unlock(&f.peer.lock);
	fixture_fini(&f);
}

static void
test_a_mebibyte_both_ways(void **state)
{
	const size_t n = 1 << 20;
	struct fixture f;
	struct exchange x;
	unsigned long long sum = 0;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_HEAD "Content-Length: 1048576\r\n\r\n", .body_bytes = n };
	f.peer.step_count = 1;
	exchange_run(&f, &x, false, "POST", n);
	assert_int_equal(x.status, 200);
	assert_int_equal(x.got.n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(x.got.p[i], 'x');
		sum += 'a' + i % 23;
	}
	assert_true(atomic_load(&f.peer.body_sum) == sum);
	assert_true(x.written == atomic_load(&f.peer.http_bytes));
	assert_int_equal(x.idle_after, 1);
	exchange_end(&x);
	fixture_fini(&f);
}

/* More than the connections that keep their buffers: the others work alike. */
static void
test_many_calls_at_once(void **state)
{
	struct fixture f;
	struct exchange x[80];

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	for (size_t i = 0; i < 80; i++)
		exchange_begin(&f, &x[i], false, "POST", i);
	assert_int_equal(upstream_counts(f.upstream).busy, 80);
	for (size_t i = 0; i < 80; i++) {
		f.exchange = &x[i];
		fixture_run(&f, until_ended);
		assert_int_equal(x[i].status, 200);
		exchange_end(&x[i]);
	}
	assert_int_equal(upstream_counts(f.upstream).busy, 0);
	assert_int_equal(f.upstream->warm_count, 64);
	upstream_drop_pool(f.upstream);
	assert_int_equal(upstream_counts(f.upstream).idle, 0);
	fixture_run_ms(&f, 1);
	assert_int_equal(f.upstream->warm_count, 0);
	fixture_fini(&f);
}

/* Tickets survive because each SSL is marked as shut down before it is freed: without that 0 of 3 were resumed. */
static void
test_sessions_are_resumed(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	(void)state;
	for (size_t v = 0; v < 2; v++) {
		struct fixture f;

		fixture_init(&f, &(struct fixture_options){ .max_version = versions[v] });
		f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
		f.peer.step_count = 1;
		for (int i = 0; i < 6; i++) {
			struct exchange x;

			exchange_run(&f, &x, true, "GET", 0);
			assert_int_equal(x.status, 200);
			exchange_end(&x);
			if (i % 2)
				upstream_drop_pool(f.upstream);
		}
		assert_int_equal(atomic_load(&f.peer.handshakes), 6);
		assert_int_equal(atomic_load(&f.peer.resumed), 5);
		fixture_fini(&f);
	}
}

/*
 * A response to a body that the server does not want comes while it is still written; it is told, and the connection
 * is not kept.
 */
static void
test_an_early_response_is_told(void **state)
{
	static const enum peer_end ends[] = { PEER_CLEAN, PEER_DIRTY };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fixture f;
		struct exchange x;

		fixture_init(&f, &(struct fixture_options){ 0 });
		f.peer.steps[0] = (struct peer_step){ .response = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", .no_read = true,
		    .wait_first = true, .wait = true, .end = ends[i] };
		f.peer.step_count = 1;
		exchange_begin(&f, &x, false, "POST", 16 << 20);
		fixture_run(&f, until_ready);
		while (upstream_written(x.call) == 0)
			fixture_run_ms(&f, 1);
		peer_go(&f.peer);
		fixture_run(&f, until_ended);
		if (x.status != 413)
			fail_msg("%s: %s", upstream_reason_name(x.failure.reason), x.failure.detail);
		assert_true(x.written < (16 << 20));
		assert_int_equal(x.idle_after, 0);
		assert_int_equal(upstream_counts(f.upstream).busy, 0);
		peer_go(&f.peer);
		exchange_end(&x);
		fixture_fini(&f);
	}
}

static void
test_bytes_before_the_request_answer_nothing(void **state)
{
	struct fixture f;
	struct exchange x;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	f.peer.early = true;
	exchange_begin(&f, &x, false, "POST", 5);
	x.hold = true;
	fixture_run(&f, until_ended);
	assert_int_equal(x.failure.phase, UPSTREAM_READY);
	assert_int_equal(x.failure.reason, UPSTREAM_REASON_MALFORMED);
	assert_int_equal(x.failure.written_bytes, 0);
	assert_int_equal(atomic_load(&f.peer.http_bytes), 0);
	exchange_end(&x);
	fixture_fini(&f);
}

static const struct deadline_row {
	const char *name;
	struct peer_step step;
	size_t body_n;
	enum upstream_phase phase;
} deadline_rows[] = {
	{ "never reads", { .wait_first = true }, 16 << 20, UPSTREAM_WRITE },
	{ "never answers", { .stall = true }, 5, UPSTREAM_WAIT },
	{ "drips its head", { .response = OK_RESPONSE, .drip_ms = 20 }, 5, UPSTREAM_READ },
	{ "interim responses only", { .response = "HTTP/1.1 102 Processing\r\n\r\n", .wait = true }, 5, UPSTREAM_READ },
};

static void
test_deadlines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(deadline_rows) / sizeof(deadline_rows[0]); i++) {
		const struct deadline_row *row = &deadline_rows[i];
		struct fixture f;
		struct exchange x;

		fixture_init(&f, &(struct fixture_options){ 0 });
		f.peer.steps[0] = row->step;
		f.peer.step_count = 1;
		exchange_begin(&f, &x, false, "POST", row->body_n);
		x.deadline_ms = 200;
		fixture_run(&f, until_ended);
		assert_int_equal(x.failures, 1);
		if (x.failure.phase != row->phase || x.failure.reason != UPSTREAM_REASON_TIMEOUT)
			fail_msg("%s: %s in %s", row->name, upstream_reason_name(x.failure.reason), upstream_phase_name(x.failure.phase));
		assert_true(x.failure.written_bytes > 0);
		exchange_end(&x);
		fixture_run_ms(&f, 20);
		upstream_free(&f.upstream);
		for (int k = 0; k < 4; k++)
			peer_go(&f.peer);
		while (atomic_load(&f.peer.ended) == 0)
			fixture_run_ms(&f, 1);
		/* What the peer could read is never more than what was counted. */
		assert_true(atomic_load(&f.peer.http_bytes) <= x.failure.written_bytes);
		fixture_fini(&f);
	}
}

static bool
until_all_ended(struct fixture *f)
{
	for (struct exchange *x = f->exchange; x < f->exchange + 3; x++)
		if (x->responses + x->failures == 0)
			return false;
	return true;
}

/* One timer serves all deadlines: the first to come counts, in whatever order they were set and whichever calls have ended. */
static void
test_deadlines_out_of_order(void **state)
{
	static const int64_t deadlines_ms[] = { 300, 100, 200 };
	struct mono_time begun;
	struct fixture f;
	struct exchange x[3], y;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ .idle_ms = 150 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.steps[1] = (struct peer_step){ .stall = true };
	f.peer.step_count = 2;
	exchange_begin(&f, &y, false, "GET", 0);
	y.deadline_ms = 50;				/* answered before: what is due of it is nothing any more */
	fixture_run(&f, until_ended);
	assert_int_equal(y.status, 200);
	exchange_end(&y);
	f.peer.steps[0] = f.peer.steps[1];
	for (size_t i = 0; i < 3; i++)
		exchange_begin(&f, &x[i], true, "POST", 5);
	for (size_t i = 0; i < 3; i++)
		x[i].deadline_ms = deadlines_ms[i];
	begun = clock_now_mono();
	f.exchange = x;
	fixture_run(&f, until_all_ended);
	assert_true(mono_since(clock_now_mono(), begun) >= 300 * CLOCK_MS);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(x[i].failure.reason, UPSTREAM_REASON_TIMEOUT);
		assert_true(mono_since(x[i].ended_at, begun) >= deadlines_ms[i] * CLOCK_MS);
		assert_true(i == 0 || mono_since(x[0].ended_at, x[i].ended_at) > 50 * CLOCK_MS);
		exchange_end(&x[i]);
	}
	assert_int_equal(upstream_counts(f.upstream).idle, 0);	/* y's connection has left in between */
	fixture_fini(&f);
}

/* What another connection has left in the thread's list of errors says nothing about a socket that has to be waited for. */
static void
test_the_fault_of_another_is_not_ours(void **state)
{
	const size_t n = 8 << 20;	/* more than the sockets hold */
	struct fixture f;
	struct exchange x;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE, .wait_first = true };
	f.peer.step_count = 1;
	exchange_begin(&f, &x, false, "POST", n);
	x.hold = true;
	fixture_run(&f, until_ready);
	ERR_raise(ERR_LIB_SSL, SSL_R_BAD_DECOMPRESSION);
	fixture_send(&x);
	fixture_run_ms(&f, 10);
	assert_true(upstream_written(x.call) > 0 && upstream_written(x.call) < n);
	peer_go(&f.peer);
	fixture_run(&f, until_ended);
	assert_int_equal(x.status, 200);
	assert_true(x.written == atomic_load(&f.peer.http_bytes));
	ERR_clear_error();
	exchange_end(&x);
	fixture_fini(&f);
}

/* The peer closes a connection in the pool: seen at once, or at the latest when it is borrowed. */
static void
test_closed_in_the_pool(void **state)
{
	static const enum peer_end ends[] = { PEER_CLEAN, PEER_DIRTY, PEER_RESET };

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct fixture f;
		struct exchange x;

		fixture_init(&f, &(struct fixture_options){ 0 });
		f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE, .wait = true, .end = ends[i % 3] };
		f.peer.step_count = 1;
		exchange_run(&f, &x, false, "GET", 0);
		assert_int_equal(x.idle_after, 1);
		exchange_end(&x);
		peer_go(&f.peer);
		if (i < 3)
			fixture_run(&f, until_empty_pool);
		else
			peer_wait_closed(&f.peer);	/* the loop stands still: nobody but the look before use can notice */
		exchange_run(&f, &x, false, "GET", 0);
		if (x.status != 200)
			fail_msg("case %zu: %s: %s", i, upstream_reason_name(x.failure.reason), x.failure.detail);
		assert_int_equal(upstream_counts(f.upstream).opened, 2);
		exchange_end(&x);
		fixture_fini(&f);
	}
}

/* A turn in which the peer closes, and which goes on before it sends. */
static void
on_late_turn(void *arg)
{
	struct exchange *x = arg;

	peer_go(&x->fixture->peer);
	peer_wait_closed(&x->fixture->peer);
	usleep(2000);
	fixture_send(x);
	assert_int_equal(x->failures, 0);
}

/*
 * The peer closes while the connection is borrowed and unsent: told at once; or noticed by upstream_send, outside
 * the loop and in a turn that has lasted too long to know. Nothing was written.
 */
static void
test_closed_while_borrowed(void **state)
{
	static const enum peer_end ends[] = { PEER_CLEAN, PEER_DIRTY, PEER_RESET };

	(void)state;
	for (size_t i = 0; i < 9; i++) {
		struct fixture f;
		struct exchange x;

		fixture_init(&f, &(struct fixture_options){ 0 });
		f.peer.steps[0] = (struct peer_step){ .wait_first = true, .no_read = true, .end = ends[i % 3] };
		f.peer.step_count = 1;
		exchange_begin(&f, &x, false, "POST", 5);
		x.hold = true;
		fixture_run(&f, until_ready);
		if (i < 6)
			peer_go(&f.peer);
		if (i >= 6) {
			struct loop_hook late = { .fn = on_late_turn, .arg = &x };

			loop_at_turn_end(f.loop, &late);
			fixture_run(&f, until_ended);
		} else if (i >= 3) {
			peer_wait_closed(&f.peer);	/* the loop stands still while the FIN arrives */
			fixture_send(&x);
			assert_int_equal(x.failures, 0);
		}
		fixture_run(&f, until_ended);
		assert_int_equal(x.failures, 1);
		assert_int_equal(x.failure.phase, UPSTREAM_READY);
		assert_int_equal(x.failure.reason, UPSTREAM_REASON_CLOSED);
		assert_int_equal(x.failure.written_bytes, 0);
		assert_int_equal(atomic_load(&f.peer.http_bytes), 0);
		exchange_end(&x);
		fixture_fini(&f);
	}
}

static void
test_the_pool_forgets(void **state)
{
	struct fixture f;
	struct exchange x, y;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ .idle_ms = 100 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	exchange_run(&f, &x, false, "GET", 0);
	exchange_end(&x);
	assert_int_equal(upstream_counts(f.upstream).idle, 1);
	fixture_run(&f, until_empty_pool);		/* its time is over */
	exchange_begin(&f, &x, false, "GET", 0);
	x.hold = true;
	fixture_run(&f, until_ready);
	upstream_drop_pool(f.upstream);
	upstream_cancel(&x.call);			/* borrowed before the pool was dropped */
	assert_int_equal(upstream_counts(f.upstream).idle, 0);
	exchange_end(&x);
	exchange_begin(&f, &x, false, "GET", 0);
	x.hold = true;
	fixture_run(&f, until_ready);
	upstream_cancel(&x.call);			/* unsent: back to the pool */
	assert_int_equal(upstream_counts(f.upstream).idle, 1);
	exchange_end(&x);
	exchange_run(&f, &y, false, "GET", 0);
	assert_int_equal(y.status, 200);
	assert_int_equal(upstream_counts(f.upstream).reused, 1);
	exchange_end(&y);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wire_rows),
		cmocka_unit_test(test_a_connection_serves_many_exchanges),
		cmocka_unit_test(test_a_mebibyte_both_ways),
		cmocka_unit_test(test_many_calls_at_once),
		cmocka_unit_test(test_sessions_are_resumed),
		cmocka_unit_test(test_an_early_response_is_told),
		cmocka_unit_test(test_bytes_before_the_request_answer_nothing),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_deadlines_out_of_order),
		cmocka_unit_test(test_the_fault_of_another_is_not_ours),
		cmocka_unit_test(test_closed_in_the_pool),
		cmocka_unit_test(test_closed_while_borrowed),
		cmocka_unit_test(test_the_pool_forgets),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
