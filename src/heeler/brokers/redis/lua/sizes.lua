-- How many jobs of queues are where.
-- Needs: start, given, jobs, burying
--
-- takes: how many seconds and how many dead letters are kept; queues; none: all known
-- returns: nil: many dead letters had to be dropped first, ask again; else the time, and of each queue its name, how many
--          are waiting, scheduled, on lease and dead, '1' if it is paused, since when the one waits that waits longest
--          (or '')

local LEVELS_LOOKED_AT = 201

if not prune_dead(take_number(), take_number()) then
  return false
end
local queues = take_list()
if #queues == 0 then
  queues = call('SUNION', P .. 'queues', P .. 'paused')
  table.sort(queues)
end

-- Since when the first job of each priority waits, the earliest of these.
local function oldest(queue)
  local earliest, above = nil, '-inf'
  for _ = 1, LEVELS_LOOKED_AT do
    local first = call('ZRANGEBYSCORE', waiting(queue), above, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if #first == 0 then
      break
    end
    above = exact((math.floor(tonumber(first[2]) / LEVEL) + 1) * LEVEL)
    local value, state = stored(first[1]), state_of(first[1])
    if value and #value >= FROM then
      local since = state and state.since or select(2, struct.unpack('<dd', value))
      earliest = (not earliest or since < earliest) and since or earliest
    end
  end
  return earliest and exact(earliest) or ''
end

local answers = {exact(now)}
for _, queue in ipairs(queues) do
  local time = exact(now)
  local later, running = call('ZCOUNT', due(queue), '(' .. time, '+inf'), call('ZCOUNT', leased(queue), '(' .. time, '+inf')
  local ready = call('ZCARD', waiting(queue)) + call('ZCARD', due(queue)) - later + call('ZCARD', leased(queue)) - running
  for _, task in ipairs(call('SMEMBERS', sides(queue))) do
    ready = ready + call('ZCARD', side(queue, task))
  end
  for _, figure in ipairs({queue, exact(ready), exact(later), exact(running), exact(dead_in(queue))}) do
    answers[#answers + 1] = figure
  end
  answers[#answers + 1] = call('SISMEMBER', P .. 'paused', queue) == 1 and '1' or ''
  answers[#answers + 1] = oldest(queue)
end
return answers
