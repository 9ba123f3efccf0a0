/* The table of all callers' keys, which policy_find_key reads. */
#include "rules/config_private.h"

#include <string.h>

/* Of SHA-256 any bytes are as good as a hash; an attacker cannot choose those of the configured keys. */
uint64_t
config_key_hash(const uint8_t sha256[32])
{
	uint64_t hash;

	memcpy(&hash, sha256, sizeof(hash));
	return hash;
}

/* Say that the key KEY of CALLER stands at SLOT already. */
static void
error_key_twice(struct config_reader *r, const struct config_caller *caller, size_t key, struct config_key_slot slot)
{
	const struct config_caller *other = &r->config->callers[slot.caller - 1];
	size_t mark = config_enter_item(r, "callers", caller->index, caller->name);

	config_enter(r, STR("keys"));
	config_enter_index(r, key, (struct str){ NULL, 0 });
	config_enter(r, STR("sha256"));
	config_error(r, "is the same as callers[%zu] (\"%.*s\").keys[%u].sha256", other->index, STR_ARG(other->name),
	    slot.key);
	config_leave(r, mark);
}

/* Put key KEY of CALLER into the table. */
static void
index_key(struct config_reader *r, const struct config_caller *caller, size_t key)
{
	struct config *config = r->config;
	const uint8_t *sha256 = caller->keys[key].sha256;
	size_t at = config_key_hash(sha256) & (config->key_slot_count - 1);

	for (; config->key_slots[at].caller; at = (at + 1) & (config->key_slot_count - 1)) {
		struct config_key_slot slot = config->key_slots[at];

		if (memcmp(config->callers[slot.caller - 1].keys[slot.key].sha256, sha256, 32) == 0) {
			error_key_twice(r, caller, key, slot);
			return;
		}
	}
	config->key_slots[at] = (struct config_key_slot){ (uint32_t)caller->index + 1, (uint32_t)key };
}

void
config_index_keys(struct config_reader *r)
{
	static const uint8_t unread[32];	/* no key has this hash; it marks one that was wrong */
	struct config *config = r->config;
	size_t count = 0;

	for (size_t i = 0; i < config->caller_count; i++)
		count += config->callers[i].key_count;
	for (config->key_slot_count = 4; config->key_slot_count < 2 * count;)
		config->key_slot_count *= 2;
	config->key_slots = arena_alloc(&config->arena, config->key_slot_count * sizeof(*config->key_slots));
	for (size_t i = 0; i < config->caller_count; i++)
		for (size_t k = 0; k < config->callers[i].key_count; k++)
			if (memcmp(config->callers[i].keys[k].sha256, unread, sizeof(unread)) != 0)
				index_key(r, &config->callers[i], k);
}
