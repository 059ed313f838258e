-- End leases, with all that becomes true by that: `settle` where something follows.
-- Needs: start, given, jobs, wake, lines, news, burying, register, publishing, cells, latches, ended, unrun, settling, answers
-- Seldom: given, jobs, ended, settling_seldom
--
-- takes: session and number of the call, '1' if it may be a repetition (or ''); how many groups; of each group one of
--   'E', queue, how many deliveries: as `settle` takes them
--   'J', the same, and then of those that arrive somewhere, all well: how many latches, and of each its id, how many
--        members, and of each of these which delivery of the group it is, and the member
--   'A', queue, id, mark, epoch: one delivery that becomes something else, or brings something about; and then
--        'ACK', 'DEAD', 'RETRY', 'RELEASE', or 'CHECK' (it cannot be stored as it is: only say whether it is held);
--        how many arguments follow,
--        and unless it is 'CHECK'
--        of ACK and DEAD: 'EPOCH KEEP STATUS KEPT', whom to tell, record
--        of DEAD: reason, errors, attempts, crashes, how many seconds and how many dead letters are kept
--        of RETRY and RELEASE: delay, attempts, crashes, suspect ('1' or ''), note, whom to tell, record
--        '1' and a publication (see latches) that follows, or ''
--        how many arrivals, and of each latch, member, kind, job
-- returns: of each delivery that was not ended its number and 'L' (its lease is lost) or 'I' (it is held but invalid)

local session, number = take(), take()
local known_answers = take() ~= '' and remembered('settle', session, number)
if known_answers then
  return known_answers
end
free_first()

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
  local id, mark, epoch, action, rest = take(), take(), take_number(), take(), take_number()
  local after = read_so_far + rest
  local state = state_of(id)
  local lease = call('ZSCORE', leased(queue), id)
  local value = stored(id)
  local is_held = lease and epoch == 1
  if state then
    is_held = state.held and state.epoch == epoch
  end
  is_held = is_held and value and letter_of(value) == 'L' and mark_of(value) == mark
  if not is_held or action == 'CHECK' then
    answers[#answers + 1] = tostring(at)
    answers[#answers + 1] = is_held and 'I' or 'L'
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
    arrive(take(), take(), take(), take())
  end
end

local COUNTED = tostring(TICK)

-- Read where deliveries of a group have arrived, all in one go at each latch; those that were not ended have not.
local function arrive_together(refused)
  for _ = 1, take_number() do
    local id, count = take(), take_number()
    local first, numbers, ticks = read_so_far + 1, {}, 0
    read_so_far = read_so_far + 2 * count
    for at = first, read_so_far, 2 do
      local member = ARGV[at + 1]
      if not (refused and refused[tonumber(ARGV[at])]) then
        if member == COUNTED then
          ticks = ticks + 1
        else
          numbers[#numbers + 1] = member
        end
      end
    end
    arrive_all(id, numbers, ticks, 'OK', '')
  end
end

local done = 0
for _ = 1, take_number() do
  local kind, queue = take(), take()
  if kind == 'E' or kind == 'J' then
    local count = take_number()
    local refused = end_plainly(queue, count, done)
    if kind == 'J' then
      arrive_together(refused)
    end
    done = done + count
  else
    done = done + 1
    settle_one(queue, done)
  end
end
remember('settle', session, number, answers)
wake_and_arm()
send_news()
return answers
