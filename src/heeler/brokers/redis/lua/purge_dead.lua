-- Drop dead letters for good.
-- Needs: start, jobs, burying
--
-- takes: ids
-- returns: how many there were

local count = 0
for _, id in ipairs(take_list()) do
  count = count + drop_letter(id)
end
return count
