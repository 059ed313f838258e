-- Part: who sleeps because there was nothing, and who is woken; and who has the alarm for what comes by time.
-- Needs: start
--
-- sleepers   (hash) address → its queues, the tasks that it passes over, and its lease if a job may come with its wake-up
-- asleep:Q   (sorted set) the addresses that sleep on queue Q, by when they lay down
-- alarms     (hash) queue → who wakes by itself when the next job comes due or the next lease runs out, and when
-- p:ADDRESS  (channel) 'w': there is work; 'j TIME STORED': here is a job, leased at that time; 'a SECONDS': you have
--            the alarm
--
-- Of the sleepers of a queue one has the alarm. Whoever is told that one comes earlier sets it anew; whoever has it
-- and leaves passes it on; who was handed a job keeps it. A sleeper whose channel nobody hears is dead.

local SLEEPERS = P .. 'sleepers'
local ALARMS = P .. 'alarms'
local LARGEST_HANDED_OVER = 8192 -- bytes
local SHORT_LEASE = 5 -- seconds; the end of a longer one is noticed in time when sleepers look

local function asleep(queue) return P .. 'asleep:' .. queue end

local is_anybody_asleep = nil
local function sleeps_anybody()
  if is_anybody_asleep == nil then
    is_anybody_asleep = call('EXISTS', SLEEPERS) == 1
  end
  return is_anybody_asleep
end

local to_arm = {} -- queues that lost who had their alarm, or got an earlier time

local work = {} -- queue → how many jobs it got in this script
local tasks_of_work = {} -- queue → the set of their tasks, false where one is not known

local function new_work(queue, jobs, task)
  work[queue] = (work[queue] or 0) + jobs
  if not task then
    tasks_of_work[queue] = false
  elseif tasks_of_work[queue] ~= false then
    tasks_of_work[queue] = tasks_of_work[queue] or {}
    tasks_of_work[queue][task] = true
  end
end

local function sleeper(address)
  local packed = call('HGET', SLEEPERS, address)
  if not packed then
    return nil
  end
  local fine, entry = pcall(cmsgpack.unpack, packed)
  if fine and type(entry) == 'table' and type(entry.queues) == 'table' then
    return entry
  end
  call('HDEL', SLEEPERS, address)
  return nil
end

local function passes_over_all(entry, tasks)
  if type(entry.skipped) ~= 'table' or not tasks then
    return false
  end
  local skipped = {}
  for _, task in ipairs(entry.skipped) do
    skipped[task] = true
  end
  for task in pairs(tasks) do
    if not skipped[task] then
      return false
    end
  end
  return true
end

-- What is only needed where somebody sleeps; a script has no time to make functions that it does not call.
local made = nil
local function sleeping()
  if made then
    return made
  end

  -- When the next job of a queue comes due or the next lease runs out; nil: nothing is in sight, or it is paused.
  local function next_time(queue)
    if call('SISMEMBER', P .. 'paused', queue) == 1 then
      return nil
    end
    local soonest = nil
    for _, key in ipairs({P .. 'due:' .. queue, P .. 'leased:' .. queue}) do
      local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
      local time = tonumber(first[2])
      if time and (not soonest or time < soonest) then
        soonest = time
      end
    end
    return soonest
  end

  local function alarm_of(queue)
    local packed = call('HGET', ALARMS, queue)
    if not packed then
      return nil
    end
    local fine, alarm = pcall(cmsgpack.unpack, packed)
    if fine and type(alarm) == 'table' and type(alarm.at) == 'number' then
      return alarm
    end
    return nil
  end

  local function get_up(address, queues)
    call('HDEL', SLEEPERS, address)
    for _, queue in ipairs(queues) do
      call('ZREM', asleep(queue), address)
      local alarm = alarm_of(queue)
      if alarm and alarm.address == address then
        call('HDEL', ALARMS, queue)
        to_arm[queue] = true
      end
    end
  end

  -- See to it that somebody who sleeps wakes when it is time for this queue.
  local function arm(queue)
    if call('EXISTS', SLEEPERS) == 0 then
      return
    end
    local time = next_time(queue)
    if not time then
      call('HDEL', ALARMS, queue)
      return
    end
    local alarm = alarm_of(queue)
    if alarm and alarm.at <= time and alarm.at > now and call('HEXISTS', SLEEPERS, alarm.address) == 1 then
      return
    end
    local candidates = call('ZREVRANGE', asleep(queue), 0, -1)
    if alarm then
      table.insert(candidates, 1, alarm.address)
    end
    for _, address in ipairs(candidates) do
      local entry = sleeper(address)
      if entry then
        if call('PUBLISH', P .. 'p:' .. address, 'a ' .. exact(math.max(0, time - now))) > 0 then
          call('HSET', ALARMS, queue, cmsgpack.pack({address = address, at = time}))
          return
        end
        get_up(address, entry.queues)
      else
        call('ZREM', asleep(queue), address)
      end
    end
    call('HDEL', ALARMS, queue)
  end

  -- Lie down. The answer is in how many seconds to wake by oneself; nil if that is somebody else's part.
  local function lie_down(address, queues, skipped, lease)
    call('HSET', SLEEPERS, address, cmsgpack.pack({queues = queues, skipped = skipped, lease = lease}))
    is_anybody_asleep = true
    local soonest = nil
    for _, queue in ipairs(queues) do
      call('ZADD', asleep(queue), exact(now), address)
      local time = next_time(queue)
      if time then
        local alarm = alarm_of(queue)
        local is_served = alarm and alarm.address ~= address and alarm.at <= time and alarm.at > now
          and call('HEXISTS', SLEEPERS, alarm.address) == 1
        if not is_served then
          call('HSET', ALARMS, queue, cmsgpack.pack({address = address, at = time}))
          if not soonest or time < soonest then
            soonest = time
          end
        end
      end
    end
    return soonest and math.max(0, soonest - now)
  end

  -- Wake as many sleepers of a queue as there are new jobs; `tasks` is the set of their tasks, nil where it is not known.
  local function wake(queue, jobs, tasks)
    local first = 0
    while jobs > 0 do
      local addresses = call('ZREVRANGE', asleep(queue), first, first + 15)
      if #addresses == 0 then
        return
      end
      for _, address in ipairs(addresses) do
        local entry = sleeper(address)
        if not entry then
          call('ZREM', asleep(queue), address)
        elseif passes_over_all(entry, tasks) then
          first = first + 1
        else
          get_up(address, entry.queues)
          if call('PUBLISH', P .. 'p:' .. address, 'w') > 0 then
            jobs = jobs - 1
            if jobs == 0 then
              return
            end
          end
        end
      end
    end
  end

  made = {get_up = get_up, lie_down = lie_down, wake = wake, arm = arm}
  return made
end

-- Lease a new job, that stands in no line, to a sleeper and send it along with the wake-up; whether one took it.
local function hand_over(queue, id, task, value)
  local addresses = call('ZREVRANGE', asleep(queue), 0, 15)
  if #value > LARGEST_HANDED_OVER or call('SISMEMBER', P .. 'paused', queue) == 1 then
    return false
  end
  for _, address in ipairs(addresses) do
    local entry = sleeper(address)
    if entry and type(entry.lease) == 'number' and not passes_over_all(entry, {[task] = true}) then
      call('HDEL', SLEEPERS, address)
      for _, other in ipairs(entry.queues) do
        call('ZREM', asleep(other), address)
      end
      call('ZADD', P .. 'leased:' .. queue, exact(now + entry.lease), id)
      if call('PUBLISH', P .. 'p:' .. address, 'j ' .. exact(now) .. ' ' .. value) > 0 then
        if entry.lease < SHORT_LEASE then
          to_arm[queue] = true
        end
        return true
      end
      call('ZREM', P .. 'leased:' .. queue, id)
      sleeping().get_up(address, entry.queues)
    end
  end
  return false
end

-- The end of every script that moves jobs.
local function wake_and_arm()
  if not next(work) and not next(to_arm) or not sleeps_anybody() then
    return
  end
  local wake, arm = sleeping().wake, sleeping().arm
  for queue, jobs in pairs(work) do
    if call('SISMEMBER', P .. 'paused', queue) == 0 then
      wake(queue, jobs, tasks_of_work[queue])
    end
  end
  while next(to_arm) do
    local queue = next(to_arm)
    to_arm[queue] = nil
    arm(queue)
  end
end
