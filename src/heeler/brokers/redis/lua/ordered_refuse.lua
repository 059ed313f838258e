-- The message server cannot deliver what was just taken down: forget it.
-- Needs: start, given, register, carried_jobs
--
-- takes: ids
-- returns: nothing

for _, id in ipairs(take_list()) do
  call('DEL', job_key(id))
  drop_runs(id)
end
return false
