-- A claim of an Idempotency-Key as a Redis script: rules/claim.c in Lua, on the server's own clock. What it does and
-- why stands in rules/claim.h.
--
-- KEYS[1] is the claim, PREFIX:claim1:{NAME} (1 is the layout's version), a hash: id, print, till (of the lease, in
-- milliseconds), state (finished, unknown or none), answer. ARGV[1] is what is wanted.
local verb, id = ARGV[1], ARGV[2]
local held = redis.call('HMGET', KEYS[1], 'id', 'print', 'till', 'state', 'answer')

if verb == 'take' then -- id, print, lease, keep, and a time, which only tests say
  local print, lease, keep, now = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  if not now then
    local time = redis.call('TIME') -- once: it is not frozen within a script
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  if not held[1] then
    redis.call('HSET', KEYS[1], 'id', id, 'print', print, 'till', string.format('%.0f', now + lease))
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', lease + keep))
    return {'taken', '', 0, ''}
  end
  if held[2] ~= print then return {'mismatch', held[1], 0, ''} end
  if held[4] == 'finished' then return {'finished', held[1], 0, held[5]} end
  local left = tonumber(held[3]) - now
  if held[4] == 'unknown' or left <= 0 then return {'unknown', held[1], 0, ''} end
  return {'held', held[1], left, ''}
end

if held[1] ~= id then return {'none', '', 0, ''} end
if verb == 'withdraw' then -- id
  redis.call('DEL', KEYS[1])
elseif verb == 'unknown' then -- id, keep
  if held[4] ~= 'finished' then redis.call('HSET', KEYS[1], 'state', 'unknown') end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
elseif verb == 'finish' then -- id, keep, answer
  if held[4] ~= 'finished' then redis.call('HSET', KEYS[1], 'state', 'finished', 'answer', ARGV[4]) end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return {'settled', '', 0, ''}
