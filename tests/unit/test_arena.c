/* The arena: what is taken is apart from everything else and whole, also where a block ends in it; cleared where it is promised. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/arena.h"

#define PIECES 2000

/* Texts of every length around a block's end: each keeps what was written to it. */
static void
test_texts_stay_whole(void **state)
{
	struct arena arena;
	struct str texts[PIECES];
	char filler[512];

	(void)state;
	arena_init(&arena);
	memset(filler, 'f', sizeof(filler));
	for (int i = 0; i < PIECES; i++) {
		struct str part = { filler, (size_t)(i * 7 % (int)sizeof(filler)) };

		texts[i] = i % 2 ? arena_printf(&arena, "%.*s%d", STR_ARG(part), i) : arena_copy(&arena, part);
	}
	for (int i = 0; i < PIECES; i++) {
		size_t n = (size_t)(i * 7 % (int)sizeof(filler));
		char number[12] = "";

		if (i % 2)
			snprintf(number, sizeof(number), "%d", i);
		assert_int_equal(texts[i].n, n + strlen(number));
		assert_memory_equal(texts[i].p, filler, n);
		assert_string_equal(texts[i].p + n, number);
	}
	arena_wipe(&arena);
}

/* A text that is larger than a block has one for itself. */
static void
test_a_large_text(void **state)
{
	static char large[10000];
	struct arena arena;
	struct str text;

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	arena_init(&arena);
	arena_copy(&arena, STR("first"));
	text = arena_printf(&arena, "%s!", large);
	assert_int_equal(text.n, sizeof(large));
	assert_memory_equal(text.p, large, sizeof(large) - 1);
	assert_string_equal(text.p + sizeof(large) - 1, "!");
	arena_fini(&arena);
}

/* Memory is cleared, also where a text that did not fit was tried before. */
static void
test_memory_is_cleared(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (int i = 0; i < 200; i++) {
		unsigned char *p;

		arena_printf(&arena, "%0*d", 100 + i * 13 % 900, 7);
		p = arena_alloc(&arena, (size_t)(50 + i));
		for (int k = 0; k < 50 + i; k++)
			assert_int_equal(p[k], 0);
		memset(p, 0xee, (size_t)(50 + i));
	}
	arena_fini(&arena);
}

/* Texts joined, of which some are empty, wherever a block ends in them. */
static void
test_join(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (int i = 0; i < PIECES; i++) {
		struct str filler = { "ffffffffffffffffffffffff", (size_t)i % 25 };
		struct str parts[] = { STR(""), STR("a"), { NULL, 0 }, filler, STR("z") };
		struct str all = arena_join(&arena, parts, 5);

		assert_int_equal(all.n, filler.n + 2);
		assert_int_equal(all.p[0], 'a');
		assert_memory_equal(all.p + 1, filler.p, filler.n);
		assert_string_equal(all.p + 1 + filler.n, "z");
	}
	assert_string_equal(arena_join(&arena, NULL, 0).p, "");
	arena_fini(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_stay_whole),
		cmocka_unit_test(test_a_large_text),
		cmocka_unit_test(test_memory_is_cleared),
		cmocka_unit_test(test_join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
