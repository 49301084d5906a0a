-- Gives holds a new expiry, counted from now and never an earlier one.
--
-- KEYS  for each hold: the lock, its side record
-- ARGV  time to live in ms, then for each hold: owner, token
--
-- Returns for each hold its remaining ms (-1: no expiry), or -2 when it is lost.
local ttl = tonumber(ARGV[1])
local answer = {}
for i = 1, #KEYS / 2 do
  local lock, side, owner, token = KEYS[2 * i - 1], KEYS[2 * i], ARGV[2 * i], ARGV[2 * i + 1]
  answer[i] = -2
  if redis.call('GET', lock) == owner then
    local r = redis.call('HMGET', side, 'owner', 'token', 'expires')
    if r[1] == owner and r[2] == token and r[3] == tostring(redis.call('PEXPIRETIME', lock)) then
      local left = redis.call('PTTL', lock)
      if left >= 0 and ttl > left then
        redis.call('PEXPIRE', lock, ttl)
        local expires = redis.call('PEXPIRETIME', lock)
        redis.call('HSET', side, 'expires', expires)
        redis.call('PEXPIREAT', side, expires)
        left = ttl
      end
      answer[i] = left
    end
  end
end
return answer
