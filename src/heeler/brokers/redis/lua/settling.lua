-- Part: ending jobs from which nothing follows, many at a time.
-- Needs: start, jobs, news, ended

local answers = {} -- of each delivery that was not ended its number and 'L' or 'I'

local endings = {}
local function read_ending(text)
  local ending = endings[text]
  if not ending then
    local epoch, keep, status, kept = string.match(text, '^(%S+) (%S+) (%S+) (%S+)$')
    keep = tonumber(keep)
    ending = {
      epoch = tonumber(epoch), keep = keep, status = status, kept = kept, prefix = ended_prefix(status, keep),
      ttl = ttl(keep),
    }
    endings[text] = ending
  end
  return ending
end

local function leave(id, value, ending, reply_to, record)
  local ended = nil
  if ending.kept == 'R' or (ending.status ~= '-' and (reply_to ~= '' or watchers(id))) then
    ended = ending.prefix .. string.sub(value, FROM) .. record
  end
  if ending.kept == 'R' then
    call('SET', job_key(id), ended, 'PX', ending.ttl)
  elseif ending.kept == 'N' then
    keep_value(id, reserved_value(value, ending.keep), ending.keep)
  else
    call('DEL', job_key(id))
  end
  if ending.status ~= '-' and ended then
    tell(id, reply_to, ending.status, '', '', ended, true)
  end
end

local function end_plainly(queue, count, before)
  local first = read_so_far
  read_so_far = first + 5 * count
  local ids, keys, leases, values = {}, {}, {}, {}
  for n = 1, count do
    local id = ARGV[first + 5 * n - 4]
    ids[n] = id
    keys[n] = job_key(id)
  end
  in_parts(ids, function(...)
    for _, score in ipairs(call('ZMSCORE', leased(queue), ...)) do
      leases[#leases + 1] = score
    end
  end)
  in_parts(keys, function(...)
    for _, value in ipairs(call('MGET', ...)) do
      values[#values + 1] = value
    end
  end)
  local states = states_of(ids) or {}
  local seen, gone, with_state = {}, {}, {}
  for n = 1, count do
    local id, value, state = ids[n], values[n], unpacked_state(states[n])
    local argument = first + 5 * n
    local ending = read_ending(ARGV[argument - 2])
    local is_held = leases[n] and true
    if state then
      is_held = state.held and state.epoch == ending.epoch
    elseif ending.epoch ~= 1 then
      is_held = false
    end
    if seen[id] or not is_held or not value or letter_of(value) ~= 'L' or mark_of(value) ~= ARGV[argument - 3] then
      answers[#answers + 1] = tostring(before + n)
      answers[#answers + 1] = 'L'
    else
      seen[id] = true
      if leases[n] then
        gone[#gone + 1] = id
      else
        withdraw(id, queue, task_of(value), place_of(value, state))
      end
      if state then
        with_state[#with_state + 1] = id
      end
      leave(id, value, ending, ARGV[argument - 1], ARGV[argument])
    end
  end
  in_parts(gone, function(...) call('ZREM', leased(queue), ...) end)
  in_parts(with_state, function(...) call('HDEL', STATE, ...) end)
end
