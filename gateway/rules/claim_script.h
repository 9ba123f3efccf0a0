/*
 * The claims' Redis script, and how its words travel: rules/claim.lua, put into the program by the build.
 *
 * The key is PREFIX:claim1:{NAME}: 1 is the layout's version, NAME the digest of caller and key in hexadecimal digits.
 */
#ifndef JOBGATE_RULES_CLAIM_SCRIPT_H
#define JOBGATE_RULES_CLAIM_SCRIPT_H

#include "base/arena.h"
#include "rules/claim.h"

extern const char claim_script_text[];
/* SHA-1 of the text, for EVALSHA. */
extern const char claim_script_sha1[];

/* Arguments are at most so many. */
#define CLAIM_SCRIPT_ARGUMENTS 5

/* The name of the claim's key, in ARENA. */
struct str claim_script_key(struct arena *arena, struct str prefix, const uint8_t name[CLAIM_DIGEST_BYTES]);

/* The script's arguments, in ARENA; how many there are. */
size_t claim_script_take(struct arena *arena, const struct claim_ask *ask, struct str arguments[CLAIM_SCRIPT_ARGUMENTS]);
/* ANSWER (finish) is not copied. */
size_t claim_script_settle(struct arena *arena, const char id[CLAIM_ID_BYTES], enum claim_fate fate, struct str answer,
    int64_t keep_us, struct str arguments[CLAIM_SCRIPT_ARGUMENTS]);

/* Read the script's answer to a take: its four values. False where it is none. The answer's text stays WORDS' own. */
bool claim_script_answer(struct str word, struct str first, int64_t left_ms, struct str kept, struct claim_answer *out);

#endif
