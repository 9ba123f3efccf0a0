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

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_unheard) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
