-- Keep what is known of jobs that are over, and latches, for so many seconds from now.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches, carried_ending
--
-- takes: seconds, ids of jobs, ids of latches
-- returns: nothing

local seconds = take_number()
for _, id in ipairs(take_list()) do
  local job = job_of(id)
  if job and is_over(job) and is_taken(job) then
    -- That it is over is known for longer where its message may still come.
    local left = call('PTTL', job_key(id)) / 1000
    local kept = left > job.till - now + 1 and left or ENDS_KEPT
    job.till = now + seconds
    save(job)
    call('PEXPIRE', job_key(id), ttl(math.max(seconds, kept)))
  end
end
expire_latches(take_list(), seconds)
return false
