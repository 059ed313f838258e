-- Part: ending jobs whose messages travel elsewhere.
-- Needs: start, given, news, register, carried_jobs, errands, carried_adding, cells, latches

-- What is sent from here on belongs to an errand of its own.
local function begin_errand()
  to_send, to_tell, unasked = {}, {}, {}
end

local function ended(job, letter, content, tail)
  job.letter = letter
  return header_of(job) .. content .. tail
end

-- Only what tells that an id is taken.
local function reserved(content)
  local fine, length, from = pcall(function()
    local _, _, length, from = struct.unpack('<I4I4I2', content)
    return length, from
  end)
  return fine and string.sub(content, 1, from + length - 1) or ''
end

-- The job is over. `kept` says what is kept for `keep` seconds: 'R' its record, 'N' only its id, 'D' nothing; `tail` is
-- the record. The answer is what is stored with a record, if that is to be told.
local function leave(job, letter, keep, kept, tail, is_told)
  local content = (kept ~= 'D' or is_told) and content_of(job) or ''
  job.started, job.reported, job.cancelled, job.acknowledged = 0, 0, 0, 0
  job.till = kept == 'D' and 0 or now + keep
  local whole = (kept == 'R' or is_told) and ended(job, letter, content, tail) or ''
  local value = kept == 'R' and whole or ended(job, 'N', kept == 'N' and reserved(content) or '', '')
  call('PSETEX', job_key(job.id), ttl(math.max(job.till - now, kept_unacknowledged(job.due_at))), value)
  drop_runs(job.id)
  return whole
end

-- The job is over as CANCELLED, without a run (any more).
local function leave_unrun(job, reason)
  local head = head_of(content_of(job), 1) or {'', '', 0, 0, false, '', '', {}}
  local keep, keeps_result, is_reserved, reply_to = head[4], head[5], head[6] ~= '', head[7]
  local seen = known(seen_of(job))
  table.insert(seen, 1, exact(now))
  table.insert(seen, 1, reason)
  local kept = keeps_result and 'R' or is_reserved and 'N' or 'D'
  local told = leave(job, 'U', keep, kept, framed(seen), reply_to ~= '' or watchers(job.id))
  tell(job.id, reply_to, 'C', '', '', told, true)
  skip_members(members_of(head, job.id))
end

-- End a job whose message waits somewhere, or is in the hands of whoever asks for this. The answer is the errand's key.
local function end_unrun(job, reason)
  local key = end_key(job.id, job.sent)
  begin_errand()
  leave_unrun(job, reason)
  owe_for_end(key, job, to_send, '')
  return key
end
