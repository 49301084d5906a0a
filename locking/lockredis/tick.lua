-- Says that a process lives, looks again at keys that it waits for, and clears
-- away what dead processes have left.
--
-- KEYS  as queue.lua says
-- ARGV  process, its liveness in ms, a mark to be published to it,
--       where the clearing of waiters and of records goes on (-1: not now)
--
-- Returns {whether its liveness had lapsed, whether dead waiters are left, where
-- the two clearings go on, then for each key: remaining ms (-1: no expiry, -2:
-- free), whether its holder is foreign}.
--
-- The mark comes in the same stream as the grants: what comes after it was granted
-- after this call was sent.
local asker, told
--include queue.lua
--include serve.lua

local process = ARGV[1]
call('HDEL', KEYS[3], '') -- see extend.lua
local was = call('SET', hub .. 'p:' .. process, '', 'PX', ARGV[2], 'GET')
lives[process] = true
call('DEL', hub .. 'd:' .. process)
for i = 5, #KEYS, 2 do
  todo[#todo + 1] = { KEYS[i], KEYS[i + 1] }
end
serve()

local waiting, held = ARGV[4], ARGV[5]
if waiting ~= '-1' then
  local page = call('HSCAN', KEYS[3], waiting, 'COUNT', 32)
  waiting = page[1]
  for i = 1, #page[2], 2 do
    local w = read_waiter(page[2][i + 1])
    if not w.ticket and budget > 0 and not alive(w.process) then
      budget = budget - 1
      leave(page[2][i], w)
    end
  end
  serve()
  page = call('HSCAN', KEYS[4], held, 'COUNT', 256)
  held = page[1]
  for i = 1, #page[2], 2 do
    if call('EXISTS', page[2][i]) == 0 then
      call('HDEL', KEYS[4], page[2][i])
    end
  end
end

tell(process, { 't', ARGV[3] })
local answer = { was and 0 or 1, more, tonumber(waiting), tonumber(held) }
for i = 5, #KEYS, 2 do
  local n = #answer
  answer[n + 1], answer[n + 2] = call('PTTL', KEYS[i]), 0
  if holder(KEYS[i]) and not record(KEYS[i]) then
    answer[n + 2] = 1
  end
end
return answer
