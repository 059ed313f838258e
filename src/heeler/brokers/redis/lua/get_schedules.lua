-- Schedules by name.
-- Needs: start, cells, schedules
--
-- takes: names
-- returns: of each that is there its fields (see schedules)

local reply = {}
for _, name in ipairs(take_list()) do
  add_schedule(reply, name)
end
return reply
