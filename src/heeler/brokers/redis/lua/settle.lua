-- End leases from which nothing follows.
-- Needs: start, jobs, news, ended, settling, answers
--
-- takes: session and number of the call; how many groups; of each 'E', queue, how many deliveries; of each id, mark,
--        'EPOCH KEEP STATUS KEPT' (seconds; a letter, '-' without a record; 'R' the record is kept, 'N' only the id,
--        'D' nothing), whom to tell (or ''), record
-- returns: of each delivery that was not ended its number and 'L' (its lease is lost)

local session, number = take(), take()
local known_answers = remembered('settle', session, number)
if known_answers then
  return known_answers
end
free_first()

local done = 0
for _ = 1, take_number() do
  take()
  local queue, count = take(), take_number()
  end_plainly(queue, count, done)
  done = done + count
end
remember('settle', session, number, answers)
send_news()
return answers
