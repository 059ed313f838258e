-- Part: taking down jobs whose messages are to be sent.
-- Needs: start, given, register, carried_jobs

local to_send = {} -- id, epoch of the message, one after the other
local to_tell = {} -- of those whose message is not as it was given: number among the arguments, epoch, delay
local unasked = {} -- messages that were not among the arguments: id

local FRESH = state_bytes(new_job('', 1))

-- A job was taken down, so its message has to be sent; it is the `number`th of the arguments, or no argument.
local function will_send(job, number, given)
  if job.suspect or job.note then
    save_runs(job.id, {suspect = job.suspect, note = job.note})
  end
  to_send[#to_send + 1] = job.id
  to_send[#to_send + 1] = job.sent
  if not number then
    unasked[#unasked + 1] = job.id
  elseif job.sent ~= given or job.due_at > 0 then
    to_tell[#to_tell + 1] = number
    to_tell[#to_tell + 1] = job.sent
    to_tell[#to_tell + 1] = exact(math.max(0, job.due_at - now))
  end
end

-- The job that these strings describe.
local function job_given(strings, at)
  local job = new_job(strings[at], 1)
  if strings[at + 2] ~= '' then
    local due_at, expires_at, state = read_more(strings[at + 2])
    job.due_at, job.expires_at = due_at or 0, expires_at
    if state then
      job.sent, job.epoch, job.attempts, job.crashes = state.epoch + 1, state.epoch + 1, state.attempts, state.crashes
      job.suspect, job.note = state.suspect, state.note ~= '' and state.note or nil
    end
  end
  return job
end

-- Take down jobs, all or none; whether all ids were free.
local function add_new(strings, first, count, keys, is_argument)
  local sequence = call('INCRBY', P .. 'sequence', count) - count
  local values, jobs = {}, {}
  for n = 1, count do
    local at = first + 4 * n - 4
    local state = FRESH
    if not is_argument or strings[at + 2] ~= '' then
      jobs[n] = job_given(strings, at)
      state = state_bytes(jobs[n])
    end
    values[2 * n - 1] = keys[n]
    values[2 * n] = state .. struct.pack('<d', sequence + n) .. strings[at + 3]
  end
  if call('MSETNX', unpack(values)) == 0 then
    return false
  end
  enter(sequence + 1, keys)
  for n = 1, count do
    if jobs[n] then
      will_send(jobs[n], is_argument and n, jobs[n].sent)
    else
      to_send[#to_send + 1] = strings[first + 4 * n - 4]
      to_send[#to_send + 1] = 1
    end
  end
  return true
end

-- Take down jobs. The answer names those that were not: number, 'E' (there is such a job) or 'C' (there is another of
-- this id), and the task of the one that is there, one after the other.
local function add_jobs(strings, first, count)
  local refused = {}
  if count == 0 then
    return refused
  end
  local is_argument = strings == ARGV
  local keys = count <= AT_ONCE and keys_of(strings, first, count)
  if keys and add_new(strings, first, count, keys, is_argument) then
    return refused
  end
  for n = 1, count do
    local at = first + 4 * n - 4
    local there = job_of(strings[at])
    if there and is_taken(there) then
      local known, new = head_of(content_of(there), 1) or {'', '', 0, 0, false, '', '', {}}, head_of(strings[at + 3], 1)
      local is_other = new[6] ~= '' and (new[6] ~= known[6] or new[1] ~= known[1])
      refused[#refused + 1] = tostring(n)
      refused[#refused + 1] = is_other and 'C' or 'E'
      refused[#refused + 1] = known[1]
    else
      local job = job_given(strings, at)
      local given = job.sent
      if there then -- messages of the earlier job with this id must not be taken for this one's
        job.sent = math.max(job.sent, there.epoch + 1)
        job.epoch = job.sent
        job.owed = there.owed + 1 - there.acknowledged -- its last message may come again
      end
      add(job, strings[at + 3])
      will_send(job, is_argument and n, given)
    end
  end
  return refused
end

-- Latches keep what they let go; what is damaged there cannot be sent.
local function bury_raw(id, _, _, _, reason)
  redis.log(redis.LOG_WARNING, 'heeler: ' .. P .. id .. ': ' .. reason)
end
