-- Part: what becomes of a job when it ends, or comes back.
-- Needs: start, jobs, wake, news, latches

-- What a reader is told of a live job beyond its envelope: attempts, crashes, record, and what its runs reported.
local function known(state)
  if not state then
    return {}
  end
  local report = state.report or {}
  local list = {
    exact(state.attempts), exact(state.crashes), state.record or '', report.started or '', report.last or '',
    report.fraction or '', report.message or '', report.saved or '',
  }
  for _, worker in ipairs(report.workers or {}) do
    list[#list + 1] = worker
  end
  return list
end

-- What stands before the content of an ended job.
local function ended_prefix(letter, keep)
  return struct.pack('<ddd', 0, now + keep, 0) .. letter
end

-- Only what tells that an id is taken.
local function reserved_value(value, keep)
  local fine, length, from = pcall(function()
    local _, _, length, from = struct.unpack('<I4I4I2', value, FROM)
    return length, from
  end)
  local content = fine and string.sub(value, FROM, from + length - 1) or ''
  return ended_prefix('N', keep) .. content
end

-- For how many seconds a key is kept, as SET takes it.
local function ttl(seconds)
  return exact(math.min(math.ceil(seconds * 1000), LONGEST_TTL))
end

local function keep_value(id, value, keep)
  call('SET', job_key(id), value, 'PX', ttl(keep))
end

-- End a job that no worker has, and that stands in no line any more; its latches are to be told by the caller.
local function end_unrun(id, value, state, reason)
  local head = head_of_stored(value)
  local keep, keeps_result, is_reserved = head[4], head[5], head[6] ~= ''
  local tail = known(state)
  table.insert(tail, 1, exact(now))
  table.insert(tail, 1, reason)
  local ended = ended_prefix('U', keep) .. string.sub(value, FROM) .. framed(tail)
  if keep > 0 and keeps_result then
    keep_value(id, ended, keep)
  elseif keep > 0 and is_reserved then
    keep_value(id, reserved_value(value, keep), keep)
  else
    call('DEL', job_key(id))
  end
  call('HDEL', STATE, id)
  tell(id, head[7], 'C', '', '', ended, true)
  return head[8]
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

local function finish()
  wake_and_arm()
  send_news()
end
