-- Tells who holds locks. It changes nothing that counts.
--
-- KEYS  as queue.lua says
-- ARGV  where to go on among the records of holds, and about how many to look at;
--       none: the locks of KEYS are looked at
--
-- Returns {the time in µs, where the next call goes on ('0': nowhere), then for
-- each lock that is held: its name, its holder as state.lua says}. Locks without
-- a valid record are told of only where KEYS names them.
local asker, told
--include queue.lua
--include state.lua

local locks, next_cursor = {}, '0'
if #ARGV > 0 then
  local page = call('HSCAN', KEYS[4], ARGV[1], 'COUNT', ARGV[2])
  next_cursor = page[1]
  for i = 1, #page[2], 2 do
    locks[#locks + 1] = page[2][i]
  end
else
  for i = 5, #KEYS, 2 do
    locks[#locks + 1] = KEYS[i]
  end
end
local answer = { micros, next_cursor }
-- MGET, unlike GET, does not fail at a key that is no string.
for from = 1, #locks, 1000 do
  local values = call('MGET', unpack(locks, from, math.min(from + 999, #locks)))
  for i, owner in ipairs(values) do
    holders[locks[from + i - 1]] = owner
  end
end
for _, lock in ipairs(locks) do
  local held = state(lock)
  if not held then
    call('HDEL', KEYS[4], lock) -- a lock that lapses leaves its record
  end
  if held and (held[3] == 0 or #ARGV == 0) then
    answer[#answer + 1] = lock
    answer[#answer + 1] = held
  end
end
return answer
