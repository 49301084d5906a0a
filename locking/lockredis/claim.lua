-- Makes a ticket's offer a full hold, and ends the ticket.
--
-- KEYS  as queue.lua says
-- ARGV  ticket, owner, time to live in ms (0: none), epoch, attempt, the process
--
-- Returns {1, then for each key: token, joined, remaining ms (-1: none), 0}
--      or {0} when the ticket has no offer
--      or {-1} when a later generation has it.
local asker, told
--include queue.lua
--include serve.lua

local id, owner, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local epoch, attempt = tonumber(ARGV[4]), tonumber(ARGV[5])

local function later(r)
  return r.epoch > epoch or (r.epoch == epoch and r.attempt > attempt)
end

local w = waiter(id)
if w and later(w) then
  return { -1 }
end
local records = {}
for i = 5, #KEYS, 2 do
  local r = holder(KEYS[i]) == owner and record(KEYS[i])
  if r and (r.revoked or later(r)) then
    return { -1 }
  elseif not r or not (of(r, id) or (w and w.offered)) or r.epoch ~= epoch or r.attempt ~= attempt then
    return { 0 }
  end
  records[i] = r
end
call('HDEL', KEYS[3], '') -- see extend.lua
local answer = { 1 }
for i = 5, #KEYS, 2 do
  local r = records[i]
  if r.process ~= ARGV[6] then -- it is told from now on
    r.process = ARGV[6]
    write(KEYS[i], r)
  end
  if r.offer then
    r.offer = nil
    r.expires = ttl > 0 and now + ttl or -1
    keep(KEYS[i], r)
  end
  local all = requests(r)
  local n = #answer
  answer[n + 1], answer[n + 2] = r.token, all[#all] == id and 0 or 1
  answer[n + 3], answer[n + 4] = remaining(r.expires), 0
end
if w then
  leave(id, w)
  serve()
end
return answer
