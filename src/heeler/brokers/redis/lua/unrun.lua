-- Part: ending jobs that are not to run (any more).
-- Needs: start, given, jobs, news, ended

-- End a job that no worker has, and that stands in no line any more. The answer is whom the caller is to tell, as
-- `skip_members` of latches takes it.
local function end_unrun(id, value, state, reason)
  local head = head_of_stored(value)
  local keep, keeps_result, is_reserved = head[4], head[5], head[6] ~= ''
  local tail = known(state)
  table.insert(tail, 1, exact(now))
  table.insert(tail, 1, reason)
  local ended = mark_of(value) .. ended_prefix('U', keep) .. string.sub(value, FROM) .. framed(tail)
  if keep > 0 and keeps_result then
    keep_value(id, ended, keep)
  elseif keep > 0 and is_reserved then
    keep_value(id, reserved_value(value, keep), keep)
  else
    call('DEL', job_key(id))
  end
  call('HDEL', STATE, id)
  tell(id, head[7], 'C', '', '', ended, true)
  return members_of(head, id)
end
