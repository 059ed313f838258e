-- Tell events to all who follow them.
-- Needs: start
--
-- takes: events
-- returns: how many hear them
--
-- followers    (set) addresses; one that nobody hears is dead
-- p:ADDRESS    (channel) events

local events, heard = take(), 0
for _, address in ipairs(call('SMEMBERS', P .. 'followers')) do
  if call('PUBLISH', P .. 'p:' .. address, events) > 0 then
    heard = heard + 1
  else
    call('SREM', P .. 'followers', address)
  end
end
return heard
