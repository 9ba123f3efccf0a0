/* Claims over time, in memory; and the same in a real Redis by the script, step by step. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "redis_server.h"
#include "rules/claim_script.h"

#define SECOND INT64_C(1000000)
#define LEASE (100 * SECOND)
#define KEEP (3600 * SECOND)

/* What NUMBER's claim of NAME with the fingerprint PRINT is. */
static struct claim_ask
ask_of(int name, int print, int number)
{
	struct claim_ask ask = { .lease_us = LEASE, .keep_us = KEEP };
	char id[64];

	memset(ask.name, name, sizeof(ask.name));
	memset(ask.print, print, sizeof(ask.print));
	snprintf(id, sizeof(id), "%036d", number);
	memcpy(ask.id, id, sizeof(ask.id));
	return ask;
}

static void
expect(struct claim_table *table, struct claim_ask ask, int64_t now_us, enum claim_state state, int first)
{
	struct claim_answer answer;
	struct claim_ask other = ask_of(0, 0, first);

	claim_take(table, &ask, now_us, &answer);
	assert_int_equal(answer.state, state);
	if (state != CLAIM_TAKEN && state != CLAIM_FULL)
		assert_memory_equal(answer.first, other.id, sizeof(answer.first));
}

static bool
settle(struct claim_table *table, struct claim_ask ask, enum claim_fate fate, int64_t now_us)
{
	return claim_settle(table, ask.name, ask.id, fate, STR("202 \n"), ask.keep_us, now_us);
}

static void
test_finished_is_finished_until_it_is_forgotten(void **state)
{
	struct claim_table *table = claim_table_new(1 << 20);
	int64_t t = 5 * SECOND;

	(void)state;
	expect(table, ask_of(1, 1, 1), t, CLAIM_TAKEN, 0);
	expect(table, ask_of(1, 1, 2), t + 1, CLAIM_HELD, 1);
	expect(table, ask_of(1, 2, 2), t + 1, CLAIM_MISMATCH, 1);
	expect(table, ask_of(2, 2, 2), t + 1, CLAIM_TAKEN, 0);
	assert_false(settle(table, ask_of(1, 1, 2), CLAIM_FATE_FINISH, t + 2));		/* it is not his */
	assert_false(settle(table, ask_of(1, 1, 2), CLAIM_FATE_WITHDRAW, t + 2));
	assert_true(settle(table, ask_of(1, 1, 1), CLAIM_FATE_FINISH, t + SECOND));
	expect(table, ask_of(1, 1, 3), t + SECOND, CLAIM_FINISHED, 1);
	expect(table, ask_of(1, 3, 3), t + SECOND, CLAIM_MISMATCH, 1);
	expect(table, ask_of(1, 1, 3), t + SECOND + KEEP - 1, CLAIM_FINISHED, 1);
	expect(table, ask_of(1, 1, 4), t + SECOND + KEEP, CLAIM_TAKEN, 0);
	claim_table_free(&table);
}

static void
test_a_lease_that_is_over_is_unknown_and_never_anothers(void **state)
{
	struct claim_table *table = claim_table_new(1 << 20);

	(void)state;
	expect(table, ask_of(1, 1, 1), 0, CLAIM_TAKEN, 0);
	expect(table, ask_of(1, 1, 2), LEASE - 1, CLAIM_HELD, 1);
	expect(table, ask_of(1, 1, 2), LEASE, CLAIM_UNKNOWN, 1);
	expect(table, ask_of(1, 1, 2), LEASE + KEEP - 1, CLAIM_UNKNOWN, 1);
	assert_true(settle(table, ask_of(1, 1, 1), CLAIM_FATE_FINISH, LEASE + KEEP - 1));	/* the truth comes late */
	expect(table, ask_of(1, 1, 2), LEASE + KEEP, CLAIM_FINISHED, 1);
	claim_table_free(&table);
}

static void
test_withdrawn_is_free(void **state)
{
	struct claim_table *table = claim_table_new(1 << 20);

	(void)state;
	expect(table, ask_of(1, 1, 1), 0, CLAIM_TAKEN, 0);
	assert_true(settle(table, ask_of(1, 1, 1), CLAIM_FATE_WITHDRAW, 1));
	assert_false(settle(table, ask_of(1, 1, 1), CLAIM_FATE_FINISH, 1));
	expect(table, ask_of(1, 2, 2), 2, CLAIM_TAKEN, 0);
	assert_true(settle(table, ask_of(1, 2, 2), CLAIM_FATE_UNKNOWN, 3));
	expect(table, ask_of(1, 2, 3), 3, CLAIM_UNKNOWN, 2);
	assert_true(settle(table, ask_of(1, 2, 2), CLAIM_FATE_WITHDRAW, 4));	/* a 429 that came late */
	expect(table, ask_of(1, 2, 3), 5, CLAIM_TAKEN, 0);
	claim_table_free(&table);
}

/* Nothing that holds is dropped for want of room; what was forgotten makes room. */
static void
test_full(void **state)
{
	struct claim_table *table = claim_table_new(2000);
	int n = 0;

	(void)state;
	while (claim_table_bytes(table) < 2000)
		n++, expect(table, ask_of(n, 1, n), 0, CLAIM_TAKEN, 0);
	assert_true(n > 5);
	expect(table, ask_of(100, 1, 100), SECOND, CLAIM_FULL, 0);
	expect(table, ask_of(1, 1, 100), SECOND, CLAIM_HELD, 1);
	assert_int_equal(claim_table_count(table), n);
	expect(table, ask_of(100, 1, 100), LEASE + KEEP + 2 * SECOND, CLAIM_TAKEN, 0);
	assert_int_equal(claim_table_count(table), 1);		/* the wheel has come round */
	claim_table_free(&table);
}

/* A day without a question, and the next one finds everything forgotten, whatever slot it was in. */
static void
test_the_wheel_after_a_long_silence(void **state)
{
	struct claim_table *table = claim_table_new(1 << 20);
	struct claim_ask ask;

	(void)state;
	for (int i = 1; i < 200; i++) {
		ask = ask_of(i, 1, i);
		ask.keep_us = i * 97 * SECOND;
		expect(table, ask, i * SECOND, CLAIM_TAKEN, 0);
	}
	expect(table, ask_of(200, 1, 200), 100000 * SECOND, CLAIM_TAKEN, 0);
	assert_int_equal(claim_table_count(table), 1);
	claim_table_free(&table);
}

static void
test_fates(void **state)
{
	(void)state;
	assert_int_equal(claim_fate(false, 0, false, false), CLAIM_FATE_WITHDRAW);
	assert_int_equal(claim_fate(false, 202, false, false), CLAIM_FATE_WITHDRAW);
	assert_int_equal(claim_fate(true, 0, false, true), CLAIM_FATE_UNKNOWN);
	assert_int_equal(claim_fate(true, 0, false, false), CLAIM_FATE_UNKNOWN);
	assert_int_equal(claim_fate(true, 202, false, false), CLAIM_FATE_FINISH);
	assert_int_equal(claim_fate(true, 404, false, false), CLAIM_FATE_FINISH);
	assert_int_equal(claim_fate(true, 429, false, false), CLAIM_FATE_WITHDRAW);
	assert_int_equal(claim_fate(true, 401, false, false), CLAIM_FATE_WITHDRAW);
	assert_int_equal(claim_fate(true, 500, false, true), CLAIM_FATE_UNKNOWN);
	assert_int_equal(claim_fate(true, 503, true, false), CLAIM_FATE_WITHDRAW);
}

static struct redis_server server;
static int connection = -1;

/* Run the script on NAME with ARGUMENTS; its answer's first word, and the second where there is one. */
static void
redis_run(const uint8_t *name, size_t count, const struct str *arguments, const char *now_ms, char *out, size_t size)
{
	const char *words[16];
	struct arena arena;
	size_t n = 0;

	arena_init(&arena);
	words[n++] = "EVAL";
	words[n++] = claim_script_text;
	words[n++] = "1";
	words[n++] = claim_script_key(&arena, STR("p"), name).p;
	for (size_t i = 0; i < count; i++)
		words[n++] = arena_copy(&arena, arguments[i]).p;
	if (now_ms)
		words[n++] = now_ms;
	redis_ask_words(connection, n, words, out, size);
	arena_fini(&arena);
}

/* Both tables say the same of one step of a walk. */
static void
walk_take(struct claim_table *table, const struct claim_ask *ask, int64_t now_us)
{
	static const char *const words[] = { [CLAIM_TAKEN] = "taken", [CLAIM_HELD] = "held", [CLAIM_FINISHED] = "finished",
		[CLAIM_UNKNOWN] = "unknown", [CLAIM_MISMATCH] = "mismatch" };
	struct str arguments[CLAIM_SCRIPT_ARGUMENTS];
	char now_ms[32], said[512], expected[512];
	struct claim_answer answer;
	struct arena arena;
	size_t count;

	arena_init(&arena);
	snprintf(now_ms, sizeof(now_ms), "%lld", (long long)(now_us / 1000));
	count = claim_script_take(&arena, ask, arguments);
	redis_run(ask->name, count, arguments, now_ms, said, sizeof(said));
	claim_take(table, ask, now_us, &answer);
	snprintf(expected, sizeof(expected), "%s", words[answer.state]);
	if (answer.state != CLAIM_TAKEN)
		snprintf(expected, sizeof(expected), "%s %.*s :%lld%s", words[answer.state], CLAIM_ID_BYTES, answer.first,
		    (long long)(answer.left_us / 1000), answer.answer.n ? " 202" : "");
	if (strstr(said, expected) == NULL)
		fail_msg("script: %s; table: %s", said, expected);
	arena_fini(&arena);
}

static void
walk_settle(struct claim_table *table, const struct claim_ask *ask, enum claim_fate fate, int64_t now_us)
{
	struct str arguments[CLAIM_SCRIPT_ARGUMENTS];
	struct arena arena;
	char said[512];
	size_t count;
	bool done;

	arena_init(&arena);
	count = claim_script_settle(&arena, ask->id, fate, STR("202 \n"), ask->keep_us, arguments);
	redis_run(ask->name, count, arguments, NULL, said, sizeof(said));
	done = settle(table, *ask, fate, now_us);
	if ((strstr(said, "settled") != NULL) != done)
		fail_msg("script: %s; table: %d", said, done);
	arena_fini(&arena);
}

static void
test_the_script_says_what_the_table_says(void **state)
{
	struct claim_table *table = claim_table_new(1 << 24);
	uint64_t seed = (uint64_t)getpid();
	int64_t now_us = SECOND;

	(void)state;
	printf("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < 4000; i++) {
		struct claim_ask ask;
		int what;

		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		what = (int)(seed >> 33) & 0xffff;
		ask = ask_of(1 + what % 7, 1 + (what / 7) % 8 / 7, 1 + (what / 64) % 5);
		ask.lease_us = 50000;
		ask.keep_us = 1000000 * SECOND;
		now_us += (what / 320) % 3 * 7000;
		if (what % 3 < 2)
			walk_take(table, &ask, now_us);
		else
			walk_settle(table, &ask, (enum claim_fate)((what / 1024) % 3), now_us);
	}
	claim_table_free(&table);
}

static void
test_script_answers(void **state)
{
	struct claim_answer answer;
	struct str id = STR("000000000000000000000000000000000001");

	(void)state;
	assert_true(claim_script_answer(STR("taken"), STR(""), 0, STR(""), &answer));
	assert_true(claim_script_answer(STR("held"), id, 7, STR(""), &answer));
	assert_int_equal(answer.left_us, 7000);
	assert_false(claim_script_answer(STR("held"), STR("short"), 7, STR(""), &answer));
	assert_false(claim_script_answer(STR("held"), id, -1, STR(""), &answer));
	assert_false(claim_script_answer(STR("settled"), id, 0, STR(""), &answer));
	assert_false(claim_script_answer(STR(""), id, 0, STR(""), &answer));
}

static int
start(void **state)
{
	(void)state;
	redis_server_start(&server);
	connection = loopback_connect(server.port);
	return connection < 0;
}

static int
stop(void **state)
{
	(void)state;
	close(connection);
	redis_server_stop(&server);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_finished_is_finished_until_it_is_forgotten),
		cmocka_unit_test(test_a_lease_that_is_over_is_unknown_and_never_anothers), cmocka_unit_test(test_withdrawn_is_free),
		cmocka_unit_test(test_full), cmocka_unit_test(test_the_wheel_after_a_long_silence), cmocka_unit_test(test_fates),
		cmocka_unit_test(test_the_script_says_what_the_table_says), cmocka_unit_test(test_script_answers) };

	return cmocka_run_group_tests(tests, start, stop);
}
