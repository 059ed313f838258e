-- Part: latches, and the guarded publications that make them.
-- Needs: start, given, news, burying, publishing, cells
--
-- latch:ID          (hash) 'rule', 'total' (absent while it is open), 'envelope' and 'on_break' (a job to be made), 'keep',
--                   'data', 'reply_to', 'scope'; 'state' (absent: OPEN), 'ok', 'not_ok', 'ticks', 'broke', 'forced' (it was
--                   broken from outside), 'cancelled', 'lifted' (a member lives again since it was broken), 'broken_by',
--                   'touched_at', 'forget_at'. Arrivals may come before their latch: then there is no 'rule' yet.
-- latch:ID:members  (string) two bits for each member: 0 it has not arrived, 1 OK, 2 FAILED, 3 SKIPPED

local UNKNOWN_KEPT = 86400 -- seconds that arrivals wait for their latch
local DEFAULT_KEEP = 86400
local TICK = -1 -- the number of members that are only counted
local CODES = {OK = 1, FAILED = 2, SKIPPED = 3}

local function latch_key(id) return P .. 'latch:' .. id end
local function members_key(key) return key .. ':members' end

local function drop_latch(key)
  call('UNLINK', key, members_key(key))
end

local function forget_latch(key, seconds)
  if seconds <= 0 then
    drop_latch(key)
    return
  end
  call('HSET', key, 'forget_at', exact(now + seconds))
  local milliseconds = exact(math.min(math.max(1, math.ceil(seconds * 1000)), LONGEST_TTL))
  call('PEXPIRE', key, milliseconds)
  call('PEXPIRE', members_key(key), milliseconds)
end

local function keep_latch(key)
  call('HDEL', key, 'forget_at')
  call('PERSIST', key)
  call('PERSIST', members_key(key))
end

-- What is known of a latch, without what it lets go.
local function load_latch(key)
  local fields = call('HMGET', key, 'rule', 'total', 'ok', 'not_ok', 'ticks', 'state', 'keep', 'broke', 'forced',
    'cancelled', 'lifted', 'broken_by', 'forget_at')
  local forget_at = tonumber(fields[13])
  if forget_at and forget_at <= now then
    drop_latch(key)
    fields = {}
  end
  return {
    rule = fields[1] or nil, total = tonumber(fields[2]), ok = tonumber(fields[3]) or 0, not_ok = tonumber(fields[4]) or 0,
    ticks = tonumber(fields[5]) or 0, state = fields[6] or 'OPEN', keep = tonumber(fields[7]) or DEFAULT_KEEP,
    broke = fields[8], forced = fields[9] == '1', cancelled = fields[10] == '1', lifted = fields[11] == '1',
    broken_by = fields[12] or '', forget_at = fields[13] and forget_at,
  }
end

local function save_latch(key, latch)
  call('HSET', key, 'ok', exact(latch.ok), 'not_ok', exact(latch.not_ok), 'ticks', exact(latch.ticks),
    'forced', latch.forced and '1' or '', 'cancelled', latch.cancelled and '1' or '', 'lifted', latch.lifted and '1' or '',
    'broken_by', latch.broken_by)
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

local LETTERS_OF = {OPEN = 'R', RELEASED = 'S', BROKEN = 'F'}

local function judge(id, key, latch)
  if not latch.rule or latch.state == 'RELEASED' then
    return
  end
  local state = latch.forced and 'BROKEN' or judged(latch.rule, latch.total, latch.ok, latch.not_ok)
  if state == latch.state then
    return
  end
  local more = call('HMGET', key, 'reply_to', 'envelope', 'on_break')
  tell(id, more[1] or '', LETTERS_OF[state], '', '', '', state == 'RELEASED')
  if state == 'OPEN' then
    call('HDEL', key, 'state')
    keep_latch(key)
    return
  end
  call('HSET', key, 'state', state)
  if state == 'RELEASED' then -- who has arrived does not matter any more
    call('UNLINK', members_key(key))
    call('HDEL', key, 'envelope', 'on_break')
    forget_latch(key, latch.keep)
    let_go(key, more[2])
    return
  end
  forget_latch(key, latch.keep)
  if not latch.broke and more[3] and more[3] ~= '' then
    call('HSET', key, 'broke', 1)
    let_go(key, more[3])
  end
end

local function keep_members(key, latch)
  if latch.forget_at then
    call('PEXPIRE', members_key(key), exact(math.max(1, math.ceil((latch.forget_at - now) * 1000))))
  end
end

-- Members have ended well, which is news of all but those that had before; whether there were any others. `latch` is
-- changed, not written.
local function count_ok(key, latch, numbers)
  local sets = {}
  for n = 1, #numbers do
    sets[4 * n - 3], sets[4 * n - 2], sets[4 * n - 1], sets[4 * n] = 'SET', 'u2', '#' .. numbers[n], 1
  end
  local is_news = false
  for _, was in ipairs(call('BITFIELD', members_key(key), unpack(sets))) do
    if was ~= 1 then
      is_news = true
      latch.ok = latch.ok + 1
      latch.not_ok = latch.not_ok - (was > 1 and 1 or 0)
    end
  end
  keep_members(key, latch)
  return is_news
end

-- Take in those of some members of whom that is news; whether there were any. `latch` is changed, not written.
local function count_members(key, latch, numbers, kind, job)
  local gets, sets, seen = {}, {}, {}
  for n = 1, #numbers do
    gets[3 * n - 2], gets[3 * n - 1], gets[3 * n] = 'GET', 'u2', '#' .. numbers[n]
  end
  local before = call('BITFIELD', members_key(key), unpack(gets))
  for n = 1, #numbers do
    local number, was = numbers[n], before[n]
    if seen[number] then
      was = seen[number]
    end
    local code = CODES[kind] or 0
    local is_news = was ~= 1 and (was == 0) == (code ~= 0) or was > 1 and code == 1
    if is_news then
      seen[number] = code
      sets[#sets + 1], sets[#sets + 2], sets[#sets + 3], sets[#sets + 4] = 'SET', 'u2', '#' .. number, code
      latch.ok = latch.ok + (code == 1 and 1 or 0)
      latch.not_ok = latch.not_ok + (code > 1 and 1 or 0) - (was > 1 and 1 or 0)
      if code > 1 then
        latch.lifted = false
        latch.broken_by = latch.broken_by ~= '' and latch.broken_by or job
      end
    end
  end
  if #sets > 0 then
    call('BITFIELD', members_key(key), unpack(sets))
    keep_members(key, latch)
  end
  return #sets > 0
end

local DEEPEST = 64 -- latches that lie in one another

-- A member lives again: then one of all latches in which its own lies lives again, too.
local function lift_around(key)
  for _ = 1, DEEPEST do
    local scope = call('HGET', key, 'scope')
    if not scope or scope == '' then
      return
    end
    key = latch_key(scope)
    local fields = call('HMGET', key, 'rule', 'state', 'forget_at')
    local forget_at = tonumber(fields[3])
    if not fields[1] or forget_at and forget_at <= now then
      return
    end
    if fields[2] == 'BROKEN' then
      call('HSET', key, 'lifted', '1')
    end
  end
end

local MEMBERS_AT_ONCE = 1000 -- members of which one command tells

-- Members of a latch have ended. `ticks`: how many more that are only counted.
local function arrive_all(id, numbers, ticks, kind, job)
  local key = latch_key(id)
  local latch = load_latch(key)
  local is_revived, is_news = kind == 'REVIVED', ticks > 0
  if is_revived then
    latch.forced, latch.cancelled, latch.lifted = false, false, true
    lift_around(key)
    is_news = true
  end
  latch.ticks = latch.ticks + (is_revived and -ticks or ticks)
  if latch.state ~= 'RELEASED' then
    for first = 1, #numbers, MEMBERS_AT_ONCE do
      local some = {unpack(numbers, first, math.min(first + MEMBERS_AT_ONCE - 1, #numbers))}
      if kind == 'OK' then
        is_news = count_ok(key, latch, some) or is_news
      else
        is_news = count_members(key, latch, some, kind, job) or is_news
      end
    end
  end
  if not is_news then
    return
  end
  if latch.not_ok == 0 and not latch.forced then
    latch.broken_by = ''
  end
  save_latch(key, latch)
  if not latch.rule and not latch.forget_at then
    forget_latch(key, UNKNOWN_KEPT)
  end
  judge(id, key, latch)
end

local function arrive(id, member, kind, job)
  member = tonumber(member)
  if member == TICK then
    arrive_all(id, {}, 1, kind, job)
  else
    arrive_all(id, {member}, 0, kind, job)
  end
end

-- Break a latch from outside; whether it could be.
local function break_latch(id, by, is_cancelled)
  local key = latch_key(id)
  local latch = load_latch(key)
  if not latch.rule or latch.state == 'RELEASED' then
    return false
  end
  latch.forced, latch.lifted = true, false
  latch.cancelled = latch.cancelled or is_cancelled
  latch.broken_by = latch.broken_by ~= '' and latch.broken_by or by
  save_latch(key, latch)
  judge(id, key, latch)
  return true
end

-- Keep latches for so many seconds from now, in whatever state they are.
local function expire_latches(ids, seconds)
  for _, id in ipairs(ids) do
    local key = latch_key(id)
    load_latch(key) -- one whose time is over is gone then
    if call('EXISTS', key) == 1 then
      forget_latch(key, seconds)
    end
  end
end

-- Read a list of none or one job from the arguments, packed; empty if there is none.
local function take_packed_job()
  local first, count = take_jobs()
  return count > 0 and cmsgpack.pack({unpack(ARGV, first, first + 3)}) or ''
end

local LATCH_FIELDS = 7 -- before the jobs of a latch among the arguments

-- Read a latch from the arguments: id, rule, total or '', keep, scope or '', data, whom to tell or '', and two jobs, each
-- a list of none or one.
local function publish_latch()
  local id, rule, total, keep, scope, data, reply_to = take(), take(), take(), take(), take(), take(), take()
  local key = latch_key(id)
  local envelope, on_break = take_packed_job(), take_packed_job()
  local latch = load_latch(key)
  if not latch.rule then
    keep_latch(key)
    call('HSET', key, 'rule', rule, 'keep', keep, 'scope', scope, 'data', data, 'reply_to', reply_to, 'envelope', envelope,
      'on_break', on_break)
    latch.rule, latch.keep, latch.forget_at = rule, tonumber(keep), nil
  elseif latch.total then
    return
  elseif total ~= '' then
    call('HSET', key, 'data', data)
  end
  if total ~= '' then
    call('HSET', key, 'total', total)
    latch.total = tonumber(total)
  end
  call('HSET', key, 'touched_at', exact(now))
  judge(id, key, latch)
end

-- Tell the latches of a job that is dropped unrun, or lives again. A member is latch, number, whether an OK is told there,
-- whether every end counts as OK there, and (if it is known) the job.
local function tell_members(members, kind)
  for _, member in ipairs(members) do
    local is_tolerant = member[4] and kind ~= 'REVIVED'
    arrive(member[1], member[2], is_tolerant and 'OK' or kind, member[5] or '')
  end
end

local function skip_members(members)
  tell_members(members, 'SKIPPED')
end

-- Read a publication from the arguments: has it a guard ('1' or ''), then cell, expects ('1' or '' for absent),
-- expected, becomes ('1' or ''), next, when that is due ('' for never); the jobs; how many latches, and these. Make it
-- real.
-- The answer is that of add_jobs; nil if the guard refused it.
local function publish_taken()
  local is_refused = false
  if take() ~= '' then
    is_refused = not move_cell(take())
  end
  local first, count = take_jobs()
  if is_refused then
    for _ = 1, take_number() do
      read_so_far = read_so_far + LATCH_FIELDS
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
