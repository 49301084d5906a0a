-- Makes a ticket's offer a full hold, and ends the ticket.
--
-- KEYS  as queue.lua says
-- ARGV  ticket, owner, time to live in ms (0: none)
--
-- Returns {1, then for each key: token, joined, remaining ms (-1: none), 0}
--      or {0} when the ticket has no offer.
--include queue.lua
--include serve.lua

local id, owner, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local w = waiter(id)
local records = {}
for i = 5, #KEYS, 2 do
  local r = holder(KEYS[i]) == owner and record(KEYS[i])
  -- What the owner had before is joined, and keeps the request it was taken with.
  if not r or r.revoked or (r.request ~= id and (not w or not w.offered)) then
    return { 0 }
  end
  records[i] = r
end
local answer = { 1 }
for i = 5, #KEYS, 2 do
  local r = records[i]
  local joined = r.request == id and 0 or 1
  if r.offer and joined == 0 then
    r.offer = nil
    r.expires = ttl > 0 and now + ttl or -1
    keep(KEYS[i], r)
  end
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] =
    r.token, joined, r.expires < 0 and -1 or r.expires - now, 0
end
if w then
  leave(id, w)
  serve()
end
return answer
