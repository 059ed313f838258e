-- Make jobs real that are new and may start at once: the shortest way. All else is for `publish_all`.
-- Needs: start, given, register
-- Seldom: wake
--
-- takes: session and number of the call; how many jobs, and of each id, place and content (see given)
-- returns: {}; nil: nothing was done, since an id is taken

local session, number, count = ARGV[2], ARGV[3], tonumber(ARGV[4])
local sequence = call('INCRBY', P .. 'sequence', count) - count
local rest = struct.pack('<dd', now, 0) .. 'L'
local keys, values, lines, seen = {}, {}, {}, {}
for n = 1, count do
  local at = 3 * n + 2
  local id, text = ARGV[at], ARGV[at + 1]
  if seen[id] then
    return false
  end
  seen[id] = true
  local line = lines[text]
  if not line then
    line = {place = read_place(text)}
    lines[text] = line
  end
  local score = line.place.base + sequence + n
  line[#line + 1] = score
  line[#line + 1] = id
  keys[n] = job_key(id)
  values[2 * n - 1] = keys[n]
  values[2 * n] = struct.pack('<d', score) .. rest .. ARGV[at + 2]
end
if call('MSETNX', unpack(values)) == 0 then
  return false
end
enter(sequence + 1, keys)

for _, line in pairs(lines) do
  local queue, task = line.place.queue, line.place.task
  call('SADD', P .. 'queues', queue)
  local is_awaited = #call('ZREVRANGE', P .. 'asleep:' .. queue, 0, 0) > 0
  if not (is_awaited and count == 1 and seldom().hand_over(queue, line[2], task, values[2])) then
    call('ZADD', P .. 'waiting:' .. queue, unpack(line))
    if is_awaited then
      seldom().new_work(queue, #line / 2, task)
    end
  end
  if is_awaited then
    seldom().wake_and_arm()
  end
end
call('SET', P .. 'c:publish:' .. session .. ':' .. number % 32, number .. '\n\144', 'PX', 120000) -- see answers
return {}
