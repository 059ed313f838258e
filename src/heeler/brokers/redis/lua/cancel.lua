-- End waiting jobs and mark running ones.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches, ended, unrun
--
-- takes: ids
-- returns: of each 'C' (it is over, cancelled), 'R' (its worker will be told), 'E' (it had ended otherwise), '' (unknown)

local answers = {}
free_first()
for n, id in ipairs(take_list()) do
  local value = stored(id)
  local letter = value and letter_of(value)
  if not value then
    answers[n] = ''
  elseif letter == 'C' or letter == 'U' then
    answers[n] = 'C'
  elseif letter ~= 'L' then
    answers[n] = 'E'
  else
    local head, state = head_of_stored(value), state_of(id)
    local lease = tonumber(call('ZSCORE', leased(head[2]), id))
    if has_expired(id, value, head[2], state) then
      answers[n] = 'E'
    elseif lease and lease > now then
      state = state or first_state()
      state.cancelled = true
      save_state(id, state)
      answers[n] = 'R'
    else
      withdraw(id, head[2], head[1], place_of(value, state))
      skip_members(end_unrun(id, value, state, 'cancelled before it started'))
      answers[n] = 'C'
    end
  end
end
wake_and_arm()
send_news()
return answers
