-- Part: making jobs real, by a publication, as follow-ups, or because a latch lets them go.
-- Needs: start, given, jobs, wake, lines, register

local NEVER = struct.pack('<d', 0)
local NOW = struct.pack('<d', now)

local function put_aside(job)
  if job.state then
    save_state(job.id, job.state)
  end
  if job.due_at then
    call('SADD', P .. 'queues', job.queue)
    schedule(job.id, job.queue, job.score, job.due_at)
  end
end

-- Store jobs and put them in line, all or none; whether all ids were free.
local function add_new(strings, first, count, keys)
  local sequence = call('INCRBY', P .. 'sequence', count) - count
  local values, lines, aside = {}, {}, {}
  for n = 1, count do
    local at = first + 4 * n - 4
    local place, more = read_place(strings[at + 1]), strings[at + 2]
    local score, since, expires, due_at = place.base + sequence + n, NOW, NEVER, nil
    if more ~= '' then
      local expires_at, state
      due_at, expires_at, state = read_more(more)
      expires = struct.pack('<d', expires_at)
      if due_at then
        since = struct.pack('<d', due_at)
      end
      aside[#aside + 1] = {id = strings[at], queue = place.queue, score = score, due_at = due_at, state = state}
    end
    values[2 * n - 1] = keys[n]
    values[2 * n] = struct.pack('<d', score) .. since .. expires .. 'L' .. strings[at + 3]
    if not due_at then
      local line = lines[place]
      if not line then
        line = {}
        lines[place] = line
      end
      line[#line + 1] = score
      line[#line + 1] = strings[at]
    end
  end
  if call('MSETNX', unpack(values)) == 0 then
    return false
  end
  enter(sequence + 1, keys)
  for _, job in ipairs(aside) do
    put_aside(job)
  end
  for place, line in pairs(lines) do
    call('SADD', P .. 'queues', place.queue)
    call('ZADD', waiting(place.queue), unpack(line))
    new_work(place.queue, #line / 2, place.task)
  end
  return true
end

-- Make jobs real. The answer names those that were not: number, 'E' (there is such a job) or 'C' (there is another of
-- this id), and the task of the one that is there, one after the other.
local function add_jobs(strings, first, count)
  local refused = {}
  if count == 0 then
    return refused
  end
  local keys = count <= AT_ONCE and keys_of(strings, first, count)
  if keys and add_new(strings, first, count, keys) then
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
      call('DEL', job_key(strings[at])) -- what is kept there is over
      add_new(strings, at, 1, {job_key(strings[at])})
    end
  end
  return refused
end
