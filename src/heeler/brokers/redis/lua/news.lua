-- Part: who hears of which job.
-- Needs: start
--
-- watched    (hash) id → addresses that asked to hear of a job that they did not enqueue
-- p:ADDRESS  (channel) one message for all that a script has to tell there: arrays of id, status, time of the next
--            run, report, and the stored job (empty where that is large: it is to be read)

-- Strings as one, which the reader takes apart as an array of RESP, the protocol of Redis.
local function framed(list)
  local frames = {'*', #list, '\r\n'}
  for n = 1, #list do
    local item = list[n]
    frames[#frames + 1] = '$' .. #item .. '\r\n'
    frames[#frames + 1] = item
    frames[#frames + 1] = '\r\n'
  end
  return table.concat(frames)
end

-- What a reader is told of a live job beyond its envelope: attempts, crashes, record, and what its runs reported.
local function known(state)
  if not state then
    return {}
  end
  local report = state.report or {}
  local list = {
    exact(state.attempts), exact(state.crashes), state.record or '', report.started or '', report.last or '',
    report.fraction or '', report.message or '', report.saved or '',
  }
  for _, worker in ipairs(report.workers or {}) do
    list[#list + 1] = worker
  end
  return list
end

local WATCHED = P .. 'watched'
local LARGE = 8192 -- bytes of a stored job that is not sent along
local LARGEST_MESSAGE = 262144

local told = {} -- address → strings
local told_bytes = 0

local is_anything_watched = nil
local function watchers(id)
  if is_anything_watched == nil then
    is_anything_watched = call('EXISTS', WATCHED) == 1
  end
  local packed = is_anything_watched and call('HGET', WATCHED, id)
  if not packed then
    return nil
  end
  local fine, addresses = pcall(cmsgpack.unpack, packed)
  return fine and type(addresses) == 'table' and addresses or nil
end

-- From now on an address is to hear of this job.
local function watch(id, address)
  local addresses = watchers(id) or {}
  for _, other in ipairs(addresses) do
    if other == address then
      return
    end
  end
  addresses[#addresses + 1] = address
  call('HSET', WATCHED, id, cmsgpack.pack(addresses))
  is_anything_watched = true
end

local function put(address, id, status, next_at, report, value)
  local news = told[address]
  if not news then
    news = {}
    told[address] = news
  end
  local n = #news
  news[n + 1], news[n + 2], news[n + 3], news[n + 4], news[n + 5] = id, status, next_at, report, value
end

-- Tell of a job whoever wants to hear of it. `has_ended`: nobody needs to watch it any more.
local function tell(id, reply_to, status, next_at, report, value, has_ended)
  local addresses = watchers(id)
  if reply_to == '' and not addresses then
    return
  end
  if #value > LARGE or told_bytes > LARGEST_MESSAGE then
    value = ''
  end
  told_bytes = told_bytes + #value
  if reply_to ~= '' then
    put(reply_to, id, status, next_at, report, value)
  end
  if addresses then
    for _, address in ipairs(addresses) do
      if address ~= reply_to then
        put(address, id, status, next_at, report, value)
      end
    end
    if has_ended then
      call('HDEL', WATCHED, id)
    end
  end
end

local function send_news()
  for address, news in pairs(told) do
    call('PUBLISH', P .. 'p:' .. address, framed(news))
  end
end
