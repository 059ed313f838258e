-- Make a publication real, whatever it has: `publish` where it may be a repetition, or has ids that may be taken, jobs
-- with times or a history, latches, a guard.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches, answers
--
-- takes: session and number of the call ('' and '' where it needs no memory); the publication (see latches)
-- returns: of each job that was not made its number, letter and task (see publishing); {'R'} if the guard refused

local session, number = take(), take()
local refused = remembered('publish', session, number)
if not refused then
  refused = publish_taken() or {'R'}
  wake_and_arm()
  send_news()
end
remember('publish', session, number, refused) -- also of a repetition: only who has written can WAIT for replicas
return refused
