/* Random numbers from a seed. */
#include "sim_random.h"

#include <stdio.h>

/* Step the generator (splitmix64, Steele et al. 2014). */
uint64_t
sim_random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Make a UUID. */
void
sim_random_uuid(uint64_t *state, char out[SIM_UUID_BYTES])
{
	uint64_t a = sim_random_next(state), b = sim_random_next(state);

	(void)snprintf(out, SIM_UUID_BYTES, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
	    (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff), (unsigned)(0x8000 | (b >> 48 & 0x3fff)),
	    (unsigned long long)(b & 0xffffffffffff));
}
