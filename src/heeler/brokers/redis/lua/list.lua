-- The ids of a queue's jobs in one state, in the order in which they would start.
-- Needs: start, given, jobs, wake, lines
--
-- takes: queue; 'waiting', 'scheduled' or 'running'; how many; the id after which to begin (or '')
-- returns: ids

local BROUGHT_BACK = 10000

local queue, state, limit, after = take(), take(), take_number(), take()
bring_back(queue, BROUGHT_BACK)

local function place_of_id(id)
  local value = stored(id)
  return value and place_of(value, state_of(id)) or 0
end

local ids = {}
if state == 'scheduled' then
  local rank = after ~= '' and call('ZRANK', due(queue), due_member(after, place_of_id(after)))
  for n, member in ipairs(call('ZRANGE', due(queue), rank and rank + 1 or 0, (rank and rank + 1 or 0) + limit - 1)) do
    ids[n] = read_due_member(member)
  end
  return ids
end

local jobs = {}
local function add_line(key, begin)
  local found = call('ZRANGEBYSCORE', key, begin, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
  for n = 1, #found, 2 do
    jobs[#jobs + 1] = {found[n], tonumber(found[n + 1])}
  end
end

local begin = '-inf'
if state == 'waiting' then
  local task = after ~= '' and stored(after) and task_of(stored(after)) or ''
  local score = after ~= '' and (call('ZSCORE', waiting(queue), after) or call('ZSCORE', side(queue, task), after))
  begin = score and '(' .. score or begin
  add_line(waiting(queue), begin)
  for _, side_task in ipairs(call('SMEMBERS', sides(queue))) do
    add_line(side(queue, side_task), begin)
  end
else
  local floor = after ~= '' and call('ZSCORE', leased(queue), after) and place_of_id(after)
  for _, id in ipairs(call('ZRANGE', leased(queue), 0, -1)) do
    local place = place_of_id(id)
    if not floor or place > floor then
      jobs[#jobs + 1] = {id, place}
    end
  end
end
table.sort(jobs, function(a, b) return a[2] < b[2] end)
for n = 1, math.min(#jobs, limit) do
  ids[n] = jobs[n][1]
end
return ids
