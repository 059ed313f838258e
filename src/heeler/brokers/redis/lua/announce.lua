-- A worker is alive, or says goodbye.
-- Needs: start
--
-- takes: id, name, for how many seconds (0: it is gone), what it says of itself
-- returns: nothing
--
-- workers  (hash) id → until when, name, when it said so, what it says of itself

local id, name, seconds, presence = take(), take(), take_number(), take()
if seconds > 0 then
  local entry = {['until'] = now + seconds, name = name, at = now, presence = presence}
  call('HSET', P .. 'workers', id, cmsgpack.pack(entry))
else
  call('HDEL', P .. 'workers', id)
end
return false
