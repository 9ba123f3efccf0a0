/* Spare memory of buffers: what is given back is the next one's, no more is kept than was said, and a larger one is not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/spare_bufs.h"

#ifdef __SANITIZE_ADDRESS__
#define KEPT 0
#else
#define KEPT SPARE_BUFS_MOST
#endif

/* A buffer with BYTES of memory, given to SPARES. */
static void
give(struct spare_bufs *spares, size_t bytes)
{
	struct buf b = BUF_EMPTY;

	buf_room(&b, bytes);
	b.n = bytes;
	spare_bufs_give(spares, &b);
	assert_true(b.p == NULL && b.n == 0);
}

static void
test_so_many_are_kept(void **state)
{
	struct spare_bufs spares = { .count = 0 };
	struct buf b = BUF_EMPTY;

	(void)state;
	spare_bufs_give(&spares, &b);	/* has none */
	assert_int_equal(spares.count, 0);
	give(&spares, SPARE_BUFS_BYTES_MAX + 1);
	assert_int_equal(spares.count, 0);
	for (size_t i = 0; i < SPARE_BUFS_MOST + 3; i++)
		give(&spares, 300 + i);
	assert_int_equal(spares.count, KEPT);
	b = spare_bufs_take(&spares);
	assert_true(b.n == 0 && (b.p != NULL) == (KEPT > 0));
	assert_int_equal(spares.count, KEPT > 0 ? KEPT - 1 : 0);
	buf_fini(&b);
	spare_bufs_fini(&spares);
	assert_int_equal(spares.count, 0);
	assert_true(spare_bufs_take(&spares).p == NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_so_many_are_kept) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
