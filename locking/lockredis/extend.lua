-- Gives holds a new expiry, counted from now and never an earlier one, and makes
-- offers full. Where the time is 0 the expiry goes.
--
-- KEYS  as queue.lua says; a lock stands once
-- ARGV  time to live in ms (0: none), then for each hold: owner, token
--
-- Returns for each hold its remaining ms (-1: no expiry), -2 when it is lost, -3 when
-- it was revoked, or an error.
local asker, told
--include queue.lua

local ttl = tonumber(ARGV[1])
local wanted = ttl > 0 and now + ttl or -1

local function extend(lock, queue, owner, token)
  local r = holder(lock) and record(lock)
  if r then
    succeed(lock, queue, r, owner, token)
  end
  if not r or r.owner ~= owner or r.token ~= token then
    return -2
  elseif r.revoked then
    return -3
  end
  r.successors = nil -- who has the hold for longer is to hand it on by a release
  for _, id in ipairs(r.offer == 't' and requests(r) or {}) do -- the ticket has had its turn
    local w = waiter(id)
    for i = 2, w and #w.keys or 0, 2 do
      call('ZREM', w.keys[i], id)
    end
    call('HDEL', KEYS[3], id)
  end
  if r.offer or (r.expires >= 0 and (wanted < 0 or wanted > r.expires)) then
    r.offer, r.expires = nil, wanted
    keep(lock, r)
  end
  return remaining(r.expires)
end

-- A server whose memory is full refuses what may need more, unless the script has
-- written something before that needs none. What is held is not to be lost for that.
call('HDEL', KEYS[3], '')
local answer = {}
for i = 1, (#KEYS - 4) / 2 do
  local ok, left = pcall(extend, KEYS[3 + 2 * i], KEYS[4 + 2 * i], ARGV[2 * i], ARGV[2 * i + 1])
  answer[i] = ok and left or type(left) == 'table' and left.err or tostring(left)
end
return answer
