-- Put dead letters back on their queues as new jobs.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches, reviving
--
-- takes: how many; of each id, in how many seconds it expires (or ''), whom to tell
-- returns: how many went back

local count = 0
for _ = 1, take_number() do
  local id, expires_in, reply_to = take(), take_number(), take()
  local letter = letter_with(id)
  local there = stored(id)
  if letter and not letter.is_raw and not (there and letter_of(there) == 'L') then
    if live_again(id, letter.value, letter.epoch, expires_in, reply_to) then
      count = count + 1
    end
  end
end
wake_and_arm()
send_news()
return count
