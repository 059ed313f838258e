-- Who was woken, or slept, and will not come: let others.
-- Needs: start, wake
--
-- takes: address, queues
-- returns: nothing

local address, queues = take(), take_list()
free_first()
sleeping().get_up(address, queues)
for _, queue in ipairs(queues) do
  if call('EXISTS', P .. 'waiting:' .. queue, P .. 'sides:' .. queue) > 0 then
    new_work(queue, 1)
  end
  to_arm[queue] = true
end
wake_and_arm()
return false
