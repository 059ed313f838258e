-- Part: what is kept of schedules beside their cells.
-- Needs: start, cells
--
-- schedules        (hash) name → what it is
-- schedules:from   (hash) name → the code that declares it; absent where it was added at run time
-- schedules:names  (sorted set) all names, in order
-- schedules:of:C   (sorted set) the names of those that code C declares

local DEFINITIONS = P .. 'schedules'
local ORIGINS = P .. 'schedules:from'
local NAMES = P .. 'schedules:names'
local CELL = 'schedule:' -- what the names of their cells begin with

local function names_of(origin) return P .. 'schedules:of:' .. origin end

-- Add a schedule to a reply: name, origin, definition, state, when it is due or ''. Nothing if there is none.
local function add_schedule(reply, name)
  local definition, state = call('HGET', DEFINITIONS, name), call('HGET', CELLS, CELL .. name)
  if definition and state then
    local entry = {
      name, call('HGET', ORIGINS, name) or '', definition, state, call('ZSCORE', CELLS_DUE, CELL .. name) or '',
    }
    for n = 1, 5 do
      reply[#reply + 1] = entry[n]
    end
  end
end

local function drop_origin(name)
  local origin = call('HGET', ORIGINS, name)
  if origin then
    call('HDEL', ORIGINS, name)
    call('ZREM', names_of(origin), name)
  end
end

local function drop_schedule(name)
  drop_origin(name)
  call('HDEL', DEFINITIONS, name)
  call('ZREM', NAMES, name)
end

local function put_schedule(name, origin, definition)
  drop_origin(name)
  call('HSET', DEFINITIONS, name, definition)
  call('ZADD', NAMES, 0, name)
  if origin ~= '' then
    call('HSET', ORIGINS, name, origin)
    call('ZADD', names_of(origin), 0, name)
  end
end
