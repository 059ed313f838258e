-- What is to be done with messages that came.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches, carried_ending
--
-- takes: lease in seconds; '1' if their bodies are so large that only the beginnings are to be read (or '');
--        the names of queues; how many; of each id, 'EPOCH QUEUE KIND' (the place of the name; 'F' a first delivery, 'R'
--        a redelivered one), and as it is given (see given) more and content, both empty unless they were asked for
-- returns: the time; then of each that is not just to be run, as its message says, without expiry: its number and
--   'P' its queue is paused; 'E' its run has ended, and what is unsent (see errands); 'H' it is held, for how long;
--   'R' to be run: epoch, crashes, when it expires (or ''); 'X' to be run as its message says: when it expires;
--   'N' to be run as its message says, it is not known; 'A' ask again with more and content

local lease, is_large, queues, count = take_number(), take() ~= '', take_list(), take_number()
local answers = {}
free_first()

local is_paused = {}
for n, queue in ipairs(call('EXISTS', P .. 'paused') == 1 and queues or {}) do
  is_paused[n] = call('SISMEMBER', P .. 'paused', queue) == 1
end

local kinds = {}
local function read_kind(text)
  local kind = kinds[text]
  if not kind then
    local epoch, queue, letter = string.match(text, '^(%d+) (%d+) (%a)$')
    epoch = tonumber(epoch)
    kind = {
      epoch = epoch, is_paused = is_paused[tonumber(queue)], is_first = letter == 'F',
      awaited = 'L' .. struct.pack('<I4d', epoch, 0), -- how the value of a job begins that just waits for this message
    }
    kinds[text] = kind
  end
  return kind
end

local function begun(id, kind, more, content)
  local job = job_of(id)
  local epoch = kind.epoch
  if job and (epoch < job.sent or (is_over(job) and epoch == job.sent)) then
    return {'E', unsent_of(end_key(id, epoch))}
  end
  if kind.is_first and not (job and (job.letter == 'B' or epoch > job.sent)) then
    if not job then
      return {'N'}
    end
    return {'X', job.expires_at ~= 0 and exact(job.expires_at) or ''}
  end
  if content == '' and (not job or epoch > job.sent) then
    return {'A'}
  end
  job = known_or_added(id, epoch, more, content)
  if epoch > job.sent then -- that this one was sent is lost
    local _, _, state = read_more(more)
    local was_over = is_over(job)
    send_again(job, epoch, 0, state.attempts, state.crashes, state.suspect, state.note)
    if was_over then -- what its producer wrote may be gone
      write(job, content)
    end
  end
  if is_held(job) then
    return {'H', exact(job.till - now)}
  end
  if job.cancelled == 1 then
    return {'E', unsent_of(end_unrun(job, 'cancelled while it ran on a worker that was lost'))}
  end
  job.epoch, job.crashes, job.started, job.reported = job.epoch + 1, job.crashes + job.started, 0, 0
  job.letter, job.till = 'B', now + lease
  save(job)
  return {'R', job.epoch, job.crashes, job.expires_at ~= 0 and exact(job.expires_at) or ''}
end

local first = read_so_far
local values, keys = {}, {}
for n = 1, count do
  keys[n] = job_key(ARGV[first + 4 * n - 3])
end
if is_large then
  for n, key in ipairs(keys) do
    values[n] = call('GETRANGE', key, 0, 12)
  end
else
  in_parts(keys, function(...)
    for _, value in ipairs(call('MGET', ...)) do
      values[#values + 1] = value
    end
  end)
end
local seen = {}
for n = 1, count do
  local at = first + 4 * n - 3
  local id, kind, value = ARGV[at], read_kind(ARGV[at + 1]), values[n]
  local is_plain = value and kind.is_first and not seen[id] and string.sub(value, 1, 13) == kind.awaited
  if kind.is_paused then
    answers[#answers + 1] = {n, 'P'}
  elseif not is_plain then
    local answer = begun(id, kind, ARGV[at + 2], ARGV[at + 3])
    table.insert(answer, 1, n)
    answers[#answers + 1] = answer
    seen[id] = true
  end
end
send_news()
return {exact(now), answers}
