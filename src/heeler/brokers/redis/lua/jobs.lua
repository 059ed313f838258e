-- Part: where a job is stored and in which line it stands.
--
-- j:ID        (string) a job for as long as anything is known of it:
--               25 bytes that the scripts write: its place, since when it waits (of an ended one: until when it is
--               kept), when it expires (0: never), each a double, and a letter, L while it lives or how it ended;
--               then what its producer wrote: the lengths of envelope (4 bytes), body (4) and head (2), the head, and
--               the envelope, which no script reads; of an ended one then its record
-- state       (hash) id → what is to be known of a job that has a history; most jobs never have an entry
-- waiting:Q   (sorted set) ids of queue Q that may start, by place
-- due:Q       (sorted set) jobs that may start later, by time; members tell the place as well
-- leased:Q    (sorted set) ids on lease, by the end of the lease
-- sides:Q     (set) the tasks of which jobs were put aside from waiting:Q because a fetch passed over them
-- side:N:Q:T  (sorted set) the ids of task T that were put aside, by place; N is the length of Q
-- queues, paused (sets), sequence (number)

local STATE = P .. 'state'

local function waiting(queue) return P .. 'waiting:' .. queue end
local function due(queue) return P .. 'due:' .. queue end
local function leased(queue) return P .. 'leased:' .. queue end
local function sides(queue) return P .. 'sides:' .. queue end
local function side(queue, task) return P .. 'side:' .. #queue .. ':' .. queue .. ':' .. task end

local function packed_state(state)
  return cmsgpack.pack(state)
end

-- What is damaged reads as a lost lease, so that the job runs alone.
local function unpacked_state(packed)
  if not packed then
    return nil
  end
  local fine, state = pcall(cmsgpack.unpack, packed)
  if fine and type(state) == 'table' and type(state.epoch) == 'number' and type(state.attempts) == 'number'
    and type(state.crashes) == 'number' then
    return state
  end
  return {epoch = 1, attempts = 0, crashes = 0, suspect = true, held = true}
end

local function state_of(id)
  return unpacked_state(call('HGET', STATE, id))
end

local function save_state(id, state)
  call('HSET', STATE, id, packed_state(state))
end

-- The states of several jobs; nil if none has one.
local function states_of(ids)
  if call('EXISTS', STATE) == 0 then
    return nil
  end
  local found = {}
  in_parts(ids, function(...)
    for _, packed in ipairs(call('HMGET', STATE, ...)) do
      found[#found + 1] = packed
    end
  end)
  return found
end

-- The state of a job on its first lease, which has none stored.
local function first_state()
  return {epoch = 1, attempts = 0, crashes = 0, held = true}
end

local FROM = 26 -- where in a stored job begins what its producer wrote

local function head_of_stored(value)
  return head_of(value, FROM) or {'', '', 0, 0, false, '', '', {}}
end

-- The letter of a stored job, which has the form of one.
local function letter_of(value)
  return string.sub(value, FROM - 1, FROM - 1)
end

local function place_of(value, state)
  if state and state.place then
    return state.place
  end
  return #value >= FROM and struct.unpack('<d', value) or 0
end

local function task_of(value)
  return head_of_stored(value)[1]
end

local function due_member(id, place)
  local level = math.floor(place / LEVEL)
  return string.format('%015.0f:%d:', place - level * LEVEL, level) .. id
end

-- The id and the place of a member of due:Q.
local function read_due_member(member)
  local sequence, level, id = string.match(member, '^(%d+):(-?%d+):(.*)$')
  if not id then
    return member, 0
  end
  return id, tonumber(level) * LEVEL + tonumber(sequence)
end

-- Whether an ended job is kept no longer: by the server's clock its key would be gone.
local function is_over(value)
  return letter_of(value) ~= 'L' and #value >= FROM and select(2, struct.unpack('<dd', value)) <= now
end

-- When a stored job expires; 0: never.
local function expiry_of(value)
  return #value >= FROM and select(3, struct.unpack('<ddd', value)) or 0
end

-- Whether a job that lives waits, and nobody may start it any more: the next fetch gives it to a worker that ends it.
local function has_expired(id, value, queue, state)
  local at = expiry_of(value)
  return at ~= 0 and at <= now and not (state and state.held) and not call('ZSCORE', leased(queue), id)
end

-- What tells a job from one that had the same id before: the place that it was given at first.
local function mark_of(value)
  return string.sub(value, 1, 8)
end

-- The stored job, nil if there is none (any more).
local function stored(id)
  local value = call('GET', job_key(id))
  if not value or is_over(value) then
    return nil
  end
  return value
end

-- Take a job out of the line, timetable or lease where it is; whether it was in one.
local function withdraw(id, queue, task, place)
  return call('ZREM', leased(queue), id) == 1 or call('ZREM', waiting(queue), id) == 1
    or call('ZREM', due(queue), due_member(id, place)) == 1 or call('ZREM', side(queue, task), id) == 1
end
