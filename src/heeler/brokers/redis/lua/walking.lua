-- Part: looking through the register, the job published last first.
-- Needs: start, given, register

local FIRST_BYTES = 512 -- of a stored job: mostly with its head

-- `page`, `before`, `after`: where to begin, as `listed` takes it; pages on which all were entered before `moment` are not
-- looked at. `is_wanted` gets an id and the number of its page. The answer is where to go on, N and number ('' and '' at the
-- end), and ids.
local function look_through(page, before, after, look, find, moment, is_wanted)
  local ids = {}
  while true do
    local number = call('ZREVRANGEBYSCORE', P .. 'register', page or '+inf', '-inf', 'LIMIT', 0, 1)[1]
    number = tonumber(number)
    if not number then
      return {'', '', ids}
    end
    local text = call('GET', P .. 'register:' .. number) or ''
    local entries = ids_in(text)
    local last_of = {} -- an id that was used again on this page counts where it stands last
    for n, id in ipairs(entries) do
      last_of[id] = n
    end
    if page ~= number then
      before = nil
    elseif after ~= '' then
      before, after = last_of[after], ''
    end
    for n = math.min(#entries, (before or #entries + 1) - 1), 1, -1 do
      if look == 0 or #ids == find then
        return {tostring(number), tostring(n + 1), ids}
      end
      look = look - 1
      if last_of[entries[n]] == n and is_wanted(entries[n], number) then
        ids[#ids + 1] = entries[n]
      end
    end
    if moment and #text >= 8 and struct.unpack('<d', text) < moment then
      return {'', '', ids}
    end
    page, before = number - 1, nil
  end
end
