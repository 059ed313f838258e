-- What is known of latches.
-- Needs: start
--
-- takes: '1' if their data are wanted (or ''), ids
-- returns: of each latch nothing if there is none; else rule, total (or ''), state, ok, not_ok, ticks, scope (or ''), who
--          broke it (or ''), '1' if it is stopped (or ''), '1' if it is cancelled (or ''), when it was published last, data

local DEEPEST = 64 -- latches that lie in one another

local read = {}
local function latch_of(id)
  if read[id] == nil then
    local latch = call('HMGET', P .. 'latch:' .. id, 'rule', 'state', 'scope', 'lifted', 'cancelled', 'forget_at')
    local forget_at = tonumber(latch[6])
    read[id] = latch[1] and not (forget_at and forget_at <= now) and latch
  end
  return read[id]
end

local with_data, ids = take() ~= '', take_list()
local answers = {}
for n, id in ipairs(ids) do
  local latch = latch_of(id)
  local answer = {}
  if latch then
    local is_stopped, is_cancelled, around = false, false, latch
    for _ = 1, DEEPEST do
      is_stopped = is_stopped or (around[2] == 'BROKEN' and around[4] ~= '1')
      is_cancelled = is_cancelled or around[5] == '1'
      around = around[3] and around[3] ~= '' and latch_of(around[3])
      if not around then
        break
      end
    end
    local key = P .. 'latch:' .. id
    local more = call('HMGET', key, 'total', 'ok', 'not_ok', 'ticks', 'broken_by', 'touched_at')
    answer = {
      latch[1], more[1] or '', latch[2] or 'OPEN', more[2] or '0', more[3] or '0', more[4] or '0', latch[3] or '',
      more[5] or '', is_stopped and '1' or '', is_cancelled and '1' or '', more[6] or '0',
      with_data and call('HGET', key, 'data') or '',
    }
  end
  answers[n] = answer
end
return answers
