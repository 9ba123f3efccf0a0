-- The heads of the fleet's journals in one key: each instance puts its own in and is told the others'.
--
-- KEYS[1] is PREFIX:3:heads. ARGV: journal, seq, hash, and for how many milliseconds a head is kept. The key's value is a line
-- "JOURNAL SEQ HASH SHOWN" per journal, the one that was shown last first, so that the oldest go where there are too many.
-- Answers JOURNAL, SEQ, HASH of each other journal.
local OTHERS_MAX = 63
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local keep = tonumber(ARGV[4])
local lines = {string.format('%s %s %s %.0f\n', ARGV[1], ARGV[2], ARGV[3], now)}
local told = {}
for journal, seq, hash, shown in string.gmatch(redis.call('GET', KEYS[1]) or '', '(%S+) (%d+) (%x+) (%d+)\n') do
  if journal ~= ARGV[1] and now - tonumber(shown) < keep and #lines <= OTHERS_MAX then
    lines[#lines + 1] = string.format('%s %s %s %s\n', journal, seq, hash, shown)
    told[#told + 1], told[#told + 2], told[#told + 3] = journal, seq, hash
  end
end
redis.call('SET', KEYS[1], table.concat(lines), 'PX', keep)
return told
