-- A kept answer to polls, for all instances (rules/poll_script.h). Atomic, on the server's own clock.
--
-- KEYS[1] is the entry, a hash:  b head and body, h bytes of the head, c when it came (ms), s how long it stands (ms),
--   q the number of the call that brought it, v the resource's version then, t 1 where it is terminal, n the newest
--   number that was given,
--   l:NAME and u:NAME whose the lease NAME is, and until when (ms), g:TOKEN until when a token is known to succeed (ms)
-- KEYS[2] is the version of its resource: a change (a cancel) makes all of before outdated.
-- ARGV[1] says what is done; ARGV[2] is how long anything is kept (ms).
local time = redis.call('TIME') -- once: it is not frozen within a script
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local entry, op, keep = KEYS[1], ARGV[1], tonumber(ARGV[2])

local function number(field) return tonumber(redis.call('HGET', entry, field) or '') or 0 end
local version = tonumber(redis.call('GET', KEYS[2]) or '') or 0

-- the number of what is kept now, 0 where nothing is
local function newest()
  if number('v') ~= version or now - number('c') > keep then return 0 end
  return number('q')
end

local function lives() redis.call('PEXPIRE', entry, keep) end

if op == 'look' then
  -- ARGV[3]: the number that is known already; then tokens.
  -- Out: version, number, age, stands, terminal, head, bytes, ms of each token's grant
  local q = newest()
  local out = {version, string.format('%.0f', q), 0, 0, 0, 0, ''}
  if q > 0 then
    out[3] = math.max(0, now - number('c'))
    out[4], out[5] = number('s'), number('t')
    if q ~= tonumber(ARGV[3]) then
      out[6], out[7] = number('h'), redis.call('HGET', entry, 'b')
    end
  end
  for i = 4, #ARGV do out[#out + 1] = math.max(0, number('g:' .. ARGV[i]) - now) end
  return out
end

if op == 'lease' then
  -- ARGV[3]: owner; [4]: name; [5]: for how long; [6]: the number that is known; [7]: a token, or ''
  -- Out: 'leased', number, version; or 'held', ms; or 'changed'
  local owner, name, ms = ARGV[3], ARGV[4], tonumber(ARGV[5])
  if newest() > tonumber(ARGV[6]) and (ARGV[7] == '' or number('g:' .. ARGV[7]) > now) then return {'changed'} end
  local holder = redis.call('HGET', entry, 'l:' .. name)
  if holder and holder ~= owner and number('u:' .. name) > now then return {'held', number('u:' .. name) - now} end
  redis.call('HSET', entry, 'l:' .. name, owner, 'u:' .. name, string.format('%.0f', now + ms))
  -- By the clock, so that an entry that was lost goes on above what was given before.
  local n = math.max(number('n') + 1, number('q') + 1, now)
  redis.call('HSET', entry, 'n', string.format('%.0f', n))
  lives()
  return {'leased', string.format('%.0f', n), version}
end

local function release(owner, name)
  if redis.call('HGET', entry, 'l:' .. name) == owner then
    redis.call('HDEL', entry, 'l:' .. name, 'u:' .. name)
  end
end

if op == 'renew' then
  -- ARGV[3]: owner; [4]: name; [5]: for how long
  if redis.call('HGET', entry, 'l:' .. ARGV[4]) ~= ARGV[3] then return 0 end
  redis.call('HSET', entry, 'u:' .. ARGV[4], string.format('%.0f', now + tonumber(ARGV[5])))
  return 1
end

if op == 'release' then
  -- ARGV[3]: owner; [4]: name; [5]: a token that does not succeed, or ''
  release(ARGV[3], ARGV[4])
  if ARGV[5] ~= '' then redis.call('HDEL', entry, 'g:' .. ARGV[5]) end
  return 1
end

-- Keep what ARGV has, unless it is outdated or something newer is kept; what is said of it.
local function put(q, terminal)
  if tonumber(ARGV[6]) ~= version then return 'outdated' end
  local kept = newest()
  if kept > q or (kept > 0 and number('t') == 1 and terminal == 0) then return 'newer' end
  if ARGV[10] == '' then
    redis.call('HDEL', entry, 'b', 'h', 'c', 's', 'q', 'v', 't')
  else
    redis.call('HSET', entry, 'b', ARGV[10], 'h', ARGV[9], 'c', string.format('%.0f', now), 's', ARGV[7],
      'q', ARGV[5], 'v', ARGV[6], 't', ARGV[8])
    lives()
  end
  return 'stored'
end

if op == 'put' then
  -- ARGV[3]: owner; [4]: lease; [5]: number; [6]: version; [7]: stands; [8]: terminal; [9]: head;
  -- [10]: bytes ('': not kept); [11]: token, or ''; [12]: ms of its grant. Out: 'stored', or 'newer', or 'outdated'
  -- The lease last: behind a first write that frees memory a full server would let all others pass.
  local said = put(tonumber(ARGV[5]), tonumber(ARGV[8]))
  if ARGV[11] ~= '' and tonumber(ARGV[12]) > 0 then
    redis.call('HSET', entry, 'g:' .. ARGV[11], string.format('%.0f', now + tonumber(ARGV[12])))
    lives()
  end
  release(ARGV[3], ARGV[4])
  return said
end

-- change: KEYS[1] is not used
redis.call('INCR', KEYS[2])
redis.call('PEXPIRE', KEYS[2], keep * 2)
return 1
