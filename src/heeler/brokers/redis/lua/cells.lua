-- Part: named values that guards compare, and when those of schedules are due.
-- Needs: start
--
-- cells      (hash) cell → what it holds
-- cells:due  (sorted set) cells of schedules, by when they are due

local CELLS = P .. 'cells'
local CELLS_DUE = P .. 'cells:due'

-- What a cell is to hold from now on (nil: it is absent), and when it is due ('': never).
local function set_cell(cell, value, due_at)
  if value then
    call('HSET', CELLS, cell, value)
  else
    call('HDEL', CELLS, cell)
  end
  if value and due_at ~= '' then
    call('ZADD', CELLS_DUE, due_at, cell)
  else
    call('ZREM', CELLS_DUE, cell)
  end
end

-- Read from the arguments what the cell is to hold now ('1' or '' for absent, and the value) and what it then holds
-- ('1' or '', the value, when it is due or ''). Whether it held that and was moved.
local function move_cell(cell)
  local is_expected, expected, is_next, following, due_at = take() ~= '', take(), take() ~= '', take(), take()
  if call('HGET', CELLS, cell) ~= (is_expected and expected) then
    return false
  end
  set_cell(cell, is_next and following, due_at)
  return true
end
