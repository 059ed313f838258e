-- End runs, each with all that follows.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches, carried_ending, answers
--
-- takes: session and number of the call; how many groups; of each group one of
--   'E', how many runs that just end, of each id, 'EPOCH KEEP STATUS KEPT' (seconds; a letter, '-' without a record; 'R'
--        the record is kept, 'N' only the id, 'D' nothing), whom to tell (or ''), record
--   'A', one that becomes something else, or brings something about: id, epoch, more and content as they are given (see
--        given; both empty unless they were asked for), 'ACK', 'DEAD', 'RETRY' or 'RELEASE', how many arguments follow,
--        and
--        of ACK and DEAD: 'EPOCH KEEP STATUS KEPT', whom to tell, record, dead letter (or '')
--        of RETRY and RELEASE: delay, attempts, crashes, suspect ('1' or ''), note, whom to tell, record
--        '1' and a publication (see latches) that follows, or ''
--        how many arrivals, and of each latch, member, kind, job
-- returns: of each run that was not ended, with nothing to send, as the end of the message of its epoch: its number and
--   'L' it is lost; 'A' ask again as 'A' with more and content; 'M' the epoch of its message; 'U' what is unsent (see
--   errands)

local session, number = take(), take()

-- What is unsent is told as it is now.
local function told(answers)
  for n, answer in ipairs(answers) do
    if answer[2] == 'U' then
      answers[n] = {answer[1], 'U', unsent_of(answer[3])}
    end
  end
  return answers
end

local before = remembered('apply', session, number)
if before then
  return told(before)
end
free_first()

local answers = {}
local function say(...)
  answers[#answers + 1] = {...}
end

local endings = {}
local function read_ending(text)
  local ending = endings[text]
  if not ending then
    local epoch, keep, status, kept = string.match(text, '^(%S+) (%S+) (%S+) (%S+)$')
    ending = {epoch = tonumber(epoch), keep = tonumber(keep), status = status, kept = kept}
    local job = new_job('', 1)
    job.till = kept == 'D' and 0 or now + ending.keep
    job.letter = kept == 'R' and status or 'N'
    ending.state = state_bytes(job)
    ending.ttl = ttl(math.max(job.till - now, UNACKNOWLEDGED_KEPT))
    endings[text] = ending
  end
  return ending
end

local function end_run(job, ending, reply_to, record)
  local is_told = ending.status ~= '-' and (reply_to ~= '' or watchers(job.id))
  local whole = leave(job, ending.status, ending.keep, ending.kept, record, is_told)
  if is_told then
    tell(job.id, reply_to, ending.status, '', '', whole, true)
  end
end

local function end_plainly(count, done)
  local first = read_so_far
  read_so_far = first + 4 * count
  local keys, values = {}, {}
  for n = 1, count do
    keys[n] = job_key(ARGV[first + 4 * n - 3])
  end
  in_parts(keys, function(...)
    for _, value in ipairs(call('MGET', ...)) do
      values[#values + 1] = value
    end
  end)
  local seen = {}
  for n = 1, count do
    local at = first + 4 * n - 3
    local id, ending, value, reply_to, record = ARGV[at], read_ending(ARGV[at + 1]), values[n], ARGV[at + 2], ARGV[at + 3]
    if seen[id] then
      value = call('GET', keys[n])
    end
    seen[id] = true
    local is_told = ending.status ~= '-' and (reply_to ~= '' or watchers(id))
    local is_fresh = value and ending.epoch == 1 and string.sub(value, 1, NUMBER_AT - 1) == FRESH
    if is_fresh and ending.kept == 'R' then
      local whole = ending.state .. string.sub(value, NUMBER_AT) .. record
      call('PSETEX', keys[n], ending.ttl, whole)
      if is_told then
        tell(id, reply_to, ending.status, '', '', whole, true)
      end
    elseif is_fresh and ending.kept == 'D' and not is_told then
      call('PSETEX', keys[n], ending.ttl, ending.state .. string.sub(value, NUMBER_AT, FROM - 1))
    else
      local job = job_in(id, value)
      if not job then
        say(done + n, 'A')
      elseif is_over(job) or job.epoch ~= ending.epoch then
        say(done + n, 'L')
      else
        end_run(job, ending, reply_to, record)
        if job.sent ~= ending.epoch then
          say(done + n, 'M', job.sent)
        end
      end
    end
  end
end

-- RETRY or RELEASE: a copy is to be sent, unless the job is cancelled.
local function come_back(job, epoch, is_retry)
  local delay, attempts, crashes, is_suspect = take_number(), take_number(), take_number(), take() ~= ''
  local note, reply_to, record = take(), take(), take()
  if record ~= '' then
    local runs = runs_of(job.id)
    runs.record, runs.report = record, nil
    save_runs(job.id, runs)
  end
  if job.cancelled == 1 then
    job.attempts, job.crashes = attempts, crashes
    leave_unrun(job, 'cancelled while it ran; it was given back')
    return
  end
  send_again(job, epoch + 1, delay > 0 and now + delay or 0, attempts, crashes, is_suspect, note)
  save(job)
  to_send[#to_send + 1] = job.id
  to_send[#to_send + 1] = job.sent
  if is_retry then
    tell(job.id, reply_to, 'R', delay > 0 and exact(job.due_at) or '', '', '')
  end
end

local function end_one(at)
  local id, epoch, more, content, action, rest = take(), take_number(), take(), take(), take(), take_number()
  local after = read_so_far + rest
  local job = known_or_added(id, epoch, more, content)
  if not job or is_over(job) or job.epoch ~= epoch then
    say(at, job and 'L' or 'A')
    read_so_far = after
    return
  end
  local sent, letter = job.sent, ''
  local key = end_key(id, sent)
  begin_errand()
  if action == 'ACK' or action == 'DEAD' then
    end_run(job, read_ending(take()), take(), take())
    letter = take()
  else
    come_back(job, epoch, action == 'RETRY')
  end
  if take() ~= '' then
    publish_taken()
  end
  for _ = 1, take_number() do
    arrive(take(), take(), take(), take())
  end
  owe_for_end(key, job, to_send, letter)
  if #to_send > 0 or letter ~= '' then
    say(at, 'U', key)
  elseif sent ~= epoch then
    say(at, 'M', sent)
  end
end

local done = 0
for _ = 1, take_number() do
  if take() == 'E' then
    local count = take_number()
    end_plainly(count, done)
    done = done + count
  else
    done = done + 1
    end_one(done)
  end
end
remember('apply', session, number, answers)
send_news()
return told(answers)
