/*
 * The bucket of returning tokens as a Redis script: rules/returning in Lua, atomic, on the server's own clock.
 *
 * KEYS as in rules/bucket_script. ARGV: requests, slot_us, depth, burst (struct quota), count, waiting, the heard epoch,
 * total and age, grace (struct returning_ask), pause (microseconds from now, 0: no new one), and a time, "" in production.
 * The answer is an array of seven integers, struct bucket_take. The state is one string of at most 3.4 KB.
 */
#ifndef JOBGATE_RULES_RETURNING_SCRIPT_H
#define JOBGATE_RULES_RETURNING_SCRIPT_H

extern const char returning_script_text[];
extern const char returning_script_sha1[];

#endif
