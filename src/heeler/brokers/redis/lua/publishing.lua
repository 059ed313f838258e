-- Part: making jobs real, by a publication, as follow-ups, or because a latch lets them go.
-- Needs: start, jobs, wake, lines
--
-- A job to be made is four strings:
--   id
--   place      'PRIORITY LENGTH ' .. queue .. task, LENGTH being that of the queue's name
--   more       empty, or 'DELAY RUN_AT EXPIRES_IN EXPIRES_AT EPOCH ATTEMPTS CRASHES SUSPECT NOTE', '-' for what is
--              absent; the note is the rest and may be anything
--   content    what is stored: lengths, head, envelope

local places = {}
local function read_place(text)
  local place = places[text]
  if not place then
    local priority, length, from = string.match(text, '^(%S+) (%d+) ()')
    place = {
      base = -tonumber(priority) * LEVEL,
      queue = string.sub(text, from, from + length - 1),
      task = string.sub(text, from + length),
    }
    places[text] = place
  end
  return place
end

local function read_more(more)
  local delay, run_at, expires_in, expires_at, epoch, attempts, crashes, suspect, note =
    string.match(more, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  delay, run_at, expires_in, expires_at = tonumber(delay), tonumber(run_at), tonumber(expires_in), tonumber(expires_at)
  local due_at = run_at
  if delay and (not due_at or now + delay > due_at) then
    due_at = now + delay
  end
  if expires_in and (not expires_at or now + expires_in < expires_at) then
    expires_at = now + expires_in
  end
  local state = nil
  if epoch ~= '-' then
    state = {epoch = tonumber(epoch), attempts = tonumber(attempts), crashes = tonumber(crashes), note = note}
    if suspect == '1' then
      state.suspect = true
    end
  end
  return due_at and due_at > now and due_at or nil, expires_at or 0, state
end

-- Read a list of jobs from the arguments: the number of the first argument and how many jobs there are. The functions
-- below take jobs in this form, as a part of a table of strings.
local function take_jobs()
  local count = take_number()
  local first = read_so_far + 1
  read_so_far = read_so_far + 4 * count
  return first, count
end

-- The keys of jobs; nil if two of them have one id, or one has that of a job that is known.
local function free_keys(strings, first, count)
  local keys, seen, known = {}, {}, 0
  for n = 1, count do
    local id = strings[first + 4 * n - 4]
    if seen[id] then
      return nil
    end
    seen[id] = true
    keys[n] = job_key(id)
  end
  in_parts(keys, function(...) known = known + call('EXISTS', ...) end)
  return known == 0 and keys or nil
end

local NEVER = struct.pack('<d', 0)
local NOW = struct.pack('<d', now)

-- Store jobs whose ids are free and put them in line.
local function add_new(strings, first, count, keys)
  local sequence = call('INCRBY', P .. 'sequence', count) - count
  local values, lines = {}, {}
  for n = 1, count do
    local at = first + 4 * n - 4
    local id, place, more = strings[at], read_place(strings[at + 1]), strings[at + 2]
    local queue, score, since, expires, due_at = place.queue, place.base + sequence + n, NOW, NEVER, nil
    if more ~= '' then
      local expires_at, state
      due_at, expires_at, state = read_more(more)
      expires = struct.pack('<d', expires_at)
      if due_at then
        since = struct.pack('<d', due_at)
      end
      if state then
        save_state(id, state)
      end
    end
    values[2 * n - 1] = keys[n]
    values[2 * n] = struct.pack('<d', score) .. since .. expires .. 'L' .. strings[at + 3]
    if due_at then
      schedule(id, queue, score, due_at)
    else
      local line = lines[place]
      if not line then
        line = {}
        lines[place] = line
      end
      line[#line + 1] = score
      line[#line + 1] = id
    end
  end
  in_parts(values, function(...) call('MSET', ...) end)
  for place, line in pairs(lines) do
    call('SADD', P .. 'queues', place.queue)
    in_parts(line, function(...) call('ZADD', waiting(place.queue), ...) end)
    new_work(place.queue, #line / 2, place.task)
  end
end

-- Make jobs real. The answer names those that were not: number, 'E' (there is such a job) or 'C' (there is another of
-- this id), and the task of the one that is there, one after the other.
local function add_jobs(strings, first, count)
  local refused = {}
  if count == 0 then
    return refused
  end
  local keys = free_keys(strings, first, count)
  if keys then
    add_new(strings, first, count, keys)
    return refused
  end
  for n = 1, count do
    local at = first + 4 * n - 4
    local value = stored(strings[at])
    if value then
      local there, new = head_of_stored(value), head_of(strings[at + 3], 1)
      local is_other = new[6] ~= '' and (new[6] ~= there[6] or new[1] ~= there[1])
      refused[#refused + 1] = tostring(n)
      refused[#refused + 1] = is_other and 'C' or 'E'
      refused[#refused + 1] = there[1]
    else
      add_new(strings, at, 1, {job_key(strings[at])})
    end
  end
  return refused
end
