-- Part: answers that are remembered for two minutes, for who repeats a call because its reply was lost.
-- Needs: start
--
-- c:VERB:SESSION:NUMBER mod 32  (string) the number, and the answer to that call

local function answer_key(verb, session, number)
  return P .. 'c:' .. verb .. ':' .. session .. ':' .. number % 32
end

-- The answer to this call if it was carried out before, else nil.
local function remembered(verb, session, number)
  if session == '' then
    return nil
  end
  local kept = call('GET', answer_key(verb, session, number))
  local begin = number .. '\n'
  if not kept or string.sub(kept, 1, #begin) ~= begin then
    return nil
  end
  local fine, answer = pcall(cmsgpack.unpack, string.sub(kept, #begin + 1))
  return fine and type(answer) == 'table' and answer or nil
end

local function remember(verb, session, number, answer)
  if session ~= '' then
    call('SET', answer_key(verb, session, number), number .. '\n' .. cmsgpack.pack(answer), 'PX', 120000)
  end
end
