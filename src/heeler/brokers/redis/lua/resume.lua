-- Let jobs of a queue be fetched again.
-- Needs: start, given, jobs, wake, lines
--
-- takes: queue
-- returns: nothing

local queue = take()
call('SREM', P .. 'paused', queue)
bring_back(queue, 1000)
local waits = call('ZCARD', waiting(queue)) + call('EXISTS', sides(queue))
if waits > 0 then
  new_work(queue, waits)
end
to_arm[queue] = true
wake_and_arm()
return false
