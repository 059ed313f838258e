-- What is left to send after some time; whoever asks takes it upon itself.
-- Needs: start, given, register, carried_jobs, errands
--
-- takes: after how many seconds; how many at most
-- returns: of each, oldest first, what is unsent (see errands)

local MOST_MESSAGES = 1000

local older_than, limit = take_number(), take_number()
local answers, messages = {}, 0
free_first()
for _, key in ipairs(call('ZRANGEBYSCORE', UNSENT, '-inf', exact(now - older_than), 'LIMIT', 0, limit)) do
  local unsent = unsent_of(key)
  if call('STRLEN', errand_key(key)) == 0 then
    call('ZREM', UNSENT, key)
  else
    answers[#answers + 1] = unsent
    call('ZADD', UNSENT, exact(now), key)
    messages = messages + #unsent[4]
  end
  if messages >= MOST_MESSAGES then
    break
  end
end
return answers
