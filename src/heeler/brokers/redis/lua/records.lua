-- What is known of jobs.
-- Needs: start, jobs, news
--
-- takes: ids; address that from now on is to hear of them (or '')
-- returns: of each id what is stored (or ''), when it starts next (or ''), '1' if its run was announced (or ''), and
--          what else is known of it, framed (or '')

local ids, address = take_list(), take()
local answers = {}
for _, id in ipairs(ids) do
  if address ~= '' then
    local addresses = watchers(id) or {}
    local is_known = false
    for _, other in ipairs(addresses) do
      is_known = is_known or other == address
    end
    if not is_known then
      addresses[#addresses + 1] = address
      call('HSET', WATCHED, id, cmsgpack.pack(addresses))
      is_anything_watched = true
    end
  end
  local value = stored(id)
  local next_at, is_running, more = '', '', ''
  if value and letter_of(value) == 'L' then
    local queue, state = head_of_stored(value)[2], state_of(id)
    local place = place_of(value, state)
    local due_at = tonumber(call('ZSCORE', due(queue), due_member(id, place)))
    if due_at and due_at > now then
      next_at = exact(due_at)
    end
    if state then
      local lease = state.reported and call('ZSCORE', leased(queue), id)
      is_running = lease and tonumber(lease) > now and '1' or ''
      more = framed(known(state))
    end
  end
  answers[#answers + 1] = value or ''
  answers[#answers + 1] = next_at
  answers[#answers + 1] = is_running
  answers[#answers + 1] = more
end
if address ~= '' then
  call('EXPIRE', WATCHED, 86400) -- what dead processes left there goes at last
end
return answers
