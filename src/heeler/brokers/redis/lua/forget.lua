-- Drop the records of ended jobs; ids that callers gave stay reserved.
-- Needs: start, given, jobs, ended
--
-- takes: ids
-- returns: how many records there were

local count = 0
for _, id in ipairs(take_list()) do
  local value = stored(id)
  local letter = value and letter_of(value)
  if value and letter ~= 'L' and letter ~= 'N' then
    count = count + 1
    if head_of_stored(value)[6] ~= '' then
      keep_value(id, reserved_value(value, select(2, struct.unpack('<dd', value)) - now),
        select(2, struct.unpack('<dd', value)) - now)
    else
      call('DEL', job_key(id))
    end
  end
end
return count
