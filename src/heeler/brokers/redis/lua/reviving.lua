-- Part: jobs that had ended and are new again.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches

-- Put a job on its queue with its counters at zero. `content` is what its producer wrote; whether that can be read.
local function live_again(id, content, epoch, expires_in, reply_to)
  local head = head_of(content, 1)
  if not head then
    return false
  end
  local number = call('INCR', P .. 'sequence')
  local place = -head[3] * LEVEL + number
  local value = struct.pack('<ddd', place, now, expires_in and now + expires_in or 0) .. 'L' .. content
  drop_letter(id)
  call('SET', job_key(id), value)
  enter(number, {job_key(id)})
  save_state(id, {epoch = epoch, attempts = 0, crashes = 0})
  put_back(id, head[2], place, head[1])
  tell(id, reply_to, 'R', '', '', '')
  tell_members(members_of(head, id), 'REVIVED')
  return true
end
