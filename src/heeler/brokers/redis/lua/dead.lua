-- Dead letters.
-- Needs: start, given, jobs, burying
--
-- takes: how many seconds and how many dead letters are kept; ids; and where there are none: 'new' or 'old' (which
--        come first), the id after which to begin (or ''), how many
-- returns: of each id, queue, task, reason, when it died, attempts, crashes, errors, '1' if it is no envelope (or ''),
--          content

prune_dead(take_number(), take_number())
local ids, order, after, limit = take_list(), take(), take(), take_number()
if #ids == 0 then
  local key = P .. 'dead:order'
  local rank = after ~= '' and call(order == 'new' and 'ZREVRANK' or 'ZRANK', key, after)
  local first = rank and rank + 1 or 0
  ids = call(order == 'new' and 'ZREVRANGE' or 'ZRANGE', key, first, first + limit - 1)
end
local answers = {}
for _, id in ipairs(ids) do
  local letter = letter_with(id)
  if letter then
    local fields = {
      id, letter.queue, letter.task, letter.reason, exact(letter.died_at), exact(letter.attempts),
      exact(letter.crashes), letter.errors, letter.is_raw and '1' or '', letter.value,
    }
    for n = 1, 10 do
      answers[#answers + 1] = fields[n]
    end
  end
end
return answers
