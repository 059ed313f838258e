-- Part: moving jobs between the lines of a queue.
-- Needs: start, given, jobs, wake

-- A job that stands in no line waits for its time.
local function schedule(id, queue, place, at)
  call('ZADD', due(queue), exact(at), due_member(id, place))
  to_arm[queue] = true
end

-- A job that stands in no line waits again at its place.
local function put_back(id, queue, place, task)
  call('ZADD', waiting(queue), place, id)
  new_work(queue, 1, task)
end

-- Let what is due and what was lost of a queue wait; at most `most` of each. The answer is how many there were.
local function bring_back(queue, most)
  local members = call('ZRANGEBYSCORE', due(queue), '-inf', exact(now), 'LIMIT', 0, most)
  local line = {}
  for n, member in ipairs(members) do
    line[2 * n], line[2 * n - 1] = read_due_member(member)
  end
  in_parts(members, function(...) call('ZREM', due(queue), ...) end)
  local lapsed = call('ZRANGEBYSCORE', leased(queue), '-inf', exact(now), 'LIMIT', 0, most)
  in_parts(lapsed, function(...) call('ZREM', leased(queue), ...) end)
  for _, id in ipairs(lapsed) do
    local value = stored(id)
    if value then
      local state = state_of(id) or first_state()
      save_state(id, state)
      line[#line + 1] = place_of(value, state)
      line[#line + 1] = id
    end
  end
  in_parts(line, function(...) call('ZADD', waiting(queue), ...) end)
  return #members + #lapsed
end
