/*
 * The heads' Redis script, and how a head and the answer travel: rules/heads.lua, put into the program by the build.
 *
 * The key is PREFIX:3:heads; 3 is the layout's version. It needs no right that the bucket's script does not need.
 */
#ifndef JOBGATE_RULES_HEADS_SCRIPT_H
#define JOBGATE_RULES_HEADS_SCRIPT_H

#include "base/arena.h"
#include "rules/heads.h"

#define HEADS_SCRIPT_LAYOUT "3"
#define HEADS_SCRIPT_ARGUMENTS 4
/* Texts in an answer. */
#define HEADS_SCRIPT_VALUES 3

extern const char heads_script_text[];
/* SHA-1 of the text, for EVALSHA. */
extern const char heads_script_sha1[];

/* The script's arguments, in ARENA: OWN is shown for KEEP_MS. */
void heads_script_arguments(struct arena *arena, const struct heads_head *own, int64_t keep_ms,
    struct str arguments[HEADS_SCRIPT_ARGUMENTS]);

/* Read one head of the answer; false where it is none: somebody else has written into the key. */
bool heads_script_head(const struct str values[HEADS_SCRIPT_VALUES], struct heads_head *head);

#endif
