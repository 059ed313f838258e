-- The workers whose last announcement still holds.
-- Needs: start
--
-- takes: nothing
-- returns: of each when it announced itself and what it says of itself

local answers = {}
local entries = call('HGETALL', P .. 'workers')
for n = 1, #entries, 2 do
  local fine, worker = pcall(cmsgpack.unpack, entries[n + 1])
  if fine and type(worker) == 'table' and type(worker['until']) == 'number' and worker['until'] > now then
    answers[#answers + 1] = exact(worker.at)
    answers[#answers + 1] = worker.presence
  else
    call('HDEL', P .. 'workers', entries[n])
  end
end
return answers
