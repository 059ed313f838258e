-- Drop dead letters for good, or some of them where they have to be looked at.
-- Needs: start, given, jobs, burying
--
-- takes: queue and task that they must have ('' for any); 'ids' and ids, or 'all', the numbers after which and up to
--        which they died ('' and '' at first), and how many to look at
-- returns: how many were dropped; the numbers with which to go on ('' and '' when all have been looked at)

local queue, task, which = take(), take(), take()
local is_any = queue == '' and task == ''
local order = P .. 'dead:order'

local function drop_if_meant(id)
  local letter = not is_any and letter_with(id)
  if is_any or letter and (queue == '' or letter.queue == queue) and (task == '' or letter.task == task) then
    return drop_letter(id)
  end
  return 0
end

local count = 0
if which == 'ids' then
  for _, id in ipairs(take_list()) do
    count = count + drop_if_meant(id)
  end
  return {count, '', ''}
end
if is_any then
  count = call('HLEN', P .. 'dead')
  call('UNLINK', P .. 'dead', order, P .. 'dead:counts')
  return {count, '', ''}
end
local after, last, most = take(), take(), take_number()
if last == '' then
  after, last = '-inf', call('GET', P .. 'sequence') or '0'
end
local found = call('ZRANGEBYSCORE', order, after, last, 'WITHSCORES', 'LIMIT', 0, most)
for n = 1, #found, 2 do
  count = count + drop_if_meant(found[n])
  after = '(' .. found[n + 1]
end
if #found < 2 * most then
  return {count, '', ''}
end
return {count, after, last}
