-- Part: latches, and the guarded publications that make them.
-- Needs: start, burying, publishing
--
-- latch:ID  (hash) 'rule', 'total' (absent while it is open), 'envelope' and 'on_break' (a job to be made), 'keep';
--           'state' (absent: OPEN), 'ok', 'not_ok', 'broke', 'forget_at'; and member number → OK, FAILED or SKIPPED.
--           Arrivals may come before their latch: then there is no 'rule' yet.
-- cells     (hash) cell → what it holds

local UNKNOWN_KEPT = 86400 -- seconds that arrivals wait for their latch

local function latch_key(id) return P .. 'latch:' .. id end

local function forget_latch(key, seconds)
  call('HSET', key, 'forget_at', exact(now + seconds))
  call('PEXPIRE', key, exact(math.min(math.max(1, math.ceil(seconds * 1000)), LONGEST_TTL)))
end

local function live_latch(key)
  local forget_at = tonumber(call('HGET', key, 'forget_at'))
  if forget_at and forget_at <= now then
    call('DEL', key)
  end
end

local function judged(rule, total, ok, not_ok)
  if rule == 'ANY_OK' then
    if ok > 0 then
      return 'RELEASED'
    end
    return total and not_ok >= total and 'BROKEN' or 'OPEN'
  end
  if rule == 'ALL_OK' then
    if not_ok > 0 then
      return 'BROKEN'
    end
    return total and ok >= total and 'RELEASED' or 'OPEN'
  end
  return total and ok + not_ok >= total and 'RELEASED' or 'OPEN'
end

-- Make the job that a latch has kept; what is damaged goes to the dead letters as it is.
local function let_go(key, packed)
  if not packed or packed == '' then
    return
  end
  local fine, job = pcall(cmsgpack.unpack, packed)
  if fine and type(job) == 'table' and #job == 4 and pcall(read_place, job[2]) and head_of(job[4], 1) then
    add_jobs(job, 1, 1)
  else
    bury_raw(string.sub(key, #P + 1), '', 1, packed, 'what the latch was to let go is no job')
  end
end

local DEFAULT_KEEP = 86400

local function judge(key)
  local latch = call('HMGET', key, 'rule', 'total', 'ok', 'not_ok', 'state', 'keep', 'envelope', 'on_break', 'broke')
  local before = latch[5] or 'OPEN'
  if not latch[1] or before == 'RELEASED' then
    return
  end
  local keep = tonumber(latch[6]) or DEFAULT_KEEP
  local state = judged(latch[1], tonumber(latch[2]), tonumber(latch[3]) or 0, tonumber(latch[4]) or 0)
  if state == before then
    return
  end
  if state == 'OPEN' then
    call('HDEL', key, 'state', 'forget_at')
    call('PERSIST', key)
    return
  end
  if state == 'RELEASED' then
    call('DEL', key) -- who has arrived does not matter any more
    call('HSET', key, 'rule', latch[1], 'total', latch[2] or '', 'state', state, 'keep', exact(keep))
    forget_latch(key, keep)
    let_go(key, latch[7])
    return
  end
  call('HSET', key, 'state', state)
  forget_latch(key, keep)
  if not latch[9] and latch[8] and latch[8] ~= '' then
    call('HSET', key, 'broke', 1)
    let_go(key, latch[8])
  end
end

-- Read a list of none or one job from the arguments, packed; empty if there is none.
local function take_packed_job()
  local first, count = take_jobs()
  return count > 0 and cmsgpack.pack({unpack(ARGV, first, first + 3)}) or ''
end

-- Read a latch from the arguments: id, rule, total or '', keep, and two jobs, each a list of none or one.
local function publish_latch()
  local key, rule, total, keep = latch_key(take()), take(), take(), take()
  local envelope, on_break = take_packed_job(), take_packed_job()
  live_latch(key)
  local known = call('HMGET', key, 'rule', 'total')
  if not known[1] then
    call('PERSIST', key)
    call('HDEL', key, 'forget_at')
    call('HSET', key, 'rule', rule, 'keep', keep, 'envelope', envelope, 'on_break', on_break)
  elseif known[2] or total == '' then
    return
  end
  if total ~= '' then
    call('HSET', key, 'total', total)
  end
  judge(key)
end

-- Not HINCRBY, which is an error where the count is damaged.
local function count(key, field, by)
  call('HSET', key, field, exact((tonumber(call('HGET', key, field)) or 0) + by))
end

local function arrive(latch, member, kind)
  local key = latch_key(latch)
  live_latch(key)
  local known = call('HMGET', key, 'state', member, 'rule')
  local before = known[2]
  if known[1] == 'RELEASED' or before == 'OK' or (before and kind ~= 'OK') then
    return
  end
  if not known[3] and call('EXISTS', key) == 0 then
    forget_latch(key, UNKNOWN_KEPT)
  end
  call('HSET', key, member, kind)
  count(key, kind == 'OK' and 'ok' or 'not_ok', 1)
  if kind == 'OK' and before then
    count(key, 'not_ok', -1)
  end
  judge(key)
end

-- Tell the latches of a job that is dropped unrun.
local function skip_members(members)
  for _, member in ipairs(members) do
    arrive(member[1], tostring(member[2]), 'SKIPPED')
  end
end

-- Read a publication from the arguments: has it a guard ('1' or ''), then cell, expects ('1' or '' for absent),
-- expected, becomes ('1' or ''), next; the jobs; how many latches, and these. Make it real.
-- The answer is that of add_jobs; nil if the guard refused it.
local function publish_taken()
  local is_refused = false
  if take() ~= '' then
    local cell, is_expected, expected, is_next, following = take(), take() ~= '', take(), take() ~= '', take()
    local holds = call('HGET', P .. 'cells', cell)
    is_refused = (holds) ~= (is_expected and expected)
    if not is_refused and is_next then
      call('HSET', P .. 'cells', cell, following)
    elseif not is_refused then
      call('HDEL', P .. 'cells', cell)
    end
  end
  local first, count = take_jobs()
  if is_refused then
    for _ = 1, take_number() do
      take() take() take() take()
      take_jobs()
      take_jobs()
    end
    return nil
  end
  local refused = add_jobs(ARGV, first, count)
  for _ = 1, take_number() do
    publish_latch()
  end
  return refused
end
