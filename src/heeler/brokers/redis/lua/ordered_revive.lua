-- Dead letters start anew.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches, carried_ending
--
-- takes: how many; of each id, epoch, in how many seconds it expires (or ''), whom to tell (or ''), content (see given)
-- returns: of each the epoch of its new message, '' for one that is alive

local answers = {}
free_first()
for n = 1, take_number() do
  local id, epoch, expires_in, reply_to, content = take(), take_number(), take(), take(), take()
  local there = job_of(id)
  if there and not is_over(there) then
    answers[n] = ''
  else
    local job = new_job(id, math.max(epoch, there and there.epoch or 0) + 1)
    job.expires_at = expires_in ~= '' and now + tonumber(expires_in) or 0
    job.owed = there and there.owed + 1 - there.acknowledged or 0
    add(job, content)
    drop_runs(id)
    tell(id, reply_to, 'R', '', '', '')
    owe('r' .. exact(job.sent) .. '/' .. id, '', {id, job.sent}, '', UNACKNOWLEDGED_KEPT)
    begin_errand()
    local head = head_of(content, 1)
    if head then
      tell_members(members_of(head, id), 'REVIVED')
    end
    if #to_send > 0 then -- a latch that was broken from outside is whole after all: who looks for errands sends that
      owe('p/' .. id .. '/' .. exact(job.sent), '', to_send, '', UNACKNOWLEDGED_KEPT)
    end
    answers[n] = exact(job.sent)
  end
end
send_news()
return answers
