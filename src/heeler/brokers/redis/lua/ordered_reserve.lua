-- Take down a publication whose messages are to be sent.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches, answers
--
-- takes: session and number of the call; a key for the errand; the publication (see latches)
-- returns: {'R'} if the guard refused; else '', of each job that was not taken down its number, letter and task, the key
--          ('' if nothing is to be sent), of each message that is not as it was given its number, epoch and delay, and
--          the messages that latches let go (see errands);
--          of a call that was carried out before: 'K', the refused ones, the key, and what is left to send (see errands)

local session, number, key = take(), take(), take()
local before = remembered('reserve', session, number)
if before then
  if before[1] == 'R' then
    return before
  end
  return {'K', before[1], before[2], before[2] ~= '' and unsent_of(before[2]) or ''}
end
local refused = publish_taken()
if not refused then
  remember('reserve', session, number, {'R'})
  return {'R'}
end
send_news()
if #to_send > 0 then
  owe(key, '', to_send, '', UNACKNOWLEDGED_KEPT)
else
  key = ''
end
remember('reserve', session, number, {refused, key})
local messages = {}
for n, id in ipairs(unasked) do
  messages[n] = message_of(job_of(id))
end
return {'', refused, key, to_tell, messages}
