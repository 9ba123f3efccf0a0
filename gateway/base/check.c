/* Assertions that stay in the product. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void (*check_on_failure)(const char *file, int line, const char *what);

void
check_fail(const char *file, int line, const char *what)
{
	void (*dump)(const char *, int, const char *) = check_on_failure;

	check_on_failure = NULL;	/* a failing dump must not call itself */
	if (dump)
		dump(file, line, what);
	fprintf(stderr, "jobgate: bug at %s:%d: %s\n", file, line, what);
	abort();
}
