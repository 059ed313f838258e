-- Part: what every script begins with.
--
-- KEYS[1]   '{namespace}:', the beginning of every key. There is never a key of just this name: it tells the slot, and
--           while a cluster moves the slot the server sends the whole script elsewhere before anything has happened.
-- ARGV[1]   the time in seconds, in tests; empty: the server's own clock
-- ARGV[2…]  what the script's own head says, read one after the other by take()

local call = redis.call
local P = KEYS[1]

local read_so_far = 1
local function take()
  read_so_far = read_so_far + 1
  return ARGV[read_so_far]
end

local function take_number()
  return tonumber(take())
end

local function take_list()
  local list = {}
  for n = 1, take_number() do
    list[n] = take()
  end
  return list
end

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] + time[2] / 1000000
end

-- A number as text from which the same number can be read.
local function exact(number)
  return string.format('%.17g', number)
end

-- Call act(…) with the list's items, at most 4000 at a time: Lua takes no more than 8000 arguments.
local function in_parts(list, act)
  for first = 1, #list, 4000 do
    act(unpack(list, first, math.min(first + 3999, #list)))
  end
end

-- With more memory in use than `maxmemory` allows, a script may still write if its first write frees some. So what
-- must work then (to lease, to end, to keep a lease) begins by deleting what never exists.
local function free_first()
  call('DEL', P)
end
