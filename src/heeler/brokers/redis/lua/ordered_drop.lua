-- End jobs as CANCELLED that no worker has.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches, carried_ending
--
-- takes: the reason; how many; of each id, epoch, more and content (see given)
-- returns: of each what is unsent (see errands); '' for one that is over already, held, or has a later message

local reason = take()
local answers = {}
free_first()
for n = 1, take_number() do
  local id, epoch = take(), take_number()
  local job = known_or_added(id, epoch, take(), take())
  if is_over(job) or job.sent ~= epoch or is_held(job) then
    answers[n] = ''
  else
    answers[n] = unsent_of(end_unrun(job, reason))
  end
end
send_news()
return answers
