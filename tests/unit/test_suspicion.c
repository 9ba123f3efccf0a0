/* rules/suspicion: failures by source, within bounds, and the delay behind them. */
#include "rules/suspicion.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#define SECOND_US ((int64_t)CLOCK_SECOND)

static struct suspicion table;

/* Count a failure from the address TEXT. */
static uint32_t
fail_from(const char *text, int64_t now_us)
{
	struct network_address address;

	assert_true(network_parse_address(str_from(text), &address));
	return suspicion_note(&table, suspicion_of_address(&table, &address), (struct mono_time){ now_us });
}

static void
test_a_minute(void **state)
{
	(void)state;
	suspicion_init(&table, 7);
	for (uint32_t i = 1; i <= 100; i++)
		assert_int_equal(fail_from("192.0.2.1", i * 1000), i);
	assert_int_equal(fail_from("192.0.2.2", 1000), 1);
	assert_int_equal(fail_from("192.0.2.1", 1000 + 60 * SECOND_US - 1), 101);
	assert_int_equal(fail_from("192.0.2.1", 1000 + 60 * SECOND_US), 1);
}

/* A subscriber has 2^64 addresses of IPv6 and one of IPv4, mapped or not. */
static void
test_sources(void **state)
{
	(void)state;
	suspicion_init(&table, 7);
	assert_int_equal(fail_from("2001:db8:0:1::1", 1), 1);
	assert_int_equal(fail_from("2001:db8:0:1:ffff::2", 1), 2);
	assert_int_equal(fail_from("2001:db8:0:2::1", 1), 1);
	assert_int_equal(fail_from("::ffff:192.0.2.1", 1), 1);
	assert_int_equal(fail_from("192.0.2.1", 1), 2);
	assert_int_equal(fail_from("192.0.2.2", 1), 1);
	assert_true(suspicion_of_key(&table, STR("jg_abcdeXXXX")) == suspicion_of_key(&table, STR("jg_abcdeYYYY")));
	assert_true(suspicion_of_key(&table, STR("jg_abcdfXXXX")) != suspicion_of_key(&table, STR("jg_abcdeXXXX")));
	assert_true(suspicion_of_key(&table, STR("a")) != suspicion_of_key(&table, STR("")));
}

static const struct { uint32_t count; int64_t delay_ms; } delays[] = { { 0, 0 }, { 1, 0 }, { 5, 0 }, { 6, 50 }, { 7, 100 }, { 8, 200 },
	{ 9, 400 }, { 10, 800 }, { 11, 1000 }, { 12, 1000 }, { 1000000, 1000 }, { UINT32_MAX, 1000 } };

static void
test_delays(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++)
		assert_int_equal(suspicion_delay_us(delays[i].count), delays[i].delay_ms * CLOCK_MS);
}

/* A million sources: the table is what it is, and one that goes on failing is not lost in a hundred others of its time. */
static void
test_many_sources(void **state)
{
	uint32_t count = 0;

	(void)state;
	suspicion_init(&table, 7);
	for (uint32_t i = 0; i < 1000000; i++)
		suspicion_note(&table, (uint64_t)i * 2654435761u + 1, (struct mono_time){ i });
	suspicion_init(&table, 7);
	for (uint32_t i = 0; i < 100; i++) {
		struct network_address other = { { 10, 0, 0, (uint8_t)i } };

		suspicion_note(&table, suspicion_of_address(&table, &other), (struct mono_time){ i });
		count = fail_from("192.0.2.1", i);
	}
	assert_int_equal(count, 100);
}

/* Another seed, other places: what shares one cannot be computed ahead. */
static void
test_seeds_differ(void **state)
{
	struct network_address address = { { 1 } };
	uint64_t first;

	(void)state;
	suspicion_init(&table, 7);
	first = suspicion_of_address(&table, &address);
	suspicion_init(&table, 8);
	assert_true(suspicion_of_address(&table, &address) != first);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_minute),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_delays),
		cmocka_unit_test(test_many_sources),
		cmocka_unit_test(test_seeds_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
