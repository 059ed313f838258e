-- What was leased but is no envelope goes to the dead letters as it is.
-- Needs: start, jobs, wake, news, publishing, latches, endings
--
-- takes: how many seconds and how many dead letters are kept; the queues from which it was leased; how many; of each
--        what is stored, and the reason
-- returns: nothing

local seconds, most, queues = take_number(), take_number(), take_list()

local function bury_raw(queue, id, value, reason)
  local state = state_of(id)
  local letter = {reason = reason, errors = '', attempts = 0, crashes = 0, is_raw = true}
  call('ZREM', leased(queue), id)
  call('HDEL', STATE, id)
  call('DEL', job_key(id))
  bury(id, queue, '', state and state.epoch or 1, string.rep(' ', FROM - 1) .. value, letter, seconds, most)
end

for _ = 1, take_number() do
  local value, reason = take(), take()
  for _, queue in ipairs(queues) do
    for _, id in ipairs(call('ZRANGE', leased(queue), 0, -1)) do
      if call('GET', job_key(id)) == value then
        bury_raw(queue, id, value, reason)
      end
    end
  end
end
return false
