/*
 * A fleet in a time of its own: queues, members and a bucket, as the limiter puts them together, under load and faults. Every
 * arrival is kept; no window of any alignment may hold more than the quota.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include "fleet_fixture.h"

static const struct config_quota fabric = { 200, 60 * SECOND, 250 * MS, 0, 0 };

/* Five times more than there is, for ten minutes. */
static void
test_overload(void **state)
{
	int64_t begin_us;

	(void)state;
	sim_start(fabric);
	offer(4, 200.0 / 60 * 5 / 12);
	sim_run(125);
	begin_us = sim.now_us;
	sim.calls = 0;
	sim_run(600);
	AT_MOST(most_in_a_window(), 200);
	AT_LEAST(used(begin_us, sim.now_us), 0.985);
	AT_MOST((double)sim.calls / (double)arrived_between(begin_us, sim.now_us), 1.2 + 6 * 60.0 / 200);
	for (int64_t at = begin_us; at < sim.now_us; at += 5 * SECOND) {
		assert_true(used(at, at + 5 * SECOND) > 0.85);
		assert_true(used(at, at + 5 * SECOND) < 1.15);
	}
	sim_stop();
}

/* A burst after idleness goes at once; the next one waits little; under a lasting backlog it does not repeat itself. */
static void
test_burst(void **state)
{
	int64_t begin_us;

	(void)state;
	sim_start(fabric);
	sim_run(63);
	for (int i = 0; i < 150; i++)
		submit(&sim.instances[i % INSTANCES], i % 4);
	begin_us = sim.now_us;
	sim_run(2);
	assert_int_equal(sim.count, 150);
	sim_run(3);
	submit(&sim.instances[1], 9);
	sim_run(2);
	assert_int_equal(sim.served[9], 1);
	offer(4, 200.0 / 60 * 5 / 12);
	sim_run(300);
	AT_MOST(most_in_a_window(), 200);
	for (int64_t at = begin_us + 121 * SECOND; at < sim.now_us - 5 * SECOND; at += 5 * SECOND) {
		double part = used(at, at + 5 * SECOND);

		if (part < 0.9 || part > 1.1)
			fail_msg("from %lld s on 5 s carry %f of their share", (long long)((at - begin_us) / SECOND), part);
	}
	sim_stop();
}

/*
 * An overload that begins after idleness takes its burst bit by bit, and so it comes back: whoever waits then does not wait for
 * its last token.
 */
static void
test_overload_after_idleness(void **state)
{
	int64_t begin_us;

	(void)state;
	sim_start(fabric);
	sim_run(63);
	begin_us = sim.now_us;
	offer(4, 200.0 / 60 * 5 / 12);
	sim_run(300);
	AT_MOST(most_in_a_window(), 200);
	for (int64_t at = begin_us + 60 * SECOND; at < sim.now_us - 5 * SECOND; at += 5 * SECOND) {
		double part = used(at, at + 5 * SECOND);

		/* In the first of them nothing has come back for half a second yet: J and a slot. */
		if (part < (at == begin_us + 60 * SECOND ? 0.8 : 0.9) || part > 1.1)
			fail_msg("from %lld s on 5 s carry %f of their share", (long long)((at - begin_us) / SECOND), part);
	}
	sim_stop();
}

/* Many grants a second: few calls, and all that may be used is. */
static void
test_fast(void **state)
{
	int64_t begin_us;

	(void)state;
	sim_start((struct config_quota){ 20000, 10 * SECOND, 50 * MS, 0, 0 });
	sim.tick_us = MS / 2;
	offer(10, 100);
	sim_run(22);
	begin_us = sim.now_us;
	sim.calls = 0;
	sim_run(20);
	AT_MOST(most_in_a_window(), 20000);
	AT_LEAST(used(begin_us, sim.now_us), 0.985);
	AT_MOST((double)sim.calls / (double)arrived_between(begin_us, sim.now_us), 0.5);
	offer(10, 33);		/* half the rate: nobody waits */
	sim_run(15);
	memset(sim.waited_most_us, 0, sizeof(sim.waited_most_us));
	sim_run(5);
	for (int c = 0; c < CALLERS; c++)
		AT_MOST(sim.waited_most_us[c], 15 * MS);
	sim_stop();
}

/* Callers share by weight, however many they are on an instance and however much one of them wants. */
static void
test_fair(void **state)
{
	double share = 200.0 / 60 * 0.99 / CALLERS, sum = 0, squares = 0;

	(void)state;
	sim_start(fabric);
	for (int c = 0; c < CALLERS; c++)
		sim.rates[c][c % INSTANCES] = 0.97 * share;
	sim.rates[0][0] = sim.rates[0][1] = sim.rates[0][2] = 50 * share / 3;
	sim_run(150);
	memset(sim.served, 0, sizeof(sim.served));
	memset(sim.refused, 0, sizeof(sim.refused));
	memset(sim.offered, 0, sizeof(sim.offered));
	sim_run(900);
	AT_MOST(most_in_a_window(), 200);
	for (int c = 0; c < CALLERS; c++) {
		sum += (double)sim.served[c];
		squares += (double)sim.served[c] * (double)sim.served[c];
		if (c > 0)
			AT_LEAST((double)sim.served[c] / (double)sim.offered[c], 0.95);
		if (c > 0)
			assert_int_equal(sim.refused[c], 0);
	}
	AT_LEAST(sum * sum / (CALLERS * squares), 0.99);
	AT_LEAST(used(sim.now_us - 600 * SECOND, sim.now_us), 0.985);
	sim_stop();
}

static void
test_weights(void **state)
{
	(void)state;
	sim_start(fabric);
	for (int c = 0; c < 3; c++) {
		sim.weights[c] = c + 1;
		for (int n = 0; n <= c; n++)
			sim.rates[c][n] = 5;
	}
	sim_run(150);
	memset(sim.served, 0, sizeof(sim.served));
	sim_run(600);
	for (int c = 1; c < 3; c++) {
		AT_LEAST((double)sim.served[c] / (double)sim.served[0], (c + 1) * 0.98);
		AT_MOST((double)sim.served[c] / (double)sim.served[0], (c + 1) * 1.02);
	}
	AT_MOST(most_in_a_window(), 200);
	sim_stop();
}

/* Every pattern of instances cut off, a second after a burst: the quota holds, and nobody stands still for ever. */
static void
test_cuts(void **state)
{
	(void)state;
	for (int pattern = 1; pattern < 8; pattern++) {
		int64_t begin_us, end_us;

		sim_start(fabric);
		sim_run(63);
		for (int i = 0; i < 150; i++)
			submit(&sim.instances[i % INSTANCES], i % 4);
		offer(4, 200.0 / 60 * 2 / 12);
		sim_run(1);
		for (int n = 0; n < INSTANCES; n++)
			sim.instances[n].cut = pattern >> n & 1;
		begin_us = sim.now_us + 130 * SECOND;
		sim_run(400);
		AT_LEAST(used(begin_us, sim.now_us - 60 * SECOND), 0.93);
		for (int n = 0; n < INSTANCES; n++)
			sim.instances[n].cut = false;
		end_us = sim.now_us + 10 * SECOND;
		sim_run(130);
		AT_MOST(most_in_a_window(), 200);
		AT_LEAST(used(end_us, sim.now_us), 0.9);
		sim_stop();
	}
}

/* The store forgets all, again and again, a second after a burst and under load. */
static void
test_flush(void **state)
{
	int64_t last_us = 0;

	(void)state;
	sim_start(fabric);
	sim_run(63);
	for (int i = 0; i < 150; i++)
		submit(&sim.instances[i % INSTANCES], i % 4);
	offer(4, 200.0 / 60 * 5 / 12);
	sim_run(1);
	for (int i = 0; i < 50; i++) {
		bucket_free(&sim.bucket);
		sim.bucket = bucket_new();
		sim_run(0.5);
		last_us = sim.now_us;
	}
	sim_run(130);
	AT_MOST(most_in_a_window(), 200);
	AT_LEAST(used(last_us + 65 * SECOND, sim.now_us), 0.95);
	for (int i = 0; i < 10; i++) {
		bucket_free(&sim.bucket);
		sim.bucket = bucket_new();
		last_us = sim.now_us;
		sim_run(30);
		AT_LEAST(used(last_us + 5 * SECOND, last_us + 25 * SECOND), 0.95);
	}
	AT_MOST(most_in_a_window(), 200);
	sim_stop();
}

/* Instances that die and begin anew, with the store's state and without it. */
static void
test_restarts(void **state)
{
	(void)state;
	sim_start(fabric);
	sim_run(63);
	for (int i = 0; i < 150; i++)
		submit(&sim.instances[i % INSTANCES], i % 4);
	offer(4, 200.0 / 60 * 5 / 12);
	sim_run(1);
	for (int i = 0; i < 40; i++) {
		instance_stop(i % INSTANCES);
		sim_run(i % 5);
		if (i % 8 == 7) {
			bucket_free(&sim.bucket);
			sim.bucket = bucket_new();
		}
		instance_start(i % INSTANCES, 1 * SECOND);
		sim_run(7);
	}
	sim_run(130);
	AT_MOST(most_in_a_window(), 200);
	AT_LEAST(used(sim.now_us - 60 * SECOND, sim.now_us), 0.95);
	sim_stop();
}

/* The store's clock steps: back costs nothing; forward may give back what is out, once. */
static void
test_clock(void **state)
{
	int64_t begin_us;

	(void)state;
	sim_start(fabric);
	offer(4, 200.0 / 60 * 5 / 12);
	sim_run(125);
	begin_us = sim.now_us;
	for (int i = 0; i < 10; i++) {
		sim.clock_offset_us -= 60 * SECOND;
		sim_run(12);
	}
	sim_run(60);
	AT_MOST(most_in_a_window(), 200);
	AT_LEAST(used(begin_us, sim.now_us), 0.97);
	sim.clock_offset_us += 90 * SECOND;
	sim_run(130);
	AT_MOST(most_in_a_window(), 200 + 150);
	sim_stop();
}

/* A silent member's share comes back when it is forgotten; nobody is cut off from what is left meanwhile. */
static void
test_dead_member(void **state)
{
	(void)state;
	sim_start(fabric);
	offer(4, 200.0 / 60 * 5 / 12);
	sim_run(125);
	instance_stop(2);
	sim_run(130);
	AT_LEAST(used(sim.now_us - 60 * SECOND, sim.now_us), 0.64);
	AT_MOST(used(sim.now_us - 60 * SECOND, sim.now_us), 0.68);
	sim_run(500);
	AT_LEAST(used(sim.now_us - 60 * SECOND, sim.now_us), 0.98);
	AT_MOST(most_in_a_window(), 200);
	sim_stop();
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overload), cmocka_unit_test(test_burst), cmocka_unit_test(test_overload_after_idleness),
		cmocka_unit_test(test_fast),
		cmocka_unit_test(test_fair), cmocka_unit_test(test_weights), cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_flush), cmocka_unit_test(test_restarts), cmocka_unit_test(test_clock),
		cmocka_unit_test(test_dead_member),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
