/*
 * What a fuzz target is: one function over bytes, which aborts where a promise of the parser is broken.
 *
 * clang links each fuzz_*.c with libFuzzer; gcc links it with replay.c, which runs the corpus and seeded
 * mutations of it. Input is copied by the target's runner into memory of its exact size, so that
 * AddressSanitizer sees one byte too far.
 */
#ifndef JOBGATE_TESTS_FUZZ_H
#define JOBGATE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
