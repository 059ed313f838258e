-- Put dead letters back on their queues as new jobs.
-- Needs: start, jobs, wake, lines, news, burying
--
-- takes: how many; of each id, in how many seconds it expires (or ''), whom to tell
-- returns: how many went back

local count = 0
for _ = 1, take_number() do
  local id, expires_in, reply_to = take(), take_number(), take()
  local letter = letter_with(id)
  local there = stored(id)
  if letter and not letter.is_raw and not (there and letter_of(there) == 'L') then
    local head = head_of(letter.value, 1)
    if head then
      local place = -head[3] * LEVEL + call('INCR', P .. 'sequence')
      local value = struct.pack('<ddd', place, now, expires_in and now + expires_in or 0) .. 'L' .. letter.value
      drop_letter(id)
      call('SET', job_key(id), value)
      save_state(id, {epoch = letter.epoch, attempts = 0, crashes = 0})
      put_back(id, head[2], place, head[1])
      tell(id, reply_to, 'R', '', '', '')
      count = count + 1
    end
  end
end
wake_and_arm()
send_news()
return count
