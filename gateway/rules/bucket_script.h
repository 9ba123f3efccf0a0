/*
 * The simple bucket as a Redis script: rules/bucket in Lua, atomic, on the server's own clock.
 *
 * KEYS[1] is the bucket, PREFIX:2:{IDENTITY}:bucket, KEYS[2] its pause, PREFIX:2:{IDENTITY}:pause (2 is the layout's version;
 * the braces keep all keys of an identity in one slot). Both kinds of bucket have the same keys: where a fleet is
 * not at one about the kind, either takes the other's state for none, which is slow and never too fast. ARGV: token, refill,
 * depth (struct quota), count, pause (microseconds from now, 0: no new one), and a time in microseconds, "" in production: only
 * tests say what time it is. The answer is an array of seven integers, struct bucket_take.
 */
#ifndef JOBGATE_RULES_BUCKET_SCRIPT_H
#define JOBGATE_RULES_BUCKET_SCRIPT_H

#define BUCKET_SCRIPT_LAYOUT "2"

/*
 * How both scripts begin, with `now` and `pause` read: TIME is asked once, it is not frozen within a script. A pause is kept as
 * the time of its end, is only ever made longer, and is never longer than five minutes, whatever the clock does.
 */
#define BUCKET_SCRIPT_NOW_AND_PAUSE \
	"if not now then\n" \
	"  local time = redis.call('TIME')\n" \
	"  now = tonumber(time[1]) * 1000000 + tonumber(time[2])\n" \
	"end\n" \
	"local paused = (tonumber(redis.call('GET', KEYS[2]) or '0') or 0) - now\n" \
	"if pause > 0 and pause > paused then\n" \
	"  paused = pause\n" \
	"  redis.call('SET', KEYS[2], string.format('%.0f', now + pause), 'PX', string.format('%.0f', math.floor(pause / 1000) + 1000))\n" \
	"end\n" \
	"paused = math.max(0, math.min(paused, 300000000))\n"

extern const char bucket_script_text[];
/* SHA-1 of the text, for EVALSHA; a test holds it to the text. A wrong one would only cost an EVAL at each call. */
extern const char bucket_script_sha1[];

#endif
