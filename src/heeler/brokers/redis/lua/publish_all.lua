-- Make a publication real: `publish` where it has a guard or latches.
-- Needs: start, jobs, wake, lines, burying, publishing, latches, answers
--
-- takes: session and number of the call ('' and '' where it needs no memory); the publication (see latches)
-- returns: of each job that was not made its number, letter and task (see publishing); {'R'} if the guard refused

local session, number = take(), take()
local refused = remembered('publish', session, number)
if not refused then
  refused = publish_taken() or {'R'}
  wake_and_arm()
end
remember('publish', session, number, refused) -- also of a repetition: only who has written can WAIT for replicas
return refused
