/* How a head and the answer of the heads' script travel. */
#include "rules/heads_script.h"

#include <inttypes.h>
#include <string.h>

#include "rules/uuid.h"

/* Records are written with signed numbers. */
#define HEAD_SEQ_MAX INT64_MAX

void
heads_script_arguments(struct arena *arena, const struct heads_head *own, int64_t keep_ms,
    struct str arguments[HEADS_SCRIPT_ARGUMENTS])
{
	arguments[0] = str_from(own->journal);
	arguments[1] = arena_printf(arena, "%" PRIu64, own->seq);
	arguments[2] = (struct str){ own->hash, HEADS_HASH_HEX };
	arguments[3] = arena_printf(arena, "%" PRId64, keep_ms);
}

/* Whether S has no capital letter. */
static bool
head_is_lower(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (str_lower(s.p[i]) != s.p[i])
			return false;
	return true;
}

bool
heads_script_head(const struct str values[HEADS_SCRIPT_VALUES], struct heads_head *head)
{
	uint8_t hash[HEADS_HASH_HEX / 2];

	if (!uuid_is(values[0]) || !head_is_lower(values[0]))
		return false;
	if (!str_to_u64(values[1], &head->seq) || head->seq == 0 || head->seq > HEAD_SEQ_MAX)
		return false;
	if (!str_hex_decode(values[2], hash, sizeof(hash)) || !head_is_lower(values[2]))
		return false;
	memcpy(head->journal, values[0].p, HEADS_UUID_BYTES);
	head->journal[HEADS_UUID_BYTES] = '\0';
	memcpy(head->hash, values[2].p, HEADS_HASH_HEX);
	return true;
}
