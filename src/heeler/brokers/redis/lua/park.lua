-- What was leased but is no envelope goes to the dead letters as it is.
-- Needs: start, jobs, wake, news, publishing, latches, endings
--
-- takes: how many seconds and how many dead letters are kept; how many; of each queue, id (empty: whichever of the
--        queue's leases has this content), what is stored, reason
-- returns: nothing

local seconds, most = take_number(), take_number()
for _ = 1, take_number() do
  local queue, value, reason = take(), take(), take()
  for _, id in ipairs(call('ZRANGE', leased(queue), 0, -1)) do
    if call('GET', job_key(id)) == value then
      local letter = {reason = reason, errors = '', attempts = 0, crashes = 0, is_raw = true}
      local state = state_of(id)
      call('ZREM', leased(queue), id)
      call('HDEL', STATE, id)
      call('DEL', job_key(id))
      bury(id, queue, '', state and state.epoch or 1, string.rep(' ', FROM - 1) .. value, letter, seconds, most)
      break
    end
  end
end
return false
