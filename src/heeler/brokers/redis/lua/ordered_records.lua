-- What is known of jobs whose messages travel elsewhere.
-- Needs: start, given, news, register, carried_jobs
--
-- takes: ids; address that from now on is to hear of them (or '')
-- returns: of each id what is stored (or ''), when it starts next (or ''), '1' if its run was announced, 'X' and when
--          if it has expired (or ''), and what else is known of it, framed (or '')

local ids, address = take_list(), take()
local answers = {}
for _, id in ipairs(ids) do
  if address ~= '' then
    watch(id, address)
  end
  local value = call('GET', job_key(id))
  local job = job_in(id, value)
  local next_at, phase, more = '', '', ''
  if not job or not is_taken(job) then
    value = ''
  elseif not is_over(job) then
    if job.due_at > now then
      next_at = exact(job.due_at)
    end
    phase = job.reported == 1 and is_held(job) and '1' or has_expired(job) and 'X' .. exact(job.expires_at) or ''
    more = framed(known(seen_of(job)))
  end
  answers[#answers + 1] = value
  answers[#answers + 1] = next_at
  answers[#answers + 1] = phase
  answers[#answers + 1] = more
end
if address ~= '' then
  call('EXPIRE', WATCHED, 86400) -- what dead processes left there goes at last
end
return answers
