-- A page of schedules.
-- Needs: start, cells, schedules
--
-- takes: how many; the name after which to begin, or ''; '1' for those of one origin only, or ''; that origin
-- returns: of each its fields (see schedules)

local limit, after, is_of_one, origin = take_number(), take(), take() ~= '', take()
local reply = {}
local begin = after == '' and '-' or '(' .. after
while #reply < 5 * limit do
  local key = is_of_one and origin ~= '' and names_of(origin) or NAMES
  local names = call('ZRANGEBYLEX', key, begin, '+', 'LIMIT', 0, limit)
  for _, name in ipairs(names) do
    if #reply < 5 * limit and not (is_of_one and origin == '' and call('HEXISTS', ORIGINS, name) == 1) then
      add_schedule(reply, name)
    end
  end
  if #names < limit then
    break
  end
  begin = '(' .. names[#names]
end
return reply
