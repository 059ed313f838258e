-- Drop dead letters for good.
-- Needs: start
--
-- takes: ids
-- returns: how many there were

local count = 0
for _, id in ipairs(take_list()) do
  count = count + call('HDEL', P .. 'dead', id)
  call('ZREM', P .. 'dead:order', id)
end
return count
