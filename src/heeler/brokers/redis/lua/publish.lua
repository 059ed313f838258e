-- Make jobs real.
-- Needs: start, jobs, wake, lines, publishing, answers
--
-- takes: session and number of the call ('' and '' where it needs no memory); the jobs (see publishing)
-- returns: of each job that was not made its number, letter and task

local session, number = take(), take()
local refused = remembered('publish', session, number)
if not refused then
  refused = add_jobs(ARGV, take_jobs())
  wake_and_arm()
end
remember('publish', session, number, refused) -- also of a repetition: only who has written can WAIT for replicas
return refused
