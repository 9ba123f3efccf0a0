/*
 * Suspicion: how often what was shown was wrong, by where it came from and by how it began, and how long the next 401 may wait for that.
 *
 * A guesser of keys is slowed to one guess a second a connection; nobody who shows a good key is ever slowed, whatever comes from the
 * same address. Memory is bounded: of many sources those that began longest ago are forgotten first, which makes nobody wait longer.
 * Pure: the seed and the time are arguments. Not for several threads at once.
 */
#ifndef JOBGATE_RULES_SUSPICION_H
#define JOBGATE_RULES_SUSPICION_H

#include "base/clock.h"
#include "rules/network.h"

#define SUSPICION_SETS 1024
#define SUSPICION_WAYS 4

struct suspicion {
	uint64_t seed;
	struct suspicion_slot {
		uint64_t source;	/* a hash; 0: free */
		int64_t since_us;	/* when its minute began; monotonic */
		uint32_t count;
	} slots[SUSPICION_SETS][SUSPICION_WAYS];
};

/* Failures within this are counted together. */
#define SUSPICION_WINDOW_US (60 * (int64_t)CLOCK_SECOND)
/* So many are anybody's mistakes. */
#define SUSPICION_FREE 5

/* SEED: random, so that nobody can choose what shares a place. */
void suspicion_init(struct suspicion *suspicion, uint64_t seed);

/* The source that an address is: of IPv6 its /64, which is one subscriber's. */
uint64_t suspicion_of_address(const struct suspicion *suspicion, const struct network_address *address);
/* The source that a shown key is: its first characters, so that guesses at one key from many addresses are one source. */
uint64_t suspicion_of_key(const struct suspicion *suspicion, struct str shown);

/* Count a failure of SOURCE at NOW; how many there were in its minute. */
uint32_t suspicion_note(struct suspicion *suspicion, uint64_t source, struct mono_time now);

/* How long a 401 may wait behind so many: nothing up to SUSPICION_FREE, then 50 ms doubling to one second. */
int64_t suspicion_delay_us(uint32_t count);

#endif
