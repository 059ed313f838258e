-- What is known of jobs.
-- Needs: start, given, jobs, news
--
-- takes: ids; address that from now on is to hear of them (or '')
-- returns: of each id what is stored (or ''), when it starts next (or ''), '1' if its run was announced, 'X' and when
--          if it has expired (or ''), and what else is known of it, framed (or '')

local ids, address = take_list(), take()
local keys, values = {}, {}
for n, id in ipairs(ids) do
  keys[n] = job_key(id)
end
in_parts(keys, function(...)
  for _, value in ipairs(call('MGET', ...)) do
    values[#values + 1] = value
  end
end)
local answers = {}
for n, id in ipairs(ids) do
  if address ~= '' then
    watch(id, address)
  end
  local value = values[n]
  if value and is_over(value) then
    value = nil
  end
  local next_at, phase, more = '', '', ''
  if value and letter_of(value) == 'L' then
    local queue, state = head_of_stored(value)[2], state_of(id)
    local place = place_of(value, state)
    local due_at = tonumber(call('ZSCORE', due(queue), due_member(id, place)))
    if due_at and due_at > now then
      next_at = exact(due_at)
    end
    if has_expired(id, value, queue, state) then
      phase = 'X' .. exact(expiry_of(value))
    elseif state then
      local lease = state.reported and call('ZSCORE', leased(queue), id)
      phase = lease and tonumber(lease) > now and '1' or ''
    end
    if state then
      more = framed(known(state))
    end
  end
  answers[#answers + 1] = value or ''
  answers[#answers + 1] = next_at
  answers[#answers + 1] = phase
  answers[#answers + 1] = more
end
if address ~= '' then
  call('EXPIRE', WATCHED, 86400) -- what dead processes left there goes at last
end
return answers
