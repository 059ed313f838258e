-- Dead letters.
-- Needs: start, given, jobs, burying
--
-- takes: how many seconds and how many dead letters are kept; 'ids' and ids, or 'new' or 'old' (which come first), queue
--        and task that they must have ('' for any), the id after which to begin (or ''), the numbers after which and up
--        to which they died ('' and '' at first), and how many to look at
-- returns: nil: many had to be dropped first, ask again; else how many were looked at, which may be less than asked for
--          where they are large; the numbers with which to go on ('' and '' at the end), and of each id, queue, task,
--          reason, when it died, attempts, crashes, errors, '1' if it is no envelope (or ''), content

local MOST_BYTES = 4194304 -- of contents in one answer, unless one is larger

if not prune_dead(take_number(), take_number()) then
  return false
end
local key, order = P .. 'dead:order', take()
local queue, task, after, last = '', '', '', ''
local ids, numbers, is_end = {}, {}, true
if order == 'ids' then
  ids = take_list()
else
  local begin, most
  queue, task, begin, after, last, most = take(), take(), take(), take(), take(), take_number()
  if last == '' then
    local from = begin ~= '' and call('ZSCORE', key, begin)
    if order == 'new' then
      after, last = from and '(' .. from or '+inf', '-inf'
    else -- what dies from now on is not meant
      after, last = from and '(' .. from or '-inf', call('GET', P .. 'sequence') or '0'
    end
  end
  local command = order == 'new' and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE'
  local found = call(command, key, after, last, 'WITHSCORES', 'LIMIT', 0, most)
  for n = 1, #found, 2 do
    ids[#ids + 1], numbers[#numbers + 1] = found[n], found[n + 1]
  end
  is_end = #ids < most
end

local letters, bytes, looked = {}, 0, 0
for n, id in ipairs(ids) do
  local letter = letter_with(id)
  if letter and (queue == '' or letter.queue == queue) and (task == '' or letter.task == task) then
    bytes = bytes + #letter.value
    if bytes > MOST_BYTES and #letters > 0 then
      break
    end
    local fields = {
      id, letter.queue, letter.task, letter.reason, exact(letter.died_at), exact(letter.attempts),
      exact(letter.crashes), letter.errors, letter.is_raw and '1' or '', letter.value,
    }
    for field = 1, 10 do
      letters[#letters + 1] = fields[field]
    end
  end
  looked = n
end
if is_end and looked == #ids then
  return {looked, '', '', letters}
end
return {looked, looked > 0 and '(' .. (numbers[looked] or '') or after, last, letters}
