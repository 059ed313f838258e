-- Jobs whose messages travel elsewhere by the register, the one published last first.
-- Needs: start, given, register, walking, carried_jobs
--
-- takes: as `listed`
-- returns: as `listed`

local page, before, after = take_number(), take_number(), take()
local look, find, letters, live, queue, task, moment = take_number(), take_number(), take(), take(), take(), take(), take_number()

if after ~= '' then
  local job = job_of(after)
  if not job or not is_taken(job) or job.letter == 'N' then
    return false
  end
  page = math.floor(job.number / ON_A_PAGE)
end

local function is_wanted(id, number)
  local value = call('GETRANGE', job_key(id), 0, FIRST_BYTES - 1)
  local job = job_in(id, value)
  local letter = job and (job.letter == 'B' and 'L' or job.letter)
  if not job or math.floor(job.number / ON_A_PAGE) ~= number or not is_taken(job) then
    return false
  end
  if has_expired(job) then
    letter = 'F'
  end
  if not string.find(letters, letter, 1, true) then
    return false
  end
  if letter == 'L' and ((live == 'W' and not (job.reported == 1 and is_held(job))) or (live == 'D' and job.due_at <= now)) then
    return false
  end
  if queue == '' and task == '' then
    return true
  end
  local head = head_of(value, FROM) or head_of(content_of(job), 1)
  return head and (queue == '' or head[2] == queue) and (task == '' or head[1] == task)
end

return look_through(page, before, after, look, find, moment, is_wanted)
