-- Gives holds a new expiry, counted from now and never an earlier one, and makes
-- offers full. Where the time is 0 the expiry goes.
--
-- KEYS  as queue.lua says; a lock stands once
-- ARGV  time to live in ms (0: none), then for each hold: owner, token
--
-- Returns for each hold its remaining ms (-1: no expiry), -2 when it is lost, or -3
-- when it was revoked.
--include queue.lua

local ttl = tonumber(ARGV[1])
local wanted = ttl > 0 and now + ttl or -1
local answer = {}
for i = 1, (#KEYS - 4) / 2 do
  local lock, owner = KEYS[3 + 2 * i], ARGV[2 * i]
  local r = holder(lock) == owner and record(lock)
  if not r or r.token ~= ARGV[2 * i + 1] then
    answer[i] = -2
  elseif r.revoked then
    answer[i] = -3
  else
    if r.offer == 't' then -- the ticket has had its turn
      call('HDEL', KEYS[3], r.request)
      call('ZREM', KEYS[4 + 2 * i], r.request)
    end
    if r.offer or (r.expires >= 0 and (wanted < 0 or wanted > r.expires)) then
      r.offer, r.expires = nil, wanted
      keep(lock, r)
    end
    answer[i] = r.expires < 0 and -1 or r.expires - now
  end
end
return answer
