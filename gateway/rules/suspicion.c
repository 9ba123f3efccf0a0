/* Suspicion: failures counted by their source. */
#include "rules/suspicion.h"

#include <string.h>

/* "jg_" and five random characters: enough to tell keys apart, too little to be one. */
#define KEY_PREFIX_BYTES 8

#define DELAY_FIRST_US (50 * (int64_t)CLOCK_MS)
#define DELAY_MAX_US ((int64_t)CLOCK_SECOND)

void
suspicion_init(struct suspicion *suspicion, uint64_t seed)
{
	memset(suspicion, 0, sizeof(*suspicion));
	suspicion->seed = seed;
}

/* Hash bytes behind KIND, which keeps an address and a key of the same bytes apart: FNV-1a, then the mixing end of splitmix64. */
static uint64_t
suspicion_hash(const struct suspicion *suspicion, uint64_t kind, const void *bytes, size_t n)
{
	uint64_t hash = suspicion->seed + kind;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(1099511628211);
	hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
	hash ^= hash >> 31;
	return hash ? hash : 1;
}

uint64_t
suspicion_of_address(const struct suspicion *suspicion, const struct network_address *address)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool four = memcmp(address->bytes, mapped, sizeof(mapped)) == 0;

	return suspicion_hash(suspicion, 1, address->bytes, four ? NETWORK_BYTES : NETWORK_BYTES / 2);
}

uint64_t
suspicion_of_key(const struct suspicion *suspicion, struct str shown)
{
	struct str prefix = str_sub(shown, 0, KEY_PREFIX_BYTES);

	return suspicion_hash(suspicion, 2, prefix.p, prefix.n);
}

/* The slot of SOURCE: its own, else a free one, else the one whose minute began first. */
static struct suspicion_slot *
suspicion_find(struct suspicion *suspicion, uint64_t source)
{
	struct suspicion_slot *set = suspicion->slots[source % SUSPICION_SETS], *oldest = set;

	for (size_t i = 0; i < SUSPICION_WAYS; i++) {
		if (set[i].source == source)
			return &set[i];
		if (oldest->source != 0 && (set[i].source == 0 || set[i].since_us < oldest->since_us))
			oldest = &set[i];
	}
	return oldest;
}

uint32_t
suspicion_note(struct suspicion *suspicion, uint64_t source, struct mono_time now)
{
	struct suspicion_slot *slot = suspicion_find(suspicion, source);

	if (slot->source != source || now.us - slot->since_us >= SUSPICION_WINDOW_US)
		*slot = (struct suspicion_slot){ source, now.us, 0 };
	if (slot->count < UINT32_MAX)
		slot->count++;
	return slot->count;
}

int64_t
suspicion_delay_us(uint32_t count)
{
	int64_t delay_us = DELAY_FIRST_US;

	if (count <= SUSPICION_FREE)
		return 0;
	for (uint32_t i = SUSPICION_FREE + 1; i < count && delay_us < DELAY_MAX_US; i++)
		delay_us *= 2;
	return delay_us < DELAY_MAX_US ? delay_us : DELAY_MAX_US;
}
