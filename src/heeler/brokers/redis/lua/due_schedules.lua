-- Schedules whose time has come.
-- Needs: start, cells, schedules
--
-- takes: how many
-- returns: the time; when the first of all others is due, or ''; of each schedule its fields (see schedules)

local limit = take_number()
local found = call('ZRANGE', CELLS_DUE, 0, limit, 'WITHSCORES')
local reply = {exact(now), ''}
for n = 1, #found, 2 do
  if tonumber(found[n + 1]) > now or n > 2 * limit then
    reply[2] = found[n + 1]
    break
  end
  add_schedule(reply, string.sub(found[n], #CELL + 1))
end
return reply
