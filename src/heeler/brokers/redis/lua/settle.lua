-- End leases from which nothing follows.
-- Needs: start, given, jobs, news, ended, settling
-- Seldom: given, jobs, ended, settling_seldom, answers
--
-- takes: session and number of the call, '1' if it may be a repetition (or ''); how many groups; of each 'E', queue, how
--        many deliveries; of each id, mark, 'EPOCH KEEP STATUS KEPT' (seconds; a letter, '-' without a record; 'R' the
--        record is kept, 'N' only the id, 'D' nothing), whom to tell (or ''), record
-- returns: of each delivery that was not ended its number and 'L' (its lease is lost)

local session, number = take(), take()
local known_answers = take() ~= '' and seldom().remembered('settle', session, number)
if known_answers then
  return known_answers
end

local done = 0
for _ = 1, take_number() do
  take()
  local queue, count = take(), take_number()
  end_plainly(queue, count, done)
  done = done + count
end
if session ~= '' then
  local answer = number .. '\n' .. cmsgpack.pack(answers) -- see answers
  call('SET', P .. 'c:settle:' .. session .. ':' .. number % 32, answer, 'PX', 120000)
end
send_news()
return answers
