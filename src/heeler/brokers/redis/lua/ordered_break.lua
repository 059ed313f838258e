-- Break latches from outside.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches, carried_ending
--
-- takes: a key for the errand, for which job (or ''), '1' if all that lies in them is cancelled (or ''), ids
-- returns: of each '1', or '' if it is released or unknown; and what is unsent (see errands), or ''

local key, by, is_cancelled = take(), take(), take() ~= ''
local answers = {}
begin_errand()
for n, id in ipairs(take_list()) do
  answers[n] = break_latch(id, by, is_cancelled) and '1' or ''
end
local unsent = ''
if #to_send > 0 then
  owe(key, '', to_send, '', UNACKNOWLEDGED_KEPT)
  unsent = unsent_of(key)
end
send_news()
return {answers, unsent}
