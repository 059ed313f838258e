-- End jobs that were cancelled while they ran on a worker that was lost.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches, ended, unrun
--
-- takes: ids of jobs that `fetch` has just leased
-- returns: nothing

free_first()
for _, id in ipairs(take_list()) do
  local value, state = stored(id), state_of(id)
  if value and letter_of(value) == 'L' and state and state.cancelled then
    withdraw(id, head_of_stored(value)[2], task_of(value), place_of(value, state))
    skip_members(end_unrun(id, value, state, 'cancelled while it ran on a worker that was lost'))
  end
end
wake_and_arm()
send_news()
return false
