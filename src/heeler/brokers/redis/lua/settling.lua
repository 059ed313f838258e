-- Part: ending jobs from which nothing follows, many at a time.
-- Needs: start, given, jobs, news, ended
-- Seldom: given, jobs, ended, settling_seldom

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
    ended = mark_of(value) .. ending.prefix .. string.sub(value, FROM) .. record
  end
  if ending.kept == 'R' then
    call('PSETEX', job_key(id), ending.ttl, ended)
  elseif ending.kept == 'N' then
    seldom().keep_value(id, seldom().reserved_value(value, ending.keep), ending.keep)
  else
    call('DEL', job_key(id))
  end
  if ending.status ~= '-' and ended then
    tell(id, reply_to, ending.status, '', '', ended, true)
  end
end

-- The answer is the set of those that were not ended, by their number; nil if all were.
local function end_plainly(queue, count, before)
  local first = read_so_far
  read_so_far = first + 5 * count
  local ids, keys, values = {}, {}, {}
  for n = 1, count do
    local id = ARGV[first + 5 * n - 4]
    ids[n] = id
    keys[n] = job_key(id)
  end
  in_parts(keys, function(...)
    for _, value in ipairs(call('MGET', ...)) do
      values[#values + 1] = value
    end
  end)
  local states = call('EXISTS', STATE) == 1 and seldom().states_of(ids)
  local seen, plain, plain_values, with_state, accepted = {}, {}, {}, {}, {}
  for n = 1, count do
    local id, value, state = ids[n], values[n], states and seldom().unpacked_state(states[n])
    local argument = first + 5 * n
    local ending = read_ending(ARGV[argument - 2])
    local is_held = not seen[id] and value and letter_of(value) == 'L' and mark_of(value) == ARGV[argument - 3]
    if state then
      is_held = is_held and state.held and state.epoch == ending.epoch
    else
      is_held = is_held and ending.epoch == 1
    end
    if is_held then
      seen[id] = true
      accepted[n] = ending
      if state then
        seldom().withdraw_held(id, queue, value, state)
        with_state[#with_state + 1] = id
      else
        plain[#plain + 1] = id
        plain_values[#plain] = value
      end
    end
  end
  if #plain == 0 then
    call('DEL', P) -- free_first of start: what is removed below is nothing
  end
  local removed = 0
  in_parts(plain, function(...) removed = removed + call('ZREM', leased(queue), ...) end)
  in_parts(with_state, function(...) call('HDEL', STATE, ...) end)
  local missing = removed < #plain and seldom().not_on_lease(plain, plain_values, queue) or nil
  local refused = nil
  for n = 1, count do
    local ending = accepted[n]
    if ending and not (missing and missing[ids[n]]) then
      local argument = first + 5 * n
      leave(ids[n], values[n], ending, ARGV[argument - 1], ARGV[argument])
    else
      refused = refused or {}
      refused[n] = true
      answers[#answers + 1] = tostring(before + n)
      answers[#answers + 1] = 'L'
    end
  end
  return refused
end
