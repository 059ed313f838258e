-- Drop the records of ended jobs; ids that callers gave stay taken.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches, carried_ending
--
-- takes: ids
-- returns: how many records there were

local count = 0
for _, id in ipairs(take_list()) do
  local job = job_of(id)
  if job and is_over(job) and job.letter ~= 'N' and is_taken(job) then
    count = count + 1
    local content = content_of(job)
    local head = head_of(content, 1)
    if not head or head[6] == '' then
      content, job.till = '', 0
    end
    call('SET', job_key(id), ended(job, 'N', reserved(content), ''), 'KEEPTTL')
  end
end
return count
