-- A kept answer to polls, for all instances (rules/poll_script.h). Atomic, on the server's own clock.
--
-- KEYS[1] is the entry, a hash:  b head and body, h bytes of the head, c when it came (ms), s how long it stands (ms),
--   q the number of the call that brought it, v the resource's version then, t 1 where it is terminal, n the newest
--   number that was given, e what state it says, or ''
--   l:NAME and u:NAME whose the lease NAME is, and until when (ms), g:TOKEN until when a token is known to succeed (ms)
-- KEYS[2] is its resource, a hash: v its version (a change, a cancel, makes all of before outdated), and e the newest
--   state that any of its representations has said, of the moment q: one that said otherwise before is outdated, too
-- A call has two leases: that of its turn, CALL/QUEUE, while it waits for it, so that nobody waits in another caller's
--   queue; and CALL once it was sent, which is then everybody's.
-- ARGV[1] says what is done; ARGV[2] is how long anything is kept (ms).
local time = redis.call('TIME') -- once: it is not frozen within a script
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local entry, op, keep = KEYS[1], ARGV[1], tonumber(ARGV[2])

local function number(field) return tonumber(redis.call('HGET', entry, field) or '') or 0 end
local function resource(field) return tonumber(redis.call('HGET', KEYS[2], field) or '') or 0 end
local function decimal(n) return string.format('%.0f', n) end
local version = resource('v')

-- whether another representation has said otherwise since
local function behind()
  local state, last = redis.call('HGET', entry, 'e'), redis.call('HGET', KEYS[2], 'e')
  if not state or state == '' or not last or last == state or number('t') == 1 then return false end
  return resource('q') > number('q')
end

-- the number of what is kept now, 0 where nothing is
local function newest()
  if number('v') ~= version or now - number('c') > keep or behind() then return 0 end
  return number('q')
end

local function lives() redis.call('PEXPIRE', entry, keep) end

-- for how long somebody else has the lease
local function held(owner, name)
  local holder = redis.call('HGET', entry, 'l:' .. name)
  if not holder or holder == owner then return 0 end
  return math.max(0, number('u:' .. name) - now)
end

local function take(owner, name, ms)
  redis.call('HSET', entry, 'l:' .. name, owner, 'u:' .. name, decimal(now + ms))
end

-- By the clock, so that an entry that was lost goes on above what was given before.
local function next_number()
  local n = math.max(number('n') + 1, number('q') + 1, now)
  redis.call('HSET', entry, 'n', decimal(n))
  lives()
  return decimal(n)
end

-- whether something newer is kept than the number that is known, for a token or '' to see
local function changed(known, token)
  return newest() > tonumber(known) and (token == '' or number('g:' .. token) > now)
end

if op == 'look' then
  -- ARGV[3]: the number that is known already; then tokens.
  -- Out: version, number, age, stands, terminal, head, bytes, the resource's moment and state, ms of each token's grant
  local q = newest()
  local out = {version, decimal(q), 0, 0, 0, 0, '', decimal(resource('q')), redis.call('HGET', KEYS[2], 'e') or ''}
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
  -- ARGV[3]: owner; [4]: turn; [5]: call; [6]: for how long; [7]: the number that is known; [8]: a token, or ''
  -- Out: 'leased', number, version; or 'held', ms; or 'changed'
  if changed(ARGV[7], ARGV[8]) then return {'changed'} end
  local ms = math.max(held(ARGV[3], ARGV[4]), held(ARGV[3], ARGV[5]))
  if ms > 0 then return {'held', ms} end
  take(ARGV[3], ARGV[4], tonumber(ARGV[6]))
  return {'leased', next_number(), version}
end

if op == 'sent' then
  -- ARGV[3]: owner; [4]: call; [5]: for how long. Out: its number from now on: what it brings is of no earlier moment
  if held(ARGV[3], ARGV[4]) == 0 then take(ARGV[3], ARGV[4], tonumber(ARGV[5])) end
  return {next_number()}
end

local function release(owner, name)
  if name ~= '' and redis.call('HGET', entry, 'l:' .. name) == owner then
    redis.call('HDEL', entry, 'l:' .. name, 'u:' .. name)
  end
end

if op == 'renew' then
  -- ARGV[3]: owner; [4]: turn; [5]: call, or '' where it was not sent; [6]: for how long; [7]: the number that is
  -- known; [8]: a token, or ''. Out: 'changed' where it was not sent, and need not be
  for i = 4, 5 do
    if ARGV[i] ~= '' and redis.call('HGET', entry, 'l:' .. ARGV[i]) == ARGV[3] then
      take(ARGV[3], ARGV[i], tonumber(ARGV[6]))
    end
  end
  if ARGV[5] == '' and changed(ARGV[7], ARGV[8]) then return 'changed' end
  return 'renewed'
end

if op == 'release' then
  -- ARGV[3]: owner; [4]: turn, or ''; [5]: call, or ''; [6]: a token that does not succeed, or ''
  release(ARGV[3], ARGV[4])
  release(ARGV[3], ARGV[5])
  if ARGV[6] ~= '' then redis.call('HDEL', entry, 'g:' .. ARGV[6]) end
  return 1
end

-- What was kept has said a state: other representations that say otherwise of before are outdated.
local function tell_state(q, terminal)
  local at = terminal == 1 and math.max(q, now) or q
  if ARGV[13] == '' or at < resource('q') then return end
  redis.call('HSET', KEYS[2], 'q', decimal(at), 'e', ARGV[13])
  redis.call('PEXPIRE', KEYS[2], keep * 2)
end

-- Keep what ARGV has, unless it is outdated or something newer is kept; what is said of it.
local function put(q, terminal)
  if tonumber(ARGV[6]) ~= version then return 'outdated' end
  local kept = newest()
  if kept > q or (kept > 0 and number('t') == 1 and terminal == 0) then return 'newer' end
  if ARGV[10] == '' then
    redis.call('HDEL', entry, 'b', 'h', 'c', 's', 'q', 'v', 't', 'e')
  else
    redis.call('HSET', entry, 'b', ARGV[10], 'h', ARGV[9], 'c', decimal(now), 's', ARGV[7], 'q', ARGV[5],
      'v', ARGV[6], 't', ARGV[8], 'e', ARGV[13])
    lives()
    tell_state(q, terminal)
  end
  return 'stored'
end

if op == 'put' then
  -- ARGV[3]: owner; [4]: turn; [5]: number; [6]: version; [7]: stands; [8]: terminal; [9]: head;
  -- [10]: bytes ('': not kept); [11]: token, or ''; [12]: ms of its grant; [13]: state, or '';
  -- [14]: call. Out: 'stored', or 'newer', or 'outdated'
  -- The lease last: behind a first write that frees memory a full server would let all others pass.
  local said = put(tonumber(ARGV[5]), tonumber(ARGV[8]))
  if ARGV[11] ~= '' and tonumber(ARGV[12]) > 0 then
    redis.call('HSET', entry, 'g:' .. ARGV[11], decimal(now + tonumber(ARGV[12])))
    lives()
  end
  release(ARGV[3], ARGV[4])
  release(ARGV[3], ARGV[14])
  return said
end

-- change: KEYS[1] is not used
redis.call('HSET', KEYS[2], 'v', decimal(version + 1))
redis.call('HDEL', KEYS[2], 'q', 'e')
redis.call('PEXPIRE', KEYS[2], keep * 2)
return 1
