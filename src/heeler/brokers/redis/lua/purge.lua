-- Drop some waiting or scheduled jobs of a queue.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches, ended, unrun
--
-- takes: queue; 'waiting' or 'scheduled'; only those published before this sequence number (0: all that are there
--        now); how many at most; reason
-- returns: how many; the sequence number with which to go on

local queue, state, before, most, reason = take(), take(), take_number(), take_number(), take()
if before == 0 then
  before = call('INCR', P .. 'sequence')
end
bring_back(queue, most)

local count, members = 0, {}
local function drop(id, place, key, member)
  if place - math.floor(place / LEVEL) * LEVEL >= before then
    return
  end
  call('ZREM', key, member)
  count = count + 1
  local value = stored(id)
  if value then
    for _, latch in ipairs(end_unrun(id, value, state_of(id), reason)) do
      members[#members + 1] = latch
    end
  end
end

if state == 'scheduled' then
  for _, member in ipairs(call('ZRANGE', due(queue), 0, most - 1)) do
    local id, place = read_due_member(member)
    drop(id, place, due(queue), member)
  end
else
  local lines = {waiting(queue)}
  for _, task in ipairs(call('SMEMBERS', sides(queue))) do
    lines[#lines + 1] = side(queue, task)
  end
  for _, line in ipairs(lines) do
    local found = count < most and call('ZRANGE', line, 0, most - count - 1, 'WITHSCORES') or {}
    for n = 1, #found, 2 do
      drop(found[n], tonumber(found[n + 1]), line, found[n])
    end
  end
end
skip_members(members)
wake_and_arm()
send_news()
return {count, exact(before)}
