/* The journal's writer sleeps until it is woken, once for several records. */
#include "journal_fixture.h"

/* Records put unheard are written when the writer is woken for all of them, not only when it looks round once a second. */
static void
test_unheard(void **state)
{
	struct fixture *f = fixture_new();
	struct mono_time start;

	(void)state;
	fixture_open(f);
	start = clock_now_mono();
	for (int i = 0; i < 8; i++) {
		for (char c = 'a'; c < 'd'; c++)
			fixture_put_unheard(f, JOURNAL_EVENT, (char[]){ c, 0 });
		journal_wake(f->journal);
		fixture_wait(f);
	}
	assert_true(mono_since(clock_now_mono(), start) < 4 * CLOCK_SECOND);
	assert_int_equal(f->acked, 24);
	assert_memory_equal(f->order, "abcabc", 6);
	journal_close(&f->journal);
	fixture_good(f);
	fixture_free(f);
}

/* How long the oldest intent of a batch waited is known, as long as the last one's is. */
static void
test_tells_how_long_an_intent_takes(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	fixture_open(f);
	assert_int_equal(journal_intent_us(f->journal), 0);
	assert_true(fixture_put_at(f, JOURNAL_INTENT, "a", (struct wall_time){ clock_now_wall().us - 30 * CLOCK_SECOND }));
	fixture_wait(f);
	assert_true(journal_intent_us(f->journal) >= 30 * CLOCK_SECOND);
	assert_true(fixture_put(f, JOURNAL_OUTCOME, "a"));
	assert_true(fixture_put(f, JOURNAL_INTENT, "b"));
	fixture_wait(f);
	assert_true(journal_intent_us(f->journal) < 30 * CLOCK_SECOND);
	fixture_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unheard),
		cmocka_unit_test(test_tells_how_long_an_intent_takes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
