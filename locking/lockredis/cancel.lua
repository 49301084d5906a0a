-- Ends a request: takes it out of the queues, and frees what was granted to it.
--
-- KEYS  as queue.lua says
-- ARGV  request id, owner
--
-- Returns whether there was anything to end, and whether dead waiters are left.
--include queue.lua
--include serve.lua

local id, owner = ARGV[1], ARGV[2]
local found = 0
for i = 5, #KEYS, 2 do
  local lock, queue = KEYS[i], KEYS[i + 1]
  if holder(lock) == owner then
    local r = record(lock)
    if r and r.request == id then
      drop(lock, owner)
      todo[#todo + 1] = { lock, queue }
      found = 1
    end
  end
end
local w = waiter(id)
if w then
  leave(id, w)
  found = 1
end
serve()
return { found, more }
