-- Part: ending jobs that have a history, or are not where they should be.
-- Needs: start, given, jobs, ended

local function withdraw_held(id, queue, value, state)
  withdraw(id, queue, task_of(value), place_of(value, state))
end

-- Of jobs without a history, that should be on lease: those that are not, as a set. Each stands in one line at most.
local function not_on_lease(ids, values, queue)
  local found = {}
  for n, id in ipairs(ids) do
    local place = place_of(values[n])
    if call('ZSCORE', waiting(queue), id) or call('ZSCORE', side(queue, task_of(values[n])), id)
      or call('ZSCORE', due(queue), due_member(id, place)) then
      found[id] = true
    end
  end
  return found
end
