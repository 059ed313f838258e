-- A worker hears no more commands at this address.
-- Needs: start
--
-- takes: id of the worker, address
-- returns: nothing

local id, address = take(), take()
if call('HGET', P .. 'listeners', id) == address then
  call('HDEL', P .. 'listeners', id)
end
return false
