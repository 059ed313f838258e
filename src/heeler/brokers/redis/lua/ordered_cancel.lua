-- Mark jobs whose run is held, and end all others.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches, carried_ending
--
-- takes: ids
-- returns: of each what is unsent (see errands) if it is over by that; else 'C' (it was over, cancelled), 'R' (its
--          worker will be told), 'E' (it had ended otherwise), '' (unknown)

local answers = {}
free_first()
for n, id in ipairs(take_list()) do
  local job = job_of(id)
  if not job or not is_taken(job) then
    answers[n] = ''
  elseif is_over(job) then
    answers[n] = (job.letter == 'C' or job.letter == 'U') and 'C' or 'E'
  elseif has_expired(job) then
    answers[n] = 'E'
  elseif is_held(job) then
    job.cancelled = 1
    save(job)
    answers[n] = 'R'
  else
    answers[n] = unsent_of(end_unrun(job, 'cancelled before it started'))
  end
end
send_news()
return answers
