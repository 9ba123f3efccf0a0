/* Heads of journals: what one is, how they travel, and what the fleet's Redis keeps of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>

#include "redis_server.h"
#include "rules/heads_script.h"
#include "rules/record.h"

#define A "aaaaaaaa-0000-4000-8000-00000000000a"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define REPLY_BYTES 65536

/* Head number N: of a journal of its own. */
static struct heads_head
head(unsigned n, uint64_t seq)
{
	struct heads_head h = { .seq = seq };

	snprintf(h.journal, sizeof(h.journal), "%08x-0000-4000-8000-000000000000", n);
	memcpy(h.hash, HASH, HEADS_HASH_HEX);
	return h;
}

static void
test_have(void **state)
{
	struct heads heads = { .count = 0 };
	struct heads_head one = head(1, 5), other = head(2, 5), later = head(1, 6), forged = head(1, 5);

	(void)state;
	forged.hash[63] = '0';
	assert_true(heads_add(&heads, &one));
	assert_true(heads_have(&heads, &one));
	assert_false(heads_have(&heads, &other));
	assert_false(heads_have(&heads, &later));
	assert_false(heads_have(&heads, &forged));
	while (heads.count < HEADS_MAX)
		assert_true(heads_add(&heads, &other));
	assert_false(heads_add(&heads, &later));
}

static void
test_read(void **state)
{
	static const struct { const char *journal, *seq, *hash; bool good; } cases[] = {
		{ A, "1", HASH, true },
		{ A, "9223372036854775807", HASH, true },
		{ A, "9223372036854775808", HASH, false },
		{ A, "0", HASH, false },
		{ A, "-1", HASH, false },
		{ A, "", HASH, false },
		{ "AAAAAAAA-0000-4000-8000-00000000000a", "1", HASH, false },
		{ "aaaaaaaa-0000-4000-8000-00000000000", "1", HASH, false },
		{ "aaaaaaaa-0000-4000-8000-00000000000\"", "1", HASH, false },
		{ "", "1", HASH, false },
		{ A, "1", "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", false },
		{ A, "1", "0123456789abcdef", false },
		{ A, "1", HASH "0", false },
		{ A, "1", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str values[] = { str_from(cases[i].journal), str_from(cases[i].seq), str_from(cases[i].hash) };
		struct heads_head h;

		if (heads_script_head(values, &h) != cases[i].good)
			fail_msg("case %zu", i);
		if (cases[i].good)
			assert_string_equal(h.journal, cases[i].journal);
	}
}

static void
test_record(void **state)
{
	struct heads_head h = head(1, 77);
	struct buf b = BUF_EMPTY;

	(void)state;
	record_anchor(&b, &h);
	buf_add_char(&b, '\0');
	assert_string_equal(b.p, "\"kind\":\"anchor\",\"of_journal\":\"00000001-0000-4000-8000-000000000000\",\"of_seq\":77,"
	    "\"of_hash\":\"" HASH "\"");
	buf_fini(&b);
}

/* Show a head by the script; what it answers, in words. */
static void
show(int fd, const struct heads_head *own, int64_t keep_ms, char *text)
{
	const char *words[4 + HEADS_SCRIPT_ARGUMENTS] = { "EVAL", heads_script_text, "1", "p:3:heads" };
	struct str arguments[HEADS_SCRIPT_ARGUMENTS];
	struct arena arena;

	arena_init(&arena);
	heads_script_arguments(&arena, own, keep_ms, arguments);
	for (size_t i = 0; i < HEADS_SCRIPT_ARGUMENTS; i++)
		words[4 + i] = arena_copy(&arena, arguments[i]).p;
	redis_ask_words(fd, 4 + HEADS_SCRIPT_ARGUMENTS, words, text, REPLY_BYTES);
	arena_fini(&arena);
}

/* How many heads an answer has. */
static size_t
told(const char *text)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, "-0000-4000-8000-")) != NULL; at++)
		n++;
	return n;
}

/*
 * Each is told the others', not its own; a newer one takes the place of the one before; of more than 64 those that were
 * shown longest ago are forgotten; what somebody else has written into the key is no matter, unless it is no text.
 */
static void
test_script(void **state)
{
	static char text[REPLY_BYTES];
	struct redis_server server = { .port = 0 };
	struct heads_head h;
	int fd;

	(void)state;
	redis_server_start(&server);
	fd = loopback_connect(server.port);
	h = head(0, 1);
	show(fd, &h, 60000, text);
	assert_int_equal(told(text), 0);
	h = head(1, 7);
	show(fd, &h, 60000, text);
	assert_string_equal(text, "00000000-0000-4000-8000-000000000000 1 " HASH);
	h = head(1, 8);
	show(fd, &h, 60000, text);
	assert_string_equal(text, "00000000-0000-4000-8000-000000000000 1 " HASH);
	h = head(0, 2);
	show(fd, &h, 60000, text);
	assert_string_equal(text, "00000001-0000-4000-8000-000000000000 8 " HASH);
	for (unsigned n = 2; n < 100; n++) {
		h = head(n, 1);
		show(fd, &h, 60000, text);
		assert_int_equal(told(text), n < HEADS_MAX ? n : HEADS_MAX);
	}
	assert_null(strstr(text, "00000001-0000"));
	assert_non_null(strstr(text, "00000062-0000"));
	for (int tries = 0; told(text) > 0; tries++) {	/* to whom keeps so short all are too old but those of this very moment */
		assert_true(tries < 1000);
		show(fd, &h, 1, text);
	}
	redis_ask(fd, text, "SET", "p:3:heads", "rubbish\n\n1 2 3\n");
	show(fd, &h, 60000, text);
	assert_int_equal(told(text), 0);
	redis_ask(fd, text, "DEL", "p:3:heads");
	redis_ask(fd, text, "LPUSH", "p:3:heads", "x");
	show(fd, &h, 60000, text);
	assert_int_equal(text[0], '-');
	close(fd);
	redis_server_stop(&server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_have),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_script),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
