-- Jobs that have not ended, the one published last first, where they are few.
-- Needs: start, given, jobs
--
-- takes: whether those on lease, those that are scheduled, those that wait ('1' or '' each); how many are few; the id
--        after which to begin (or '')
-- returns: nothing if the id is not known; else '1' if they are few, and then ids

-- The sequence number that a stored job was given when it was published.
local function first_number(value)
  local place = #value >= 8 and struct.unpack('<d', value) or 0
  return place - math.floor(place / LEVEL) * LEVEL
end

local has_leased, has_due, has_waiting, few, after = take() ~= '', take() ~= '', take() ~= '', take_number(), take()
local before = math.huge
if after ~= '' then
  local value = stored(after)
  if not value then
    return false
  end
  before = first_number(value)
end

local lines = {}
for _, queue in ipairs(call('SMEMBERS', P .. 'queues')) do
  if has_leased then
    lines[#lines + 1] = leased(queue)
  end
  if has_due then
    lines[#lines + 1] = due(queue)
  end
  if has_waiting then
    lines[#lines + 1] = waiting(queue)
    for _, task in ipairs(call('SMEMBERS', sides(queue))) do
      lines[#lines + 1] = side(queue, task)
    end
  end
end
for _, line in ipairs(lines) do
  few = few - call('ZCARD', line)
  if few < 0 then
    return {'', {}}
  end
end

local jobs = {}
for _, line in ipairs(lines) do
  for _, member in ipairs(call('ZRANGE', line, 0, -1)) do
    local id = string.find(line, P .. 'due:', 1, true) == 1 and read_due_member(member) or member
    local number = first_number(call('GETRANGE', job_key(id), 0, 7))
    if number < before then
      jobs[#jobs + 1] = {id, number}
    end
  end
end
table.sort(jobs, function(a, b) return a[2] > b[2] end)
local ids = {}
for n, job in ipairs(jobs) do
  ids[n] = job[1]
end
return {'1', ids}
