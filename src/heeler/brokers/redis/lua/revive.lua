-- Make jobs new again that failed or were cancelled, from what is kept of them.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches, reviving
--
-- takes: how many; of each id, in how many seconds it expires (or ''), whom to tell
-- returns: how many live again

local count = 0
for _ = 1, take_number() do
  local id, expires_in, reply_to = take(), take_number(), take()
  local value = stored(id)
  local letter = value and letter_of(value)
  if letter == 'F' or letter == 'C' or letter == 'U' then
    local whole, _, head, from = struct.unpack('<I4I4I2', value, FROM)
    local dead = letter_with(id)
    local content = string.sub(value, FROM, from + head + whole - 1)
    if live_again(id, content, dead and dead.epoch or 0, expires_in, reply_to) then
      count = count + 1
    end
  end
end
wake_and_arm()
send_news()
return count
