-- What was leased but is no envelope goes to the dead letters as it is.
-- Needs: start, given, jobs, burying
--
-- takes: how many seconds and how many dead letters are kept; the queues from which it was leased; how many; of each
--        what is stored, and the reason
-- returns: nothing

local seconds, most, queues = take_number(), take_number(), take_list()

local function park(queue, id, value, reason)
  local state = state_of(id)
  call('ZREM', leased(queue), id)
  call('HDEL', STATE, id)
  call('DEL', job_key(id))
  bury_raw(id, queue, state and state.epoch or 1, value, reason)
end

for _ = 1, take_number() do
  local value, reason = take(), take()
  for _, queue in ipairs(queues) do
    for _, id in ipairs(call('ZRANGE', leased(queue), 0, -1)) do
      if call('GET', job_key(id)) == value then
        park(queue, id, value, reason)
      end
    end
  end
end
prune_dead(seconds, most)
return false
