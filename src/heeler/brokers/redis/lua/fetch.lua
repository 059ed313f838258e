-- Lease jobs, or lie down where there are none.
-- Needs: start, given, jobs, wake, lines
--
-- takes: lease in seconds; how many (0: only look, and if it sleeps, a job may come with the wake-up); how many bytes of bodies; address of the sleeper; does it sleep or have an alarm
--        ('1' or ''); an origin (any new name); queues; their weights, or none for strict order; credits from the
--        last fetch (as many); tasks to pass over
-- returns: the time; 'W' (there is or may be more), 'S' (asleep now) or '' (took some); in how many seconds to wake
--          by oneself (or ''); the origin of the data; credits; how many jobs had lost their content; how many are
--          cancelled, and their ids: leased, but only to be ended by `drop`; then of each leased job what is stored, and 'EPOCH ATTEMPTS CRASHES SUSPECT NOTE' (empty on the first lease)
--
-- origin  (string) made with the first fetch: another one tells that all data were lost

local BROUGHT_BACK = 1000 -- due jobs and lost leases of a queue that one call lets wait again
local LOOKED_AT = 2000 -- jobs that one call may put aside

local lease, limit, max_bytes = take_number(), take_number(), take_number()
local address, was_asleep, new_origin = take(), take() ~= '', take()
local queues, weights, credits, skipped = take_list(), take_list(), take_list(), take_list()
local is_look = limit == 0
local wanted = is_look and 1 or limit

free_first()
local origin = call('GET', P .. 'origin')
if not origin then
  origin = new_origin
  call('SET', P .. 'origin', origin)
end

local skips = {}
for _, task in ipairs(skipped) do
  skips[task] = true
end

local may_be_more = false

-- The next jobs of a line that needs no look at their tasks.
local function load_line(source, count)
  local found = call('ZRANGE', waiting(source.queue), source.loaded, source.loaded + count - 1)
  for _, id in ipairs(found) do
    source.ids[#source.ids + 1] = id
  end
  source.loaded = source.loaded + #found
  return #found
end

-- Put jobs of skipped tasks aside and merge what is left with the sides that are not skipped.
local function load_around(source)
  local queue = source.queue
  local jobs, kept, looked = {}, 0, 0
  while #skipped > 0 and kept < wanted do
    local found = call('ZRANGE', waiting(queue), kept, kept + 127, 'WITHSCORES')
    if #found == 0 then
      break
    end
    for n = 1, #found, 2 do
      local id = found[n]
      local value = call('GET', job_key(id))
      local task = value and task_of(value)
      if task and skips[task] then
        call('ZREM', waiting(queue), id)
        call('ZADD', side(queue, task), found[n + 1], id)
        call('SADD', sides(queue), task)
      else
        kept = kept + 1
      end
    end
    looked = looked + #found / 2
    if looked >= LOOKED_AT then
      may_be_more = true
      break
    end
  end
  local lines = {[waiting(queue)] = #skipped > 0 and kept or wanted} -- how many may be taken from the front of each
  for _, task in ipairs(call('SMEMBERS', sides(queue))) do
    if call('EXISTS', side(queue, task)) == 0 then
      call('SREM', sides(queue), task)
    elseif skips[task] then
      new_work(queue, 1, task) -- for others
    else
      lines[side(queue, task)] = wanted
    end
  end
  for line, most in pairs(lines) do
    local found = most > 0 and call('ZRANGE', line, 0, math.min(most, wanted) - 1, 'WITHSCORES') or {}
    for n = 1, #found, 2 do
      jobs[#jobs + 1] = {found[n], tonumber(found[n + 1]), line}
    end
  end
  table.sort(jobs, function(a, b) return a[2] < b[2] end)
  source.line_of = {}
  for n = 1, math.min(#jobs, wanted) do
    source.ids[n] = jobs[n][1]
    source.line_of[n] = jobs[n][3]
  end
end

local sources = {}
for n, queue in ipairs(queues) do
  if call('SISMEMBER', P .. 'paused', queue) == 0 then
    if bring_back(queue, BROUGHT_BACK) >= BROUGHT_BACK then
      may_be_more = true
    end
    local source = {number = n, queue = queue, ids = {}, values = {}, states = {}, loaded = 0, read = 0, taken = 0}
    if #skipped > 0 or call('EXISTS', sides(queue)) == 1 then
      load_around(source)
    end
    sources[#sources + 1] = source
  end
end

local has_states = call('EXISTS', STATE) == 1 -- now that lost leases have theirs

-- Whether the source has a next job, which is read then. Values are read in growing portions, so that large ones
-- which do not fit are not read for nothing.
local portion = 8
local function has_next(source)
  if source.taken < source.read then
    return true
  end
  local count = math.min(portion, wanted)
  if not source.line_of then
    count = load_line(source, count)
  else
    count = math.min(count, #source.ids - source.read)
  end
  if count == 0 then
    return false
  end
  portion = math.min(portion * 2, 256)
  local keys, ids = {}, {}
  for n = 1, count do
    ids[n] = source.ids[source.read + n]
    keys[n] = job_key(ids[n])
  end
  local values = call('MGET', unpack(keys))
  local states = has_states and call('HMGET', STATE, unpack(ids)) or {}
  for n = 1, count do
    source.values[source.read + n] = values[n]
    source.states[source.read + n] = states[n]
  end
  source.read = source.read + count
  return true
end

-- The source of the next job: the first that has one, or by weight as nginx's smooth weighted round robin chooses.
local function choose()
  if #weights == 0 then
    for _, source in ipairs(sources) do
      if has_next(source) then
        return source
      end
    end
    return nil
  end
  local best, best_credit = nil, nil
  for _, source in ipairs(sources) do
    if has_next(source) then
      local credit = credits[source.number] + weights[source.number]
      if not best or credit > best_credit then
        best, best_credit = source, credit
      end
    end
  end
  return best
end

local function charge(chosen)
  for _, source in ipairs(sources) do
    if source == chosen or has_next(source) then
      local weight = weights[source.number]
      credits[source.number] = credits[source.number] + weight
      credits[chosen.number] = credits[chosen.number] - weight
    end
  end
end

local jobs, cancelled, lost = {}, {}, 0
local until_ = exact(now + lease)
local is_work = false
while wanted > 0 and max_bytes >= 0 do
  local source = choose()
  if not source then
    break
  end
  if is_look then
    is_work = true
    break
  end
  local n = source.taken + 1
  local id, value, state = source.ids[n], source.values[n], unpacked_state(source.states[n])
  if #weights > 0 and value and not (state and state.cancelled) then
    charge(source)
  end
  source.taken = n
  if not value or is_over(value) then
    lost = lost + 1
    call('HDEL', STATE, id)
  elseif state and state.cancelled then
    cancelled[#cancelled + 1] = id
    source.leases = source.leases or {}
    source.leases[#source.leases + 1] = until_
    source.leases[#source.leases + 1] = id
  else
    local history = ''
    if state then
      if state.held then
        state.suspect = true
        state.crashes = state.crashes + (state.started and 1 or 0)
        state.started, state.reported = nil, nil
      end
      state.held = true
      state.epoch = state.epoch + 1
      save_state(id, state)
      history = string.format('%d %d %d %d ', state.epoch, state.attempts, state.crashes, state.suspect and 1 or 0)
        .. (state.note or '')
    end
    jobs[#jobs + 1] = value
    jobs[#jobs + 1] = history
    source.leases = source.leases or {}
    source.leases[#source.leases + 1] = until_
    source.leases[#source.leases + 1] = id
    max_bytes = max_bytes - (#value >= FROM + 7 and select(2, struct.unpack('<I4I4', value, FROM)) or 0)
    wanted = wanted - 1
  end
end

for _, source in ipairs(sources) do
  if source.taken > 0 then
    if source.line_of then
      for n = 1, source.taken do
        call('ZREM', source.line_of[n], source.ids[n])
      end
    else
      call('ZREMRANGEBYRANK', waiting(source.queue), 0, source.taken - 1)
    end
    if source.leases then
      in_parts(source.leases, function(...) call('ZADD', leased(source.queue), ...) end)
      to_arm[source.queue] = true
    end
  end
  if sleeps_anybody() and not is_look then
    local left = call('ZCARD', waiting(source.queue)) -- for others
    if left > 0 then
      new_work(source.queue, left)
    end
  end
end

local sleep, wake_in = '', ''
if #jobs > 0 or is_work then
  if was_asleep then
    sleeping().get_up(address, queues)
  end
  wake_and_arm()
  sleep = is_work and 'W' or ''
else
  wake_and_arm()
  if may_be_more or #cancelled > 0 then
    sleep = 'W'
  else
    local seconds = sleeping().lie_down(address, queues, #skipped > 0 and skipped or false, is_look and lease)
    sleep, wake_in = 'S', seconds and exact(seconds) or ''
  end
end

local reply = {exact(now), sleep, wake_in, origin, table.concat(credits, ' '), exact(lost), exact(#cancelled)}
for n = 1, #cancelled do
  reply[#reply + 1] = cancelled[n]
end
for n = 1, #jobs do
  reply[#reply + 1] = jobs[n]
end
return reply
