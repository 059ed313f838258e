-- Jobs by the register, the one published last first.
-- Needs: start, given, jobs, register, walking
--
-- takes: N of the page on which to go on (or '': the last), the number of the entry before which to go on there (or ''),
--        the id after which to begin instead (or ''); how many to look at, how many to find; letters of jobs that are
--        wanted (see jobs); of those that live only 'W' running or 'D' scheduled ones (or ''); queue (or ''), task (or
--        ''); a moment (or ''): pages on which all were entered before are not looked at
-- returns: nothing if the id is not known; else where to go on, N and number ('' and '' at the end), and ids

local page, before, after = take_number(), take_number(), take()
local look, find, letters, live, queue, task, moment = take_number(), take_number(), take(), take(), take(), take(), take_number()

-- The sequence number that a stored job was given when it was published.
local function first_number(value)
  local place = #value >= 8 and struct.unpack('<d', value) or 0
  return place - math.floor(place / LEVEL) * LEVEL
end

if after ~= '' then
  local value = stored(after)
  if not value then
    return false
  end
  page = math.floor(first_number(value) / ON_A_PAGE)
end

local function is_wanted(id, number)
  local value = call('GETRANGE', job_key(id), 0, FIRST_BYTES - 1)
  if #value < FROM or math.floor(first_number(value) / ON_A_PAGE) ~= number or is_over(value) then
    return false
  end
  local letter = letter_of(value)
  local is_alive = letter == 'L'
  local expires_at = is_alive and expiry_of(value) or 0
  if expires_at ~= 0 and expires_at <= now and string.find(letters, 'F', 1, true) then
    letter, is_alive = 'F', false -- unless it began in time: its record tells who reads it
  end
  if not string.find(letters, letter, 1, true) then
    return false
  end
  if queue == '' and task == '' and not (is_alive and live == 'D') then
    return not (is_alive and live == 'W') or (state_of(id) or {}).reported
  end
  local head = head_of(value, FROM) or head_of_stored(call('GET', job_key(id)))
  if (queue ~= '' and head[2] ~= queue) or (task ~= '' and head[1] ~= task) then
    return false
  end
  local state = is_alive and live ~= '' and state_of(id) or nil
  if is_alive and live == 'W' then
    return state and state.reported
  end
  return not (is_alive and live == 'D') or call('ZSCORE', due(head[2]), due_member(id, place_of(value, state)))
end

return look_through(page, before, after, look, find, moment, is_wanted)
