/*
 * The bucket as a Redis script: rules/bucket in Lua, atomic, on the server's own clock.
 *
 * KEYS[1] is the bucket, PREFIX:1:{IDENTITY}:bucket (1 is the layout's version; the braces keep all keys of an
 * identity in one slot). ARGV: token, refill, depth (struct quota), count, and a time in microseconds, "" in
 * production: only tests say what time it is. The answer is an array of two integers, struct bucket_take.
 */
#ifndef JOBGATE_RULES_BUCKET_SCRIPT_H
#define JOBGATE_RULES_BUCKET_SCRIPT_H

#define BUCKET_SCRIPT_LAYOUT "1"

extern const char bucket_script_text[];
/* SHA-1 of the text, for EVALSHA; a test holds it to the text. A wrong one would only cost an EVAL at each call. */
extern const char bucket_script_sha1[];

#endif
