-- Change schedules whose states are still those that somebody has seen.
-- Needs: start, cells, schedules
--
-- takes: how many; of each its name; the move of its cell (see cells); and if it is to be there afterwards ('1' or '')
--        origin and definition
-- returns: of each '1' if it was changed, else ''

local answers = {}
for n = 1, take_number() do
  local name = take()
  local is_moved = move_cell(CELL .. name)
  if take() ~= '' then
    local origin, definition = take(), take()
    if is_moved then
      put_schedule(name, origin, definition)
    end
  elseif is_moved then
    drop_schedule(name)
  end
  answers[n] = is_moved and '1' or ''
end
return answers
