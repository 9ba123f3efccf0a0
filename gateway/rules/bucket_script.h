/*
 * The bucket's Redis script, and how an ask and an answer travel: rules/bucket.lua, put into the program by the build.
 *
 * The key is PREFIX:3:{IDENTITY}:bucket: the braces keep an identity in one slot. Everything of an identity is in that one key. Its
 * layout is 4; 3 is read, too, and written while there is a member whose script knows no other, so that a fleet may be of both.
 */
#ifndef JOBGATE_RULES_BUCKET_SCRIPT_H
#define JOBGATE_RULES_BUCKET_SCRIPT_H

#include "base/arena.h"
#include "rules/bucket.h"

#define BUCKET_SCRIPT_LAYOUT "3"

extern const char bucket_script_text[];
/* SHA-1 of the text, for EVALSHA. */
extern const char bucket_script_sha1[];

/* The script's arguments, in ARENA. NOW_US 0: the server's own time; another is for tests. */
struct str *bucket_script_arguments(struct arena *arena, const struct bucket_ask *ask, int64_t now_us, size_t *count);

/* A value of the script's answer: an integer, or text where the integer is of no use. */
struct bucket_script_value { bool is_text; int64_t integer; struct str text; };

/* Read the answer to ASK; false where it is none. */
bool bucket_script_answer(const struct bucket_ask *ask, const struct bucket_script_value *values, size_t count,
    struct bucket_answer *answer);

#endif
