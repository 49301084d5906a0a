-- Gives back what one request took, whose answer did not arrive.
--
-- KEYS  for each key: the lock, its side record
-- ARGV  owner, request id
--
-- Returns how many keys were freed.
local freed = 0
for i = 1, #KEYS / 2 do
  local lock, side = KEYS[2 * i - 1], KEYS[2 * i]
  if redis.call('GET', lock) == ARGV[1] then
    local r = redis.call('HMGET', side, 'owner', 'request', 'expires')
    if r[1] == ARGV[1] and r[2] == ARGV[2] and r[3] == tostring(redis.call('PEXPIRETIME', lock)) then
      redis.call('DEL', lock, side)
      freed = freed + 1
    end
  end
end
return freed
