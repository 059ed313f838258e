-- Part: jobs as producers give them.
-- Needs: start
--
-- A job to be made is four strings:
--   id
--   place      'PRIORITY LENGTH ' .. queue .. task, LENGTH being that of the queue's name
--   more       empty, or 'DELAY RUN_AT EXPIRES_IN EXPIRES_AT EPOCH ATTEMPTS CRASHES SUSPECT NOTE', '-' for what is
--              absent; the note is the rest and may be anything
--   content    what is stored: lengths, head, envelope
--
-- A place is a number: -priority × 2^45 + sequence, so one sorted set has priorities and publish order exactly.

local LEVEL = 2 ^ 45
local LONGEST_TTL = 3e12 -- milliseconds, about a century: what SET takes

local function job_key(id) return P .. 'j:' .. id end

-- {task, queue, priority, keep, keeps_result, fingerprint, reply_to, {{latch, number}, …}} of what a producer wrote,
-- which begins at `from`; nil where it cannot be read.
local function head_of(text, from)
  local fine, head = pcall(function()
    local _, _, length, begin = struct.unpack('<I4I4I2', text, from)
    return cmsgpack.unpack(string.sub(text, begin, begin + length - 1))
  end)
  if fine and type(head) == 'table' and #head == 8 and type(head[2]) == 'string' and type(head[8]) == 'table' then
    return head
  end
  return nil
end

-- The members in a head, with the job's id.
local function members_of(head, id)
  local members = {}
  for n, member in ipairs(head[8]) do
    members[n] = {member[1], member[2], member[3], member[4], id}
  end
  return members
end

local places = {}
local function read_place(text)
  local place = places[text]
  if not place then
    local priority, length, from = string.match(text, '^(%S+) (%d+) ()')
    place = {
      base = -tonumber(priority) * LEVEL,
      queue = string.sub(text, from, from + length - 1),
      task = string.sub(text, from + length),
    }
    places[text] = place
  end
  return place
end

local function read_more(more)
  local delay, run_at, expires_in, expires_at, epoch, attempts, crashes, suspect, note =
    string.match(more, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  delay, run_at, expires_in, expires_at = tonumber(delay), tonumber(run_at), tonumber(expires_in), tonumber(expires_at)
  local due_at = run_at
  if delay and (not due_at or now + delay > due_at) then
    due_at = now + delay
  end
  if expires_in and (not expires_at or now + expires_in < expires_at) then
    expires_at = now + expires_in
  end
  local state = nil
  if epoch ~= '-' then
    state = {epoch = tonumber(epoch), attempts = tonumber(attempts), crashes = tonumber(crashes), note = note}
    if suspect == '1' then
      state.suspect = true
    end
  end
  return due_at and due_at > now and due_at or nil, expires_at or 0, state
end

-- Read a list of jobs from the arguments: the number of the first argument and how many jobs there are. What makes
-- jobs real takes them in this form, as a part of a table of strings.
local function take_jobs()
  local count = take_number()
  local first = read_so_far + 1
  read_so_far = read_so_far + 4 * count
  return first, count
end

-- The keys of jobs; nil if two of them have one id.
local function keys_of(strings, first, count)
  local keys, seen = {}, {}
  for n = 1, count do
    local id = strings[first + 4 * n - 4]
    if seen[id] then
      return nil
    end
    seen[id] = true
    keys[n] = job_key(id)
  end
  return keys
end

local AT_ONCE = 2000 -- jobs whose keys and values Lua can hand to one command
