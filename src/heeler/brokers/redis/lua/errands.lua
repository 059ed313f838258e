-- Part: errands, what has to be sent because of what is true already.
-- Needs: start, given, register, carried_jobs
--
-- u:KEY    (string) packed: the job whose message has ended ('' for a publication), the messages that have to be sent
--          (id, epoch, …), a dead letter ('' for none) and when it died; empty: all was sent, but the message that
--          brought it about may come again
-- unsent   (sorted set) keys of those that have something to send, by the time since when, or when somebody took them
--
-- A key is 'eEPOCH/ID' for the end of the message of that epoch, 'p/…' for a publication, 'rEPOCH/ID' for a redrive. An
-- end from which nothing follows is only the job's own; no errand is written for it.

local UNACKNOWLEDGED_KEPT = 30 * 86400
local ENDS_KEPT = 120 -- seconds after the acknowledgement, which may have been lost
local UNSENT = P .. 'unsent'

local function errand_key(key) return P .. 'u:' .. key end
local function end_key(id, sent) return 'e' .. exact(sent) .. '/' .. id end

-- For how many milliseconds something is kept, as SET takes it.
local function ttl(seconds)
  return exact(math.max(1, math.min(math.ceil(seconds * 1000), LONGEST_TTL)))
end

-- For how long it is remembered that a message has ended which may still come.
local function kept_unacknowledged(due_at)
  return math.max(0, due_at - now) + UNACKNOWLEDGED_KEPT
end

local function add_owed(job, by)
  job.owed = job.owed + by
  call('SETRANGE', job_key(job.id), OWED_AT, struct.pack('<I4', job.owed))
end

local function owe(key, id, messages, letter, seconds)
  local name = errand_key(key)
  if id ~= '' and call('EXISTS', name) == 0 then
    local job = job_of(id) -- perhaps what follows has its id
    if job then
      add_owed(job, 1)
    end
  end
  call('SET', name, cmsgpack.pack({id, messages, letter, now}), 'PX', ttl(seconds))
  call('ZADD', UNSENT, exact(now), key)
end

-- What follows from the end of a message of a job, if anything does.
local function owe_for_end(key, job, messages, letter)
  if #messages > 0 or letter ~= '' then
    owe(key, job.id, messages, letter, kept_unacknowledged(job.due_at))
  end
end

-- A message as it is to be sent: content, epoch, attempts, crashes, whether it is a suspect, note, delay.
local function message_of(job)
  local runs = runs_of(job.id)
  return {
    content_of(job), job.sent, job.attempts, job.crashes, runs.suspect and 1 or 0, runs.note or '',
    exact(math.max(0, job.due_at - now)),
  }
end

-- What is left to send of an errand: key, dead letter, when it died, messages.
local function unsent_of(key)
  local packed = call('GET', errand_key(key))
  local fine, errand = pcall(cmsgpack.unpack, packed or '')
  if not packed or packed == '' or not fine or type(errand) ~= 'table' or type(errand[2]) ~= 'table' then
    return {key, '', '0', {}}
  end
  local messages = {}
  for n = 1, #errand[2], 2 do
    local job = job_of(errand[2][n])
    if job and job.letter == 'L' and job.sent == errand[2][n + 1] then
      messages[#messages + 1] = message_of(job)
    end
  end
  return {key, errand[3], exact(errand[4]), messages}
end
