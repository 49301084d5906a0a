-- Frees holds, each compared by owner and, unless it is 0, by token.
--
-- KEYS  for each hold: the lock, its side record
-- ARGV  for each hold: owner, token (0: whichever the owner has)
--
-- Returns for each hold 1 when it was freed, else 0.
local answer = {}
for i = 1, #KEYS / 2 do
  local lock, side, owner, token = KEYS[2 * i - 1], KEYS[2 * i], ARGV[2 * i - 1], ARGV[2 * i]
  answer[i] = 0
  if redis.call('GET', lock) == owner then
    local r = redis.call('HMGET', side, 'owner', 'token', 'expires')
    local valid = r[1] == owner and r[3] == tostring(redis.call('PEXPIRETIME', lock))
    if token == '0' or (valid and r[2] == token) then
      redis.call('DEL', lock, side)
      answer[i] = 1
    end
  end
end
return answer
