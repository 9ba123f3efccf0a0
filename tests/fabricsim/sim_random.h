/* Random numbers that a seed makes the same again. */
#ifndef FABRICSIM_SIM_RANDOM_H
#define FABRICSIM_SIM_RANDOM_H

#include <stdint.h>

#define SIM_UUID_BYTES 37	/* 36 characters and a NUL */

/* The next number of the generator whose state is *STATE (splitmix64). */
uint64_t sim_random_next(uint64_t *state);

/* A UUID of version 4 in lower case. */
void sim_random_uuid(uint64_t *state, char out[SIM_UUID_BYTES]);

#endif
