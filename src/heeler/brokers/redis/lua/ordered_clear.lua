-- What had to be sent has been sent.
-- Needs: start, given, register, carried_jobs, errands
--
-- takes: '1' if the messages that brought it about were acknowledged (or ''); keys
-- returns: nothing

local is_acknowledged = take() ~= ''
free_first()

-- Whether there was such an errand.
local function drop(key)
  call('ZREM', UNSENT, key)
  return call('DEL', errand_key(key)) == 1
end

-- The job ended, and none of its messages comes again, unless an acknowledgement was lost.
local function forget_soon(job)
  call('PEXPIRE', job_key(job.id), ttl(math.max(job.till - now, ENDS_KEPT)))
end

local function clear_end(key, id, sent)
  local job = job_of(id)
  local may_owe = not job or job.owed > 0
  if not is_acknowledged then
    if may_owe then
      call('ZREM', UNSENT, key)
      call('SET', errand_key(key), '', 'XX', 'KEEPTTL')
    end
    return
  end
  if may_owe and drop(key) and job then
    add_owed(job, -1)
  end
  if not job or not is_over(job) then
    return
  end
  local is_last = job.sent == sent
  if job.owed == 0 and (is_last or job.acknowledged == 1) then
    forget_soon(job)
  elseif is_last then
    job.acknowledged = 1
    save(job)
  end
end

for _, key in ipairs(take_list()) do
  local sent, id = string.match(key, '^e(%d+)/(.*)$')
  if sent then
    clear_end(key, id, tonumber(sent))
  else
    drop(key)
  end
end
return false
