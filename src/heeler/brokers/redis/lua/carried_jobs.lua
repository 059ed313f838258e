-- Part: what is known of a job whose messages travel elsewhere.
-- Needs: start, given, register
--
-- j:ID      (string) a job for as long as anything is known of it:
--             57 bytes that the scripts write: a letter (L: its message is out, B: somebody has begun or renewed a run;
--             else how it ended); the epoch of the message that is out; when it expires (0: never); the epoch of the
--             last run; attempts; crashes; how many errands are left of it; whether the run was started alone, was
--             announced, is to be cancelled, and whether the last message was acknowledged; when it is due; until when
--             the run is held, or of an ended one how long its id is taken; its sequence number (see register);
--             then what its producer wrote (see given), unless it ended and nothing is kept; then its record, if it has
--             one. An ended job is forgotten by the server.
-- runs      (hash) id → what runs left behind, and what the message carries beyond its first form; most have no entry
-- paused    (set) queues

local HEADER = '<I4dI4I4I4I4BBBBdd'
local FROM = 58 -- where begins what its producer wrote
local NUMBER_AT = 50 -- where the sequence number stands
local OWED_AT = 25 -- where in the value, counted from 0, the number of errands stands
local RUNS = P .. 'runs'
local RUNS_UNTOLD = 30 -- seconds after its start by which we have been told of a run, or its worker is in trouble

-- What stands before the sequence number.
local function state_bytes(job)
  return job.letter .. struct.pack(HEADER, job.sent, job.expires_at, job.epoch, job.attempts, job.crashes, job.owed,
    job.started, job.reported, job.cancelled, job.acknowledged, job.due_at, job.till)
end

local function header_of(job)
  return state_bytes(job) .. struct.pack('<d', job.number)
end

local function new_job(id, sent)
  return {
    id = id, letter = 'L', sent = sent, expires_at = 0, epoch = sent, attempts = 0, crashes = 0, owed = 0, started = 0,
    reported = 0, cancelled = 0, acknowledged = 0, due_at = 0, till = 0,
  }
end

-- The job whose value begins with these bytes; nil if there is none, or if that was written by somebody else.
local function job_in(id, value)
  if not value or #value < FROM - 1 then
    return nil
  end
  local job = {id = id, letter = string.sub(value, 1, 1)}
  job.sent, job.expires_at, job.epoch, job.attempts, job.crashes, job.owed, job.started, job.reported, job.cancelled,
    job.acknowledged, job.due_at, job.till = struct.unpack(HEADER, value, 2)
  job.number = struct.unpack('<d', value, NUMBER_AT)
  return job
end

local function job_of(id)
  return job_in(id, call('GETRANGE', job_key(id), 0, FROM - 2))
end

-- What its producer wrote; empty if that is no longer kept.
local function content_of(job)
  return call('GETRANGE', job_key(job.id), FROM - 1, -1)
end

local function save(job)
  call('SETRANGE', job_key(job.id), 0, header_of(job))
end

-- Write a live job in the place of what is there under its id.
local function write(job, content)
  call('SET', job_key(job.id), header_of(job) .. content)
end

-- The same, and the register has it as published now.
local function add(job, content)
  job.number = call('INCR', P .. 'sequence')
  write(job, content)
  enter(job.number, {job_key(job.id)})
end

local function is_over(job)
  return job.letter ~= 'L' and job.letter ~= 'B'
end

local function is_held(job)
  return job.letter == 'B' and job.till > now
end

-- Whether its message waits and nobody may start it any more: who gets it ends it.
local function has_expired(job)
  return job.letter == 'L' and job.expires_at ~= 0 and job.expires_at + RUNS_UNTOLD <= now
end

-- Whether nobody else can have its id.
local function is_taken(job)
  return not is_over(job) or job.till > now
end

local are_runs_known = nil
local function has_any_runs()
  if are_runs_known == nil then
    are_runs_known = call('EXISTS', RUNS) == 1
  end
  return are_runs_known
end

local function runs_of(id)
  local packed = has_any_runs() and call('HGET', RUNS, id)
  if packed then
    local fine, runs = pcall(cmsgpack.unpack, packed)
    if fine and type(runs) == 'table' then
      return runs
    end
  end
  return {}
end

local function save_runs(id, runs)
  if next(runs) then
    call('HSET', RUNS, id, cmsgpack.pack(runs))
    are_runs_known = true
  elseif has_any_runs() then
    call('HDEL', RUNS, id)
  end
end

local function drop_runs(id)
  save_runs(id, {})
end

-- What a reader is told of its runs (see `known` in news).
local function seen_of(job)
  local runs = runs_of(job.id)
  return {attempts = job.attempts, crashes = job.crashes, record = runs.record, report = runs.report}
end

-- Another message of the job is out from now on; what was known of the last run is no more.
local function send_again(job, epoch, due_at, attempts, crashes, suspect, note)
  job.letter, job.sent, job.epoch, job.due_at, job.attempts, job.crashes = 'L', epoch, epoch, due_at, attempts, crashes
  job.started, job.reported, job.till = 0, 0, 0
  local runs = runs_of(job.id)
  runs.suspect = suspect or nil
  runs.note = note ~= '' and note or nil
  save_runs(job.id, runs)
end

-- The job; one that is not known (any more) is as its message says: `more` and `content` (see given). Nil if these are
-- empty and needed.
local function known_or_added(id, epoch, more, content)
  local job = job_of(id)
  if job or content == '' then
    return job
  end
  local _, expires_at, state = read_more(more)
  job = new_job(id, state.epoch + 1)
  job.expires_at, job.epoch, job.attempts, job.crashes = expires_at, epoch, state.attempts, state.crashes
  add(job, content)
  if state.suspect or state.note ~= '' then
    save_runs(id, {suspect = state.suspect, note = state.note})
  end
  return job
end
