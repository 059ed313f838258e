-- Part: all jobs of which anything is known, in the order in which they were published.
-- Needs: start, given
--
-- register:N      (string) the jobs whose first sequence number is from 1024 N to 1024 N + 1023, in that order: the time
--                 at which the first one was entered, a double, and their keys, one behind the other, because a batch has
--                 these at hand. A key stands here until the sweep finds that nothing is known of its job any more
-- register        (sorted set) all N, by N
-- register:sweep  (string) the N at which the sweep goes on

local ON_A_PAGE = 1024

-- The ids on a page of this text.
local function ids_in(text)
  local prefix = job_key('')
  local ids, from = {}, 9
  while from < #text do
    local begin = from + #prefix
    from = string.find(text, prefix, begin, true) or #text + 1
    ids[#ids + 1] = string.sub(text, begin, from - 1)
  end
  return ids
end

-- Begin a page, and drop keys of which nothing is known from older ones: from two for each new one, so that stale pages
-- cannot become many.
local function begin_page(page, text)
  local function known(ids)
    local kept = {}
    for _, id in ipairs(ids) do
      if call('EXISTS', job_key(id)) == 1 then
        kept[#kept + 1] = job_key(id)
      end
    end
    return kept
  end

  local function sweep(number)
    local key = P .. 'register:' .. number
    local some = ids_in(call('GETRANGE', key, 0, 2047)) -- the last one may be cut, and is not known then
    if #known(some) * 2 > #some then
      return -- most are known: not worth the while
    end
    local old = call('GET', key) or ''
    local kept = known(ids_in(old))
    if #kept > 0 then
      call('SET', key, string.sub(old, 1, 8) .. table.concat(kept))
    else
      call('DEL', key)
      call('ZREM', P .. 'register', number)
    end
  end

  call('SET', P .. 'register:' .. page, struct.pack('<d', now) .. text)
  call('ZADD', P .. 'register', page, page)
  local full = call('GET', P .. 'register:' .. page - 1)
  if full then
    call('SET', P .. 'register:' .. page - 1, full) -- APPEND had left it room to grow
  end
  local from = tonumber(call('GET', P .. 'register:sweep')) or 0
  local found = call('ZRANGEBYSCORE', P .. 'register', from, page - 1, 'LIMIT', 0, 2)
  for _, number in ipairs(found) do
    sweep(number)
  end
  call('SET', P .. 'register:sweep', #found == 2 and found[2] + 1 or 0)
end

-- Enter the keys of jobs that were just given the numbers from `first` on.
local function enter(first, keys)
  local done = 0
  while done < #keys do
    local page = math.floor((first + done) / ON_A_PAGE)
    local last = math.min(#keys, (page + 1) * ON_A_PAGE - first)
    local text = table.concat(keys, '', done + 1, last)
    if call('APPEND', P .. 'register:' .. page, text) == #text then
      begin_page(page, text)
    end
    done = last
  end
end
