-- Send a command to workers.
-- Needs: start
--
-- takes: the command; the ids and names of the workers that are meant, none for all
-- returns: nothing
--
-- listeners    (hash) id of a worker → address
-- p:ADDRESS    (channel) commands

local command, meant = take(), {}
local is_for_all = true
for _, name in ipairs(take_list()) do
  meant[name] = true
  is_for_all = false
end
local listeners = call('HGETALL', P .. 'listeners')
for n = 1, #listeners, 2 do
  local id, address = listeners[n], listeners[n + 1]
  local fine, worker = pcall(cmsgpack.unpack, call('HGET', P .. 'workers', id) or '')
  local name = fine and type(worker) == 'table' and worker.name
  if is_for_all or meant[id] or (name and meant[name]) then
    if call('PUBLISH', P .. 'p:' .. address, command) == 0 then
      call('HDEL', P .. 'listeners', id)
    end
  end
end
return false
