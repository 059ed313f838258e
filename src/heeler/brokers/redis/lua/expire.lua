-- Keep the records of ended jobs, and latches, for so many seconds from now.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches, ended
--
-- takes: seconds, ids of jobs, ids of latches
-- returns: nothing

local seconds = take_number()
for _, id in ipairs(take_list()) do
  local beginning = call('GETRANGE', job_key(id), 0, FROM - 1) -- all that tells how it stands, however large it is
  if #beginning == FROM and letter_of(beginning) ~= 'L' and not is_over(beginning) then
    if seconds <= 0 then
      call('UNLINK', job_key(id))
    else
      call('SETRANGE', job_key(id), 8, struct.pack('<d', now + seconds))
      call('PEXPIRE', job_key(id), ttl(seconds))
    end
  end
end
expire_latches(take_list(), seconds)
return false
