-- End leases, with all that becomes true by that.
-- Needs: start, jobs, wake, news, burying, publishing, latches, endings, answers
--
-- takes: session and number of the call; how many groups; of each group one of
--   'E', queue, how many: deliveries that just end; of each id, 'EPOCH KEEP STATUS KEPT' (seconds; a letter, '-'
--        without a record; 'R' the record is kept, 'N' only the id, 'D' nothing), whom to tell (or ''), record
--   'A', queue, id, epoch: one delivery that becomes something else, or brings something about; and then
--        'ACK', 'DEAD', 'RETRY', 'RELEASE', or 'CHECK' (it cannot be stored as it is: only say whether it is held);
--        how many arguments follow,
--        and unless it is 'CHECK'
--        of ACK and DEAD: 'EPOCH KEEP STATUS KEPT', whom to tell, record
--        of DEAD: reason, errors, attempts, crashes, how many seconds and how many dead letters are kept
--        of RETRY and RELEASE: delay, attempts, crashes, suspect ('1' or ''), note, whom to tell, record
--        '1' and a publication (see latches) that follows, or ''
--        how many arrivals, and of each latch, member, kind
-- returns: of each delivery that was not ended its number and 'L' (its lease is lost) or 'I' (it is held but invalid)

local session, number = take(), take()
local answers = remembered('settle', session, number)
if answers then
  return answers
end
answers = {}
free_first()

local endings = {}
local function read_ending(text)
  local ending = endings[text]
  if not ending then
    local epoch, keep, status, kept = string.match(text, '^(%S+) (%S+) (%S+) (%S+)$')
    keep = tonumber(keep)
    ending = {
      epoch = tonumber(epoch), keep = keep, status = status, kept = kept, prefix = ended_prefix(status, keep),
      ttl = ttl(keep),
    }
    endings[text] = ending
  end
  return ending
end

local function leave(id, value, ending, reply_to, record)
  local ended = nil
  if ending.kept == 'R' or (ending.status ~= '-' and (reply_to ~= '' or watchers(id))) then
    ended = ending.prefix .. string.sub(value, FROM) .. record
  end
  if ending.kept == 'R' then
    call('SET', job_key(id), ended, 'PX', ending.ttl)
  elseif ending.kept == 'N' then
    keep_value(id, reserved_value(value, ending.keep), ending.keep)
  else
    call('DEL', job_key(id))
  end
  if ending.status ~= '-' and ended then
    tell(id, reply_to, ending.status, '', '', ended, true)
  end
end

local function end_plainly(queue, count, before)
  local first = read_so_far
  read_so_far = first + 4 * count
  local ids, keys, leases, values = {}, {}, {}, {}
  for n = 1, count do
    local id = ARGV[first + 4 * n - 3]
    ids[n] = id
    keys[n] = job_key(id)
  end
  in_parts(ids, function(...)
    for _, score in ipairs(call('ZMSCORE', leased(queue), ...)) do
      leases[#leases + 1] = score
    end
  end)
  in_parts(keys, function(...)
    for _, value in ipairs(call('MGET', ...)) do
      values[#values + 1] = value
    end
  end)
  local states = states_of(ids) or {}
  local seen, gone, with_state = {}, {}, {}
  for n = 1, count do
    local id, value, state = ids[n], values[n], unpacked_state(states[n])
    local argument = first + 4 * n
    local ending = read_ending(ARGV[argument - 2])
    local is_held = leases[n] and true
    if state then
      is_held = state.held and state.epoch == ending.epoch
    elseif ending.epoch ~= 1 then
      is_held = false
    end
    if seen[id] or not is_held or not value or letter_of(value) ~= 'L' then
      answers[#answers + 1] = tostring(before + n)
      answers[#answers + 1] = 'L'
    else
      seen[id] = true
      if leases[n] then
        gone[#gone + 1] = id
      else
        withdraw(id, queue, task_of(value), place_of(value, state))
      end
      if state then
        with_state[#with_state + 1] = id
      end
      leave(id, value, ending, ARGV[argument - 1], ARGV[argument])
    end
  end
  in_parts(gone, function(...) call('ZREM', leased(queue), ...) end)
  in_parts(with_state, function(...) call('HDEL', STATE, ...) end)
end

local function come_back(id, queue, value, state, is_retry)
  local delay, attempts, crashes, is_suspect = take_number(), take_number(), take_number(), take() ~= ''
  local note, reply_to, record = take(), take(), take()
  local place, task = place_of(value, state), task_of(value)
  withdraw(id, queue, task, place)
  state.held, state.started, state.reported = nil, nil, nil
  state.attempts, state.crashes, state.suspect = attempts, crashes, is_suspect or nil
  state.note = note ~= '' and note or nil
  if record ~= '' then
    state.record, state.report = record, nil
  end
  if state.cancelled then
    skip_members(end_unrun(id, value, state, 'cancelled while it ran; it was given back'))
    return
  end
  local next_at = ''
  if is_retry then
    place = math.floor(place / LEVEL) * LEVEL + call('INCR', P .. 'sequence')
    state.place, state.since = place, now
  end
  if delay > 0 then
    state.since = now + delay
    next_at = exact(now + delay)
    schedule(id, queue, place, now + delay)
  else
    put_back(id, queue, place, task)
  end
  save_state(id, state)
  if is_retry then
    tell(id, reply_to, 'R', next_at, '', '')
  end
end

-- Read what follows from an end, and make it real unless the end is not accepted. Arguments that nobody wants are
-- skipped by their count.
local function settle_one(queue, at)
  local id, epoch, action, rest = take(), take_number(), take(), take_number()
  local after = read_so_far + rest
  local state = state_of(id)
  local lease = call('ZSCORE', leased(queue), id)
  local value = stored(id)
  local is_held = lease and epoch == 1
  if state then
    is_held = state.held and state.epoch == epoch
  end
  if not is_held or not value or letter_of(value) ~= 'L' or action == 'CHECK' then
    answers[#answers + 1] = tostring(at)
    answers[#answers + 1] = is_held and value and 'I' or 'L'
    read_so_far = after
    return
  end
  if action == 'ACK' or action == 'DEAD' then
    local ending, reply_to, record = read_ending(take()), take(), take()
    withdraw(id, queue, task_of(value), place_of(value, state))
    call('HDEL', STATE, id)
    leave(id, value, ending, reply_to, record)
    if action == 'DEAD' then
      local letter = {reason = take(), errors = take(), attempts = take_number(), crashes = take_number()}
      bury(id, queue, task_of(value), epoch, string.sub(value, FROM), letter)
      prune_dead(take_number(), take_number())
    end
  else
    come_back(id, queue, value, state or first_state(), action == 'RETRY')
  end
  if take() ~= '' then
    publish_taken()
  end
  for _ = 1, take_number() do
    arrive(take(), take(), take())
  end
end

local done = 0
for _ = 1, take_number() do
  local kind, queue = take(), take()
  if kind == 'E' then
    local count = take_number()
    end_plainly(queue, count, done)
    done = done + count
  else
    done = done + 1
    settle_one(queue, done)
  end
end
remember('settle', session, number, answers)
finish()
return answers
