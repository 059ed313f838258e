-- Part: what stays of an ended job.
-- Needs: start, given, jobs

-- What stands between the place and the content of an ended job.
local function ended_prefix(letter, keep)
  return struct.pack('<dd', now + keep, 0) .. letter
end

-- Only what tells that an id is taken.
local function reserved_value(value, keep)
  local fine, length, from = pcall(function()
    local _, _, length, from = struct.unpack('<I4I4I2', value, FROM)
    return length, from
  end)
  local content = fine and string.sub(value, FROM, from + length - 1) or ''
  return mark_of(value) .. ended_prefix('N', keep) .. content
end

-- For how many seconds a key is kept, as SET takes it.
local function ttl(seconds)
  return exact(math.min(math.ceil(seconds * 1000), LONGEST_TTL))
end

local function keep_value(id, value, keep)
  call('SET', job_key(id), value, 'PX', ttl(keep))
end
