-- Part: making jobs real, by a publication, as follow-ups, or because a latch lets them go.
-- Needs: start, jobs, wake
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

local function schedule(id, queue, place, at)
  call('ZADD', due(queue), exact(at), due_member(id, place))
  to_arm[queue] = true
end

local function take_jobs()
  local jobs = {}
  for n = 1, take_number() do
    jobs[n] = {take(), take(), take(), take()}
  end
  return jobs
end

-- Store jobs whose ids are free and put them in line.
local function add_new(jobs)
  local sequence = call('INCRBY', P .. 'sequence', #jobs) - #jobs
  local values, lines, plain = {}, {}, struct.pack('<d', now)
  for n = 1, #jobs do
    local job = jobs[n]
    local place = read_place(job[2])
    local queue = place.queue
    local score = place.base + sequence + n
    local since, expires = plain, '\0\0\0\0\0\0\0\0'
    local due_at = nil
    if job[3] ~= '' then
      local expires_at, state
      due_at, expires_at, state = read_more(job[3])
      expires = struct.pack('<d', expires_at)
      if due_at then
        since = struct.pack('<d', due_at)
      end
      if state then
        save_state(job[1], state)
      end
    end
    values[2 * n - 1] = job_key(job[1])
    values[2 * n] = struct.pack('<d', score) .. since .. expires .. 'L' .. job[4]
    local line = lines[queue]
    if not line then
      line = {}
      lines[queue] = line
    end
    if due_at then
      schedule(job[1], queue, score, due_at)
    else
      line[#line + 1] = score
      line[#line + 1] = job[1]
      new_work(queue, 1, place.task)
    end
  end
  in_parts(values, function(...) call('MSET', ...) end)
  for queue, line in pairs(lines) do
    call('SADD', P .. 'queues', queue)
    in_parts(line, function(...) call('ZADD', waiting(queue), ...) end)
  end
end

-- Whether no two of the jobs have one id, and none has that of a job that is known.
local function are_all_new(jobs)
  local keys, seen = {}, {}
  for n = 1, #jobs do
    local id = jobs[n][1]
    if seen[id] then
      return false
    end
    seen[id] = true
    keys[n] = job_key(id)
  end
  local known = 0
  in_parts(keys, function(...) known = known + call('EXISTS', ...) end)
  return known == 0
end

-- Make jobs real. The answer names those that were not: number, 'E' (there is such a job) or 'C' (there is another of
-- this id), and the task of the one that is there, one after the other.
local function add_jobs(jobs)
  local refused = {}
  if #jobs == 0 then
    return refused
  end
  if are_all_new(jobs) then
    add_new(jobs)
    return refused
  end
  for n, job in ipairs(jobs) do
    local value = stored(job[1])
    if value then
      local there, new = head_of_stored(value), head_of(job[4], 1)
      local is_other = new[6] ~= '' and (new[6] ~= there[6] or new[1] ~= there[1])
      refused[#refused + 1] = tostring(n)
      refused[#refused + 1] = is_other and 'C' or 'E'
      refused[#refused + 1] = there[1]
    else
      add_new({job})
    end
  end
  return refused
end
