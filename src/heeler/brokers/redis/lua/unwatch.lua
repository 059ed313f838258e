-- An address no longer wants to hear of jobs that it watches.
-- Needs: start, news
--
-- takes: address, ids
-- returns: nothing

local address, ids = take(), take_list()
for _, id in ipairs(ids) do
  local left = {}
  local addresses = watchers(id)
  for _, other in ipairs(addresses or {}) do
    if other ~= address then
      left[#left + 1] = other
    end
  end
  if #left > 0 then
    call('HSET', WATCHED, id, cmsgpack.pack(left))
  elseif addresses then
    call('HDEL', WATCHED, id)
  end
end
return false
