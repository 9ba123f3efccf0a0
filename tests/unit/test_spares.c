/* Spares: no object has two owners, no more are kept than was said, and all goes in the end (the leak checker looks). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/spares.h"

#define OBJECTS 50
#define KEPT 8
#define STEPS 20000

static void
test_no_object_has_two_owners(void **state)
{
	unsigned char *objects[OBJECTS] = { NULL };
	struct spares spares;
	unsigned seed = 7;

	(void)state;
	spares_init(&spares, 64, KEPT);
	for (int step = 0; step < STEPS; step++) {
		size_t i = (seed = seed * 1103515245 + 12345) / 65536 % OBJECTS;

		if (objects[i] == NULL) {
			objects[i] = spares_take(&spares);
			memset(objects[i], (int)i, 64);
			continue;
		}
		for (size_t k = 0; k < 64; k++)
			assert_int_equal(objects[i][k], i);
		spares_give(&spares, objects[i]);
		objects[i] = NULL;
		assert_true(spares.count <= KEPT);
	}
	for (size_t i = 0; i < OBJECTS; i++)
		spares_give(&spares, objects[i]);
	spares_fini(&spares);
	assert_int_equal(spares.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_no_object_has_two_owners) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
