-- The bucket of an identity as a Redis script: rules/bucket*.c in Lua, function by function, atomic, on the server's own clock.
-- What it does and why stands in rules/bucket.h; random walks hold both to each other (tests/unit/test_bucket_script.c).
--
-- KEYS[1] is the bucket, PREFIX:3:{IDENTITY}:bucket (the braces keep an identity in one slot); the other keys are below. Its
-- layout is 4, or 3 while a member is there whose script knows no other: that one finds layout 4 to be a bucket that was lost.
-- A member of layout 5 writes 4, and marks the lost answers that it remembers.
-- ARGV and the answer are in the order of rules/bucket_script.c. ARGV[1] is a time, "" in production: only tests say what time it
-- is. Every number is an integer below 2^53, which Lua's doubles hold exactly.
local floor, min, max = math.floor, math.min, math.max
local SILENT, FORGET, PAUSE_MAX, DEMAND, GRACE, LOOK = 2000000, 300000000, 300000000, 2000000, 10000, 50000
local SLOTS, LATENESS, COST, TOKENS_MAX, AHEAD = 256, 20000, 1000000, 1000, 64
local MEMBERS_MAX, FLOWS_MAX, LOG_MAX, CHUNK, TURNS = 64, 512, 3 * 1024, 3 * 16, 8
local OPEN, SETTLING, UNHEARD, UNKNOWN, PAUSED, STRANGE, CROWDED = 0, 1, 2, 3, 4, 5, 6
local DAY, HOUR = 86400000, 3600000

local function ceil(a, b) return floor((a + b - 1) / b) end

-- what the member asks
local at = 1
local function text() at = at + 1; return ARGV[at] end
local function number() at = at + 1; return tonumber(ARGV[at]) end
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME') -- once: it is not frozen within a script
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local ask = {id = text(), start = number(), born_ago = number(), sent_ago = number(), epoch = number(), number = number(),
  version = number(), share = number(), fresh = number() == 1, leave = number() == 1, tells = number() == 1,
  pause = number(), requests = number(), out = number(), slot = number(), burst = number(),
  limits = {}, lanes = {}, own = {}, peers = {}}
for i = 1, number() do ask.limits[i] = {name = text(), requests = number(), window = number(), burst = number()} end
for i = 1, number() do
  local lane = {flow = text(), weight = number(), ready = number(), waiting = number(), limits = {}}
  for k = 1, number() do lane.limits[k] = ask.limits[number() + 1].name end
  ask.lanes[i] = lane
end
for i = 1, number() do ask.own[i] = {ago = number(), out = number(), bursts = number()} end
for i = 1, number() do ask.peers[i] = {id = text(), heard_ago = number(), share = number()} end

-- KEYS[2] is the mark of lost answers (rules/lost.h): "UNTIL WHO", where there may be any until then, and who remembers them all.
-- Without it, or where the member that calls is who, there is nothing that it could find here: the answer's last value is 1 then.
--
-- KEYS[3] and on: lost answers that are looked for, each for one who is ready in a lane; the last argument has a character for
-- each, '@' for the first lane. Whoever finds one needs no token; an answer (A) is for one alone. Behind the bucket's answer stand
-- the number of each that was found and its text, then how many were.
local found = {}
local mark = redis.call('GET', KEYS[2])
local known = not mark or mark:match(' (.*)') == ask.id .. '/' .. ARGV[3]
local function look(values)
  local lanes = text()
  for i, value in ipairs(values) do
    if value and value:sub(1, 1) ~= 'N' then
      local lane = ask.lanes[lanes:byte(i) - 63]
      if value:sub(1, 1) == 'A' then redis.call('SET', KEYS[i + 2], 'N' .. value:sub(2, 37), 'PX', 10000) end
      lane.ready, lane.waiting = max(lane.ready - 1, 0), max(lane.waiting - 1, 0)
      found[#found + 1], found[#found + 2] = i - 1, value
    end
  end
end
if #KEYS > 2 and not known then
  local values = redis.pcall('MGET', unpack(KEYS, 3))
  if values.err then -- no right to it: one by one
    for i = 3, #KEYS do values[i - 2] = redis.call('GET', KEYS[i]) end
  end
  look(values)
end
local function with_found(answer)
  for _, value in ipairs(found) do answer[#answer + 1] = value end
  answer[#answer + 1] = #found / 2
  answer[#answer + 1] = known and 1 or 0
  return answer
end

local b
do
  local state = redis.call('GET', KEYS[1])
  if state then
    local ok, read = pcall(cmsgpack.unpack, state)
    if ok and type(read) == 'table' and (read.layout == 3 or read.layout == 4) then b = read end
    if b and b.layout == 3 then b.old, b.middle = {}, {} end
  end
end

-- Logs: {end, out, bursts, end, out, bursts ...}. The bucket's is in three parts, so that a call reads and writes little of it: the
-- oldest are in `old`, the newest in `log`, which is never empty while the others are not, and those between in `middle`: {last end,
-- all out, all bursts, how many values, packed}, or {} for none. Packed are chunks, {last end, all out, all bursts, packed, ...}.
local chunks

local function log_chunks()
  chunks = chunks or b.middle[5] and cmsgpack.unpack(b.middle[5]) or {}
  return chunks
end

local function log_set_chunks(changed)
  local n, out, bursts = #changed, 0, 0
  for i = 1, n, 4 do out, bursts = out + changed[i + 1], bursts + changed[i + 2] end
  chunks, b.middle = changed, n > 0 and {changed[n - 3], out, bursts, n / 4 * CHUNK, cmsgpack.pack(changed)} or {}
end

local function log_all()
  local all, parts = {unpack(b.old)}, log_chunks()
  for i = 4, #parts, 4 do
    for _, value in ipairs(cmsgpack.unpack(parts[i])) do all[#all + 1] = value end
  end
  for _, value in ipairs(b.log) do all[#all + 1] = value end
  return all
end

local function log_set(log)
  b.old, b.log = {}, log
  log_set_chunks({})
end

-- whatever of the newest part is more than a chunk and a half
local function log_pack()
  local from, last, more = 1, #b.log - CHUNK * 3 / 2, nil
  while from <= last do
    local part, out, bursts = {unpack(b.log, from, from + CHUNK - 1)}, 0, 0
    for i = 1, CHUNK, 3 do out, bursts = out + part[i + 1], bursts + part[i + 2] end
    more = more or log_chunks()
    local n = #more
    more[n + 1], more[n + 2], more[n + 3], more[n + 4] = part[CHUNK - 2], out, bursts, cmsgpack.pack(part)
    from = from + CHUNK
  end
  if not more then return end
  b.log = {unpack(b.log, from)}
  log_set_chunks(more)
end

-- BEFORE: so many values of it are elsewhere
local function log_add(log, ends, out, bursts, before)
  local n = #log
  if n > 0 and (log[n - 2] >= ends or n + (before or 0) >= LOG_MAX) then
    log[n - 2], log[n - 1], log[n] = max(log[n - 2], ends), log[n - 1] + out, log[n] + bursts
  else
    log[n + 1], log[n + 2], log[n + 3] = ends, out, bursts
  end
end

local function log_note(ends, out, bursts)
  log_add(b.log, ends, out, bursts, #b.old + (b.middle[4] or 0))
end

local function log_expire(log, till)
  local n, all = 0, #log
  while n < all and log[n + 1] <= till do n = n + 3 end
  return n == 0 and log or {unpack(log, n + 1)} -- at most 3072 values
end

local function log_shift(log, by)
  for i = 1, #log, 3 do log[i] = log[i] + by end
end

local function log_merge(log, other)
  local merged, i, j = {}, 1, 1
  while i <= #log or j <= #other do
    if j > #other or (i <= #log and log[i] <= other[j]) then
      log_add(merged, log[i], log[i + 1], log[i + 2])
      i = i + 3
    else
      log_add(merged, other[j], other[j + 1], other[j + 2])
      j = j + 3
    end
  end
  return merged
end

-- All else stands in a function of its own: its functions find what stands above at once, not by a search of the stack for each.
local function take()

-- members
local function member_find(id)
  for _, m in ipairs(b.members) do if m.id == id then return m end end
end

local function member_add(id)
  if #b.members == MEMBERS_MAX then return nil end
  local m = {id = id, start = 0, called = 0, seen = 0, heard = 0, told_number = -1, told = 0, told_share = 0, reserve = 0, open = 0,
    silent = 0, requests = 0, out = 0, slot = 0, burst = 0, own = {}, lanes = {}}
  b.members[#b.members + 1] = m
  b.version = b.version + 1
  return m
end

local function member_remove(i)
  if #b.members[i].own > 0 then log_set(log_merge(log_all(), b.members[i].own)) end
  table.remove(b.members, i)
  b.version = b.version + 1
end

-- the call
local alone, right, me = ask.id == '', false, nil
local requests, out_time, slot, token, burst, limit
local out, bursts, reserved, there, turn, limited = 0, 0, 0, 0, 0, -1
local closed, paused_left, granted, granted_bursts, left_over, weight = OPEN, 0, 0, 0, 0, 0
local lane_answers = {}
for i = 1, #ask.lanes do lane_answers[i] = {0, 0, 0} end

local function shift(by)
  for _, name in ipairs({'last', 'began', 'doubt', 'settle', 'paused', 'eased_at'}) do b[name] = b[name] + by end
  if b.left > 0 then b.left = max(b.left + by, 1) end
  log_set(log_all())
  log_shift(b.log, by)
  for _, m in ipairs(b.members) do
    for _, name in ipairs({'called', 'seen', 'heard', 'told', 'open'}) do m[name] = m[name] + by end
    log_shift(m.own, by)
  end
  for _, l in ipairs(b.limits) do l.last = l.last + by end
end

local function begin_anew()
  if ask.epoch < b.epoch or (ask.epoch == b.epoch and ask.number <= b.number) then return end
  b.epoch = max(now, ask.epoch + 1)
  b.began, b.doubt, b.settle = now, now, now + SILENT
  b.pace, b.credit = 0, 0
  b.version = b.version + 1
end

local function member_restart(m)
  local born = now - ask.born_ago
  if m.seen < b.began and ask.sent_ago >= 0 then
    m.open = max(m.open, now - ask.sent_ago + ask.slot * (SLOTS + 1))
  elseif m.seen >= b.began and born > m.heard + SILENT + m.out then
    log_note(born, m.reserve, 0)
  end
  m.start, m.told_number, m.reserve, m.heard = ask.start, -1, ask.share, now
end

local function member_join()
  me = member_add(ask.id)
  if not me then return end
  me.start, me.heard, me.reserve = ask.start, now, ask.share
  local long = ask.slot * (SLOTS + 1)
  if ask.sent_ago >= 0 and b.began > now - long then me.open = now - ask.sent_ago + long end
end

local function member_hear(m)
  if right and ask.number == m.told_number then
    m.heard, m.reserve = m.told, m.told_share
  elseif not right then
    m.reserve = max(m.reserve, ask.share)
  end
  m.called = now
  if right then m.seen = now end
  m.layout = 5
  m.requests, m.out, m.slot, m.burst = ask.requests, ask.out, ask.slot, ask.burst
end

local function member_listen(m)
  m.own = {}
  for _, own in ipairs(ask.own) do log_add(m.own, now - own.ago, own.out, own.bursts) end
  for _, peer in ipairs(ask.peers) do
    local other = not member_find(peer.id) and member_add(peer.id)
    if other then other.heard, other.reserve = now - peer.heard_ago, peer.share end
  end
end

local function arrive()
  if not b then
    b = {epoch = max(now, ask.epoch + 1), number = 0, version = 1, last = now, began = now, doubt = now,
      settle = alone and 0 or now + SILENT, pace = 0, credit = 0, rate = 0, token = 0, backlog = 0, left = 0, paused = 0,
      eased = 1000, eased_at = now, old = {}, middle = {}, log = {}, members = {}, flows = {}, limits = {}, marks = true}
  end
  if now < b.last then shift(now - b.last) end
  begin_anew()
  b.number = b.number + 1
  right = alone or ask.epoch == b.epoch
  me = member_find(ask.id)
  if not me then member_join() elseif me.start ~= ask.start then member_restart(me) end
  if not me then return end
  if ask.fresh and not alone then b.doubt = now end
  member_hear(me)
  if right and ask.tells then member_listen(me) end
end

local function is_missed(m)
  if m.seen >= b.doubt then return false end
  if m.seen >= b.began and m.heard + SILENT < b.doubt then return false end
  return now < m.heard + SILENT + out_time
end

local function review()
  if b.settle > now then closed = SETTLING end
  requests, burst, out_time, slot = ask.requests, ask.burst, ask.out, ask.slot
  for _, m in ipairs(b.members) do
    if m.requests > 0 then
      requests, burst, out_time, slot = min(requests, m.requests), min(burst, m.burst), max(out_time, m.out), max(slot, m.slot)
    end
  end
  token = (SLOTS + 1) * slot
  if alone then
    if me.open > now then closed = UNKNOWN end
    return
  end
  for i = #b.members, 1, -1 do
    if b.members[i] ~= me and now > b.members[i].heard + 2 * SILENT + 2 * out_time + FORGET then member_remove(i) end
  end
  for _, m in ipairs(b.members) do
    local silent = now > m.heard + SILENT and 1 or 0
    if silent ~= m.silent then m.silent, b.version = silent, b.version + 1 end
    if silent == 1 then reserved = reserved + m.reserve end
    if m.open > now and closed == OPEN then closed = UNKNOWN
    elseif is_missed(m) and closed == OPEN then closed = UNHEARD end
  end
end

local function ease()
  local tenth = floor(out_time / 10)
  local steps, pause = floor((now - b.eased_at) / tenth), min(ask.pause, PAUSE_MAX)
  if steps > 0 then b.eased, b.eased_at = min(b.eased + steps, 1000), b.eased_at + steps * tenth end
  if pause > 0 and b.paused <= now then b.eased = max(b.eased - floor(b.eased / 20), 100) end
  if pause > 0 and b.paused < now + pause then b.paused, b.eased_at = now + pause, now + pause end
  limit = max(floor(requests * b.eased / 1000), 1)
  paused_left = max(b.paused - now, 0)
  if paused_left > 0 then closed = PAUSED end
end

local function come_back()
  local till = now - out_time
  local function returned_of(log)
    log = log_expire(log, till)
    for i = 1, #log, 3 do out, bursts = out + log[i + 1], bursts + log[i + 2] end
    return log
  end
  b.old = returned_of(b.old)
  while #b.old == 0 and b.middle[1] do
    b.old = returned_of(cmsgpack.unpack(log_chunks()[4]))
    log_set_chunks({unpack(chunks, 5)})
  end
  out, bursts = out + (b.middle[2] or 0), bursts + (b.middle[3] or 0)
  b.log = returned_of(b.log)
  for _, m in ipairs(b.members) do m.own = returned_of(m.own) end
end

local function grow()
  local depth, elapsed = token + limit * max(LATENESS, slot), now - b.last
  if b.token ~= token then
    b.token, b.pace, b.credit = token, 0, 0
  elseif b.rate > 0 then
    if elapsed >= ceil(depth, b.rate) then b.pace = depth else b.pace = b.pace + elapsed * b.rate end
  end
  b.pace = min(b.pace, depth)
  if b.backlog == 0 then b.credit = b.credit + min(elapsed, DEMAND) * limit end
  b.credit = min(b.credit, max((burst - bursts - floor(b.pace / token)) * token, 0))
  b.last = now
end

local function count()
  if closed == SETTLING or closed == UNKNOWN or closed == PAUSED then b.pace, b.credit = 0, 0 end
  if closed == OPEN then there = max(0, min(limit - out - reserved, floor(b.pace / token) + floor(b.credit / token))) end
  if not right or me.silent == 1 then closed, there = STRANGE, 0 end
end

-- own limits
local limit_of = {}

local function limit_refill(l, elapsed)
  local depth = l.burst * l.window
  if elapsed <= 0 then return 0 end
  if elapsed >= ceil(depth, l.requests) then return depth end
  return elapsed * l.requests
end

local function limits_fill()
  for _, l in ipairs(b.limits) do limit_of[l.name] = l end
  for _, stated in ipairs(ask.limits) do
    local l = limit_of[stated.name]
    if not l then
      l = {name = stated.name, level = limit_refill(stated, now - b.began), last = now}
      b.limits[#b.limits + 1], limit_of[stated.name] = l, l
    elseif l.window ~= stated.window then
      l.level = 0
    end
    l.requests, l.window, l.burst = stated.requests, stated.window, stated.burst
  end
  for _, l in ipairs(b.limits) do
    l.level = min(l.level + limit_refill(l, now - l.last), l.burst * l.window)
    l.last = now
  end
end

-- flows and lanes
local flow_at = {}

local function same_lane(a, lane)
  if a.flow ~= lane.flow or #a.limits ~= #lane.limits then return false end
  for i = 1, #a.limits do if a.limits[i] ~= lane.limits[i] then return false end end
  return true
end

-- in which flows somebody waits
local function wanted_flows()
  local wanted = {}
  for _, m in ipairs(b.members) do
    if now - m.called <= DEMAND then
      for _, lane in ipairs(m.lanes) do if lane.waiting > 0 then wanted[lane.flow] = true end end
    end
  end
  return wanted
end

-- The place of a new flow: its own, or that of one in which nobody waits, which owes a token at most; nil where all are waited in.
local given_up, wanted_now = 0
local function flow_place()
  if #b.flows < FLOWS_MAX then return #b.flows + 1 end
  wanted_now = wanted_now or wanted_flows()
  while given_up < FLOWS_MAX do
    given_up = given_up + 1
    local name = b.flows[given_up].name
    if not wanted_now[name] then
      flow_at[name] = nil
      return given_up
    end
  end
end

-- whether a lane of the member that calls has a flow
local function flow_follow(lane)
  local place = flow_at[lane.flow]
  if not place then
    place = flow_place()
    if not place then return false end
    b.flows[place], flow_at[lane.flow] = {name = lane.flow, lag = 0}, place
  end
  b.flows[place].weight = lane.weight
  return true
end

local function flows_update()
  for i, f in ipairs(b.flows) do flow_at[f.name] = i end
  local lanes = {}
  for i, lane in ipairs(ask.lanes) do
    local served = 0
    for _, old in ipairs(me.lanes) do if same_lane(old, lane) then served = old.served break end end
    lanes[i] = {flow = lane.flow, waiting = lane.waiting, served = served, limits = lane.limits}
  end
  me.lanes = lanes
  for i, lane in ipairs(ask.lanes) do if not flow_follow(lane) then lanes[i].waiting = 0 end end
end

local turns, unserved = 0, false
local items, levels, step, mine_only, mine_waits = {}, {}, 0, false, false

local function collect()
  for _, m in ipairs(b.members) do
    if now - m.called <= DEMAND then
      for j, lane in ipairs(m.lanes) do
        if lane.waiting > 0 and flow_at[lane.flow] then
          local item = {flow = flow_at[lane.flow], lane = lane, left = lane.waiting, ready = 0, served = lane.served}
          if m == me then
            item.ready, item.answer, mine_waits = ask.lanes[j].ready, lane_answers[j], true
          item.answer[2] = AHEAD
          end
          items[#items + 1] = item
        end
      end
    end
  end
end

local function is_free(item)
  for _, name in ipairs(item.lane.limits) do if levels[name] < limit_of[name].window then return false end end
  return true
end

local function pick(is_there)
  local best
  for _, item in ipairs(items) do
    local mine = item.answer
    if item.left > 0 and not (is_there and mine and item.ready == 0) and not (is_there and mine_only and not mine)
        and is_free(item) then
      if not best then
        best = item
      else
        local a, c = b.flows[item.flow].ahead, b.flows[best.flow].ahead
        if a < c or (a == c and (item.flow < best.flow or (item.flow == best.flow and item.served < best.served))) then
          best = item
        end
      end
    end
  end
  return best
end

local function cost(f) return floor(COST / f.weight) end

local function serve(field, at_flow)
  local lag = b.flows[at_flow][field]
  if lag > 0 then
    for _, f in ipairs(b.flows) do f[field] = max(f[field] - lag, -cost(f)) end
  end
  b.flows[at_flow][field] = min(lag, 0) + cost(b.flows[at_flow])
end

local function step_with(item)
  step = step + 1
  item.left, item.served = item.left - 1, b.number + step
  for _, name in ipairs(item.lane.limits) do levels[name] = levels[name] - limit_of[name].window end
  serve('ahead', item.flow)
end

local function grant(item)
  for _, name in ipairs(item.lane.limits) do limit_of[name].level = limit_of[name].level - limit_of[name].window end
  serve('lag', item.flow)
  item.ready, item.lane.waiting, item.lane.served = item.ready - 1, item.lane.waiting - 1, b.number
  item.answer[1] = item.answer[1] + 1
  granted = granted + 1
end

-- N tokens one after another to the flow that alone wants any: what `serve` does N times.
local function serve_alone(field, at_flow, n)
  local lag, back, one = b.flows[at_flow][field], 0, cost(b.flows[at_flow])
  while n > 0 and lag ~= one do
    lag, back, n = min(lag, 0) + one, back + max(lag, 0), n - 1
  end
  back = back + n * one -- each of the rest finds the flow one token ahead, and leaves it so
  if back > 0 then
    for _, f in ipairs(b.flows) do f[field] = max(f[field] - back, -cost(f)) end
  end
  b.flows[at_flow][field] = lag
end

-- Nearly always one lane alone has somebody waiting, and no limits: what the turns of `hand_out` would give it, at once.
local function hand_out_alone(item, n)
  item.left, item.ready, item.lane.waiting = item.left - n, item.ready - n, item.lane.waiting - n
  serve_alone('ahead', item.flow, n)
  serve_alone('lag', item.flow, n)
  step, granted, item.answer[1] = step + n, granted + n, item.answer[1] + n
  item.served, item.lane.served = b.number + step, b.number
end

local function hand_out()
  local rest, alone_here = there, items[1]
  if #items == 1 and alone_here.answer and #alone_here.lane.limits == 0 then
    local n = min(rest, alone_here.left, alone_here.ready, TOKENS_MAX)
    if n > 0 then hand_out_alone(alone_here, n) end
    return rest - max(n, 0)
  end
  while rest > 0 and granted < TOKENS_MAX and step < 2 * TOKENS_MAX do
    local item = pick(true)
    if not item then break end
    step_with(item)
    if item.answer then grant(item) end
    rest = rest - 1
  end
  return rest
end

local function note_turn(item, n)
  if turns == 0 then turn = max(n, 0) end
  if item.answer[2] == AHEAD then item.answer[2] = turns end
  turns = turns + 1
  return turns < TURNS
end

local function look_ahead(unwanted)
  local wanted = false
  turn, b.backlog = unwanted > 0 and 0 or (mine_waits and AHEAD or 1), 0
  for n = 1 - unwanted, AHEAD do
    local item = pick(false)
    if not item then break end
    if n > 0 then b.backlog = 1 end
    if item.answer then
      if not note_turn(item, n) then break end
    elseif not mine_waits and n > 0 then
      break
    end
    wanted = wanted or not item.answer
    step_with(item)
  end
  return wanted
end

local function tell_lanes()
  local counted = {}
  for _, item in ipairs(items) do
    if not counted[item.flow] then weight = weight + b.flows[item.flow].weight end
    counted[item.flow] = (counted[item.flow] or 0) + 1
  end
  for _, item in ipairs(items) do
    if item.answer then
      item.answer[3] = counted[item.flow]
      local longest = 0
      for _, name in ipairs(item.lane.limits) do
        local l = limit_of[name]
        if l.window > l.level then longest = max(longest, ceil(l.window - l.level, l.requests)) end
      end
      unserved = unserved or (item.ready > 0 and longest == 0)
      if item.lane.waiting > 0 and longest > 0 and (limited < 0 or longest < limited) then limited = longest end
    end
  end
end

local function flows_serve()
  for _, f in ipairs(b.flows) do f.ahead = f.lag end
  for _, l in ipairs(b.limits) do levels[l.name] = l.level end
  mine_only = b.left > 0 and now - b.left > GRACE
  collect()
  local unwanted = hand_out()
  local wanted = look_ahead(unwanted)
  left_over = (mine_only and wanted) and 0 or unwanted
  local left = there - granted - left_over
  if left <= 0 then b.left = 0 elseif b.left == 0 then b.left = now end
  tell_lanes()
  if turns == 0 and limited >= 0 then turn = AHEAD end
  for _, f in ipairs(b.flows) do f.ahead = nil end
end

local function spend()
  if granted == 0 then return end
  local paced = min(granted, floor(b.pace / token))
  granted_bursts = granted - paced
  b.pace, b.credit = b.pace - paced * token, b.credit - granted_bursts * token
  out, bursts, there = out + granted, bursts + granted_bursts, there - granted
  log_note((floor(now / slot) + 1) * slot, granted, granted_bursts)
end

local function returned(n)
  local function ends_in(log)
    for i = 1, #log, 3 do
      n = n - log[i + 1]
      if n <= 0 then return log[i] end
    end
  end
  local function ends_between()
    if n > (b.middle[2] or 0) then
      n = n - (b.middle[2] or 0)
      return
    end
    local parts = log_chunks()
    for i = 1, #parts, 4 do
      if n <= parts[i + 1] then return ends_in(cmsgpack.unpack(parts[i + 3])) end
      n = n - parts[i + 1]
    end
  end
  local ends = ends_in(b.old) or ends_between() or ends_in(b.log)
  return ends and ends + out_time - now or out_time
end

local function turn_time()
  if turn == 0 then return 0 end
  local wait = b.rate > 0 and ceil(turn * token - b.pace % token, b.rate) or out_time
  local missing = out + reserved + there + turn - limit
  if bursts > 0 then wait = min(wait, returned(1)) end
  return missing > 0 and max(wait, returned(missing)) or wait
end

local function wait_time()
  if closed == STRANGE then return 0 end
  if closed == UNHEARD then return LOOK end
  if closed ~= OPEN then
    local till = max(b.settle, b.paused)
    for _, m in ipairs(b.members) do till = max(till, m.open) end
    return max(till - now, LOOK)
  end
  local wait = turn_time()
  if there > 0 and unserved then wait = min(wait, GRACE + 1000) end
  return limited >= 0 and min(wait, limited) or wait
end

local function pace_rate()
  local free, rate, units, ago = limit - out - reserved, limit - reserved, token, out_time - now
  local function fastest(ends) return (free > 0 and free + 1 or 1) * units / (ends + ago) end -- what is out comes back after now
  local function slow_down(log)
    for i = 1, #log, 3 do
      local even = fastest(log[i])
      if even < rate then rate = floor(even) end
      free = free + log[i + 1]
    end
  end
  local merged
  for _, m in ipairs(b.members) do
    if #m.own > 0 then merged = log_merge(merged or log_all(), m.own) end
  end
  if merged then
    slow_down(merged)
    return max(rate, 0)
  end
  slow_down(b.old)
  -- Nothing within a part makes it slower than what is free before the part would, spread until its last comes back.
  if b.middle[1] and fastest(b.middle[1]) < rate then
    local parts = log_chunks()
    for i = 1, #parts, 4 do
      if fastest(parts[i]) < rate then slow_down(cmsgpack.unpack(parts[i + 3])) else free = free + parts[i + 1] end
    end
  else
    free = free + (b.middle[2] or 0)
  end
  slow_down(b.log)
  return max(rate, 0)
end

local function share()
  local even, rest = floor(requests / #b.members), requests
  for _, m in ipairs(b.members) do if m ~= me then rest = rest - m.reserve end end
  even = min(even, rest)
  return even < 2 and 0 or even
end

local function is_used(name)
  for _, m in ipairs(b.members) do
    for _, lane in ipairs(m.lanes) do
      for _, used in ipairs(lane.limits) do if used == name then return true end end
    end
  end
  return false
end

local function drop()
  local flows, limits, wanted, any = {}, {}, wanted_flows(), false
  for _, f in ipairs(b.flows) do
    any = any or wanted[f.name]
    if f.lag > 0 or wanted[f.name] then flows[#flows + 1] = f end
  end
  if not any then flows = {} end -- where nobody waits at all, who was ahead has taken nothing from anybody
  for _, l in ipairs(b.limits) do
    if l.level < l.burst * l.window or is_used(l.name) then limits[#limits + 1] = l end
  end
  b.flows, b.limits = flows, limits
end

local function keep()
  local marks = true
  b.layout = 4
  for _, m in ipairs(b.members) do
    b.layout = min(b.layout, m.layout or 3)
    marks = marks and (m.layout or (m.called > 0 and 3 or 5)) == 5
  end
  if not (marks and b.marks) then -- what a member has lost, or had until now, may be there unmarked, for an hour at most
    redis.call('SET', KEYS[2], floor(now / 1000) + HOUR .. ' *', 'PX', HOUR)
  end
  b.marks = marks
  if b.layout == 4 then
    log_pack()
  else
    log_set(log_all())
    b.old, b.middle = nil, nil
  end
  -- a day: by then every member is forgotten and every token back, whatever the quota
  redis.call('SET', KEYS[1], cmsgpack.pack(b), 'PX', DAY)
end

arrive()
if not me or ask.leave then
  if me then
    for i, m in ipairs(b.members) do if m == me then member_remove(i) break end end
  else
    closed = CROWDED
  end
  keep()
  return with_found({b.epoch, b.number, b.version, 0, 1000000, 0, 1, ask.slot * (SLOTS + 1), 0, 1, 0, 0, 0, 0, 0, closed, unpack((function()
    local none = {}
    for i = 1, 3 * #ask.lanes + 2 do none[i] = 0 end
    return none
  end)())})
end
review()
ease()
come_back()
grow()
count()
limits_fill()
flows_update()
flows_serve()
spend()
b.rate = pace_rate()
local share_now = alone and 0 or share()
me.told_number, me.told, me.told_share, me.reserve = b.number, now, share_now, max(me.reserve, share_now)
local answer = {b.epoch, b.number, b.version, share_now, min(wait_time(), 7200000000), left_over, max(b.rate, 1), token,
  paused_left, limit, out, reserved, weight, granted, granted_bursts, closed}
for _, lane in ipairs(lane_answers) do
  for k = 1, 3 do answer[#answer + 1] = lane[k] end
end
local listed = not alone and (not right or ask.version ~= b.version)
answer[#answer + 1] = listed and 1 or 0
answer[#answer + 1] = listed and #b.members or 0
for _, m in ipairs(listed and b.members or {}) do
  answer[#answer + 1] = m.id
  answer[#answer + 1] = m.silent == 1 and now - m.heard or -1
  answer[#answer + 1] = m.reserve
end
drop()
keep()
return with_found(answer)

end

return take()
