-- Break latches from outside.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches
--
-- takes: for which job (or ''), '1' if all that lies in them is cancelled (or ''), ids
-- returns: of each '1', or '' if it is released or unknown

local by, is_cancelled = take(), take() ~= ''
local answers = {}
for n, id in ipairs(take_list()) do
  answers[n] = break_latch(id, by, is_cancelled) and '1' or ''
end
wake_and_arm()
send_news()
return answers
