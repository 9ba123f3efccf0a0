/* The simple bucket as a Redis script. */
#include "rules/bucket_script.h"

/*
 * Every number is an integer below 2^53, which Lua's doubles hold exactly; '%.0f' writes all its digits, where
 * tostring keeps 14. A key lives until its bucket would be full, and a second: who stays away longer finds an empty
 * bucket, so that neither a lost key nor an old dump can mint.
 */
const char bucket_script_text[] =
	"local token, refill, depth, count = "
	    "tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])\n"
	"local pause, now = tonumber(ARGV[5]), tonumber(ARGV[6])\n"
	BUCKET_SCRIPT_NOW_AND_PAUSE
	"local level, last, units = 0, now, token\n"
	"local state = redis.call('GET', KEYS[1])\n"
	"if state then\n"
	"  local a, b, c = string.match(state, '^(%d+):(%d+):([1-9]%d*)$')\n"
	"  if a then level, last, units = tonumber(a), tonumber(b), tonumber(c) end\n"
	"end\n"
	"if units ~= token then\n"
	"  local share = level / units * token\n"
	"  if share >= depth + 1 then level = depth else level = math.max(0, math.floor(share) - 1) end\n"
	"end\n"
	"local full = math.floor((depth + refill - 1) / refill)\n"
	"local elapsed = now - last\n"
	"if elapsed >= full then level = depth elseif elapsed > 0 then level = level + elapsed * refill end\n"
	"if level > depth then level = depth end\n"
	"if paused > 0 then level = 0 end\n"
	"local granted = math.min(count, math.floor(level / token))\n"
	"level = level - granted * token\n"
	"local wait = 0\n"
	"if level < token then wait = math.floor((token - level + refill - 1) / refill) end\n"
	"redis.call('SET', KEYS[1], string.format('%.0f:%.0f:%.0f', level, now, token),\n"
	"  'PX', string.format('%.0f', math.floor((full + 999) / 1000) + 1000))\n"
	"return {granted, math.max(wait, paused), math.floor(level / token), refill, paused, 0, 0}\n";

const char bucket_script_sha1[] = "29f73674e10c5714bac5bf8585fe2286cd916a86";
