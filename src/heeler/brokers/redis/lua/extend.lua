-- Keep leases, and take in what running jobs say.
-- Needs: start, given, jobs, wake, news
--
-- takes: lease in seconds; how many; of each id, mark, queue, epoch, 'M' to mark that its run starts alone (or ''), a
--        report as it is told to who waits (or ''), and if there is one: whom to tell, start, worker, fraction,
--        message, saved (each '' where the report leaves it out, else '=' and the value)
-- returns: 'L' (lost) or 'C' (somebody cancelled it) and the id, of those of which there is something to say

local lease, count = take_number(), take_number()
local answers = {}
local renewed = {} -- queue → leases
free_first()

local function merge(state, start, worker, fraction, message, saved)
  local report = state.report or {}
  state.report = report
  if start ~= '' then
    report.started = report.started or start
    report.last = start
  end
  if worker ~= '' then
    report.workers = report.workers or {}
    if report.workers[#report.workers] ~= worker then
      report.workers[#report.workers + 1] = worker
    end
  end
  report.fraction = fraction ~= '' and fraction or report.fraction
  report.message = message ~= '' and message or report.message
  report.saved = saved ~= '' and saved or report.saved
end

for _ = 1, count do
  local id, mark, queue, epoch, starts, report = take(), take(), take(), take_number(), take() ~= '', take()
  local reply_to, start, worker, fraction, message, saved
  if report ~= '' then
    reply_to, start, worker, fraction, message, saved = take(), take(), take(), take(), take(), take()
  end
  local state = state_of(id)
  local score = call('ZSCORE', leased(queue), id)
  local is_held = score and epoch == 1
  if state then
    is_held = state.held and state.epoch == epoch
  end
  if not is_held or call('GETRANGE', job_key(id), 0, 7) ~= mark then
    answers[#answers + 1] = 'L'
    answers[#answers + 1] = id
  else
    if not score then -- it ran out, but nobody has taken it
      local value = call('GET', job_key(id))
      withdraw(id, queue, task_of(value), place_of(value, state))
    end
    renewed[queue] = renewed[queue] or {}
    table.insert(renewed[queue], exact(now + lease))
    table.insert(renewed[queue], id)
    if starts or report ~= '' then
      state = state or first_state()
      state.started = state.started or starts or nil
      if report ~= '' then
        state.reported = true
        merge(state, start, worker, fraction, message, saved)
        tell(id, reply_to, 'W', '', report, '')
      end
      save_state(id, state)
    end
    if state and state.cancelled then
      answers[#answers + 1] = 'C'
      answers[#answers + 1] = id
    end
  end
end
for queue, leases in pairs(renewed) do
  in_parts(leases, function(...) call('ZADD', leased(queue), ...) end)
  to_arm[queue] = true
end
wake_and_arm()
send_news()
return answers
