/*
 * Assertions that stay in the product: a bug ends the process with its place and reason.
 *
 * For the impossible only. What a caller, the upstream or the machine can do wrong is
 * a refusal or the environment, never a check.
 */
#ifndef JOBGATE_BASE_CHECK_H
#define JOBGATE_BASE_CHECK_H

#include <stdint.h>

/* Called once with the reason before the process aborts; may dump what it knows, must not return into it. */
extern void (*check_on_failure)(const char *file, int line, const char *what);

_Noreturn void check_fail(const char *file, int line, const char *what);

#define check(condition) \
	((condition) ? (void)0 : check_fail(__FILE__, __LINE__, #condition))

/* Verify that a `void *` that came back from a library is still the object it was. */
#define check_magic(object, value) check((object) != NULL && (object)->magic == (value))

#endif
