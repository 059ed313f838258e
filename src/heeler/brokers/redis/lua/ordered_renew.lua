-- Keep runs, and take in what they say.
-- Needs: start, given, news, register, carried_jobs
--
-- takes: lease in seconds; how many; of each id, epoch, crashes, 'M' to mark that its run starts alone (or ''), more and
--        content as they are given (see given; both empty unless they were asked for), a report as it is told to who
--        waits (or ''), and if there is one: whom to tell, start, worker, fraction, message, saved (each '' where the
--        report leaves it out; of the last three else '=' and the value)
-- returns: 'L' (lost), 'C' (somebody cancelled it) or 'A' (ask again with more and content) and the id, of those of
--          which there is something to say

local lease, count = take_number(), take_number()
local answers = {}
free_first()

local function merge(runs, start, worker, fraction, message, saved)
  local report = runs.report or {}
  runs.report = report
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

local function say(letter, id)
  answers[#answers + 1] = letter
  answers[#answers + 1] = id
end

for _ = 1, count do
  local id, epoch, crashes, starts = take(), take_number(), take_number(), take() ~= ''
  local more, content, report = take(), take(), take()
  local reply_to, start, worker, fraction, message, saved
  if report ~= '' then
    reply_to, start, worker, fraction, message, saved = take(), take(), take(), take(), take(), take()
  end
  local job = known_or_added(id, epoch, more, content)
  if not job then
    say('A', id)
  elseif is_over(job) or job.epoch ~= epoch then
    say('L', id)
  else
    job.letter, job.crashes, job.till = 'B', crashes, now + lease
    job.started = starts and 1 or job.started
    if job.cancelled == 1 then
      say('C', id)
    end
    if report ~= '' then
      job.reported = 1
      local runs = runs_of(id)
      merge(runs, start, worker, fraction, message, saved)
      save_runs(id, runs)
      tell(id, reply_to, 'W', '', report, '')
    end
    save(job)
  end
end
send_news()
return answers
