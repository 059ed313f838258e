-- Part: dead letters.
-- Needs: start, given, jobs
--
-- dead         (hash) id → a job that was given up, or bytes that could not be understood
-- dead:order   (sorted set) ids by when they died
-- dead:counts  (hash) queue → how many of them are its

local function letter_with(id)
  local fine, letter = pcall(cmsgpack.unpack, call('HGET', P .. 'dead', id) or '')
  if fine and type(letter) == 'table' and type(letter.value) == 'string' and type(letter.died_at) == 'number' then
    return letter
  end
  return nil
end

local function dead_in(queue)
  return tonumber(call('HGET', P .. 'dead:counts', queue)) or 0
end

local function count_dead(queue, difference)
  local count = dead_in(queue) + difference
  if count > 0 then
    call('HSET', P .. 'dead:counts', queue, exact(count))
  else
    call('HDEL', P .. 'dead:counts', queue)
  end
end

local function drop_letter(id)
  local letter = letter_with(id)
  if letter and type(letter.queue) == 'string' then
    count_dead(letter.queue, -1)
  end
  call('ZREM', P .. 'dead:order', id)
  return call('HDEL', P .. 'dead', id)
end

-- Keep aside `content`, what a producer wrote of a job. `letter` says why, and what else is known.
local function bury(id, queue, task, epoch, content, letter)
  drop_letter(id) -- an earlier one of this id
  letter.queue, letter.task, letter.epoch, letter.died_at, letter.value = queue, task, epoch, now, content
  call('HSET', P .. 'dead', id, cmsgpack.pack(letter))
  call('ZADD', P .. 'dead:order', call('INCR', P .. 'sequence'), id)
  call('SADD', P .. 'queues', queue)
  count_dead(queue, 1)
end

local function bury_raw(id, queue, epoch, bytes, reason)
  bury(id, queue, '', epoch, bytes, {reason = reason, errors = '', attempts = 0, crashes = 0, is_raw = true})
end

local DROPPED_AT_ONCE = 500

-- `seconds` and `most`: how long, and how many, dead letters are kept. Drop some of the others; whether those were all.
local function prune_dead(seconds, most)
  local order = P .. 'dead:order'
  local surplus = call('ZCARD', order) - most
  for n = 1, DROPPED_AT_ONCE do
    local id = call('ZRANGE', order, 0, 0)[1]
    local letter = id and n > surplus and letter_with(id)
    if not id or (letter and letter.died_at + seconds > now) then
      return true
    end
    drop_letter(id)
  end
  return false
end
