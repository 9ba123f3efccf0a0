/* How a claim travels to its script and back. */
#include "rules/claim_script.h"

#include <inttypes.h>
#include <string.h>


/* Milliseconds, rounded up: what is remembered is never remembered for less. */
static struct str
script_ms(struct arena *arena, int64_t us)
{
	return arena_printf(arena, "%" PRId64, (us + 999) / 1000);
}

struct str
claim_script_key(struct arena *arena, struct str prefix, const uint8_t name[CLAIM_DIGEST_BYTES])
{
	char hex[2 * CLAIM_DIGEST_BYTES];

	str_hex_encode(name, CLAIM_DIGEST_BYTES, hex);
	return arena_printf(arena, "%.*s:claim1:{%.*s}", STR_ARG(prefix), (int)sizeof(hex), hex);
}

size_t
claim_script_take(struct arena *arena, const struct claim_ask *ask, struct str arguments[CLAIM_SCRIPT_ARGUMENTS])
{
	char hex[2 * CLAIM_DIGEST_BYTES];

	str_hex_encode(ask->print, CLAIM_DIGEST_BYTES, hex);
	arguments[0] = STR("take");
	arguments[1] = arena_copy(arena, (struct str){ ask->id, sizeof(ask->id) });
	arguments[2] = arena_copy(arena, (struct str){ hex, sizeof(hex) });
	arguments[3] = script_ms(arena, ask->lease_us);
	arguments[4] = script_ms(arena, ask->keep_us);
	return 5;
}

size_t
claim_script_settle(struct arena *arena, const char id[CLAIM_ID_BYTES], enum claim_fate fate, struct str answer,
    int64_t keep_us, struct str arguments[CLAIM_SCRIPT_ARGUMENTS])
{
	static const struct str verbs[] = { [CLAIM_FATE_WITHDRAW] = STR_INIT("withdraw"), [CLAIM_FATE_UNKNOWN] = STR_INIT("unknown"),
		[CLAIM_FATE_FINISH] = STR_INIT("finish") };

	arguments[0] = verbs[fate];
	arguments[1] = arena_copy(arena, (struct str){ id, CLAIM_ID_BYTES });
	arguments[2] = script_ms(arena, keep_us);
	arguments[3] = answer;
	return fate == CLAIM_FATE_FINISH ? 4 : fate == CLAIM_FATE_UNKNOWN ? 3 : 2;
}

bool
claim_script_answer(struct str word, struct str first, int64_t left_ms, struct str kept, struct claim_answer *out)
{
	static const struct str words[] = { [CLAIM_TAKEN] = STR_INIT("taken"), [CLAIM_HELD] = STR_INIT("held"),
		[CLAIM_FINISHED] = STR_INIT("finished"), [CLAIM_UNKNOWN] = STR_INIT("unknown"), [CLAIM_MISMATCH] = STR_INIT("mismatch") };

	*out = (struct claim_answer){ .state = CLAIM_STATE_COUNT };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (str_eq(word, words[i]))
			out->state = (enum claim_state)i;
	if (out->state == CLAIM_STATE_COUNT || (out->state != CLAIM_TAKEN && first.n != CLAIM_ID_BYTES) || left_ms < 0)
		return false;
	if (out->state != CLAIM_TAKEN)
		memcpy(out->first, first.p, CLAIM_ID_BYTES);
	out->left_us = left_ms * 1000;
	out->answer = kept;
	return true;
}
