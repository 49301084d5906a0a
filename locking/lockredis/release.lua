-- Frees holds, each compared by owner and, unless it is 0, by token, and offers
-- their keys to those who are next.
--
-- KEYS  as queue.lua says; a lock stands once
-- ARGV  for each hold: owner, token (0: whichever the owner has)
--
-- Returns for each hold 1 when it was freed, else 0; then whether dead waiters are
-- left, so that somebody should look again.
local call = redis.call
local answer, freed, tickets, queued = {}, {}, {}, false
for i = 1, #ARGV / 2 do
  local lock, owner, token = KEYS[3 + 2 * i], ARGV[2 * i - 1], ARGV[2 * i]
  answer[i] = 0
  if call('GET', lock) == owner then
    local raw = call('HGET', KEYS[4], lock)
    local had, _, current, expires, request, offer
    if raw then
      had, _, current, expires, request, offer = cmsgpack.unpack(raw)
    end
    local valid = had == owner and tonumber(expires) == call('PEXPIRETIME', lock)
    if token == '0' or (valid and current == token) then
      answer[i] = 1
      freed[#freed + 1] = i
      if valid and offer == 't' then
        tickets[#tickets + 1] = request
      end
      queued = queued or #tickets > 0 or call('EXISTS', KEYS[4 + 2 * i]) == 1
      if owner ~= '*' and string.sub(owner, 1, 8) ~= 'execute:' then
        call('SREM', string.sub(KEYS[1], 1, -2) .. 'o:' .. owner, lock)
      end
    end
  end
end
answer[#answer + 1] = 0
if not queued then
  for _, i in ipairs(freed) do
    call('DEL', KEYS[3 + 2 * i])
    call('HDEL', KEYS[4], KEYS[3 + 2 * i])
  end
  return answer
end

--include queue.lua
--include serve.lua

for _, i in ipairs(freed) do
  holders[KEYS[3 + 2 * i]] = false
  todo[#todo + 1] = { KEYS[3 + 2 * i], KEYS[4 + 2 * i] }
end
-- A ticket whose offer is given back has had its turn.
for _, id in ipairs(tickets) do
  local w = waiter(id)
  if w then
    leave(id, w)
  end
end
serve()
for _, i in ipairs(freed) do
  local lock = KEYS[3 + 2 * i]
  if not holders[lock] then
    call('DEL', lock)
    call('HDEL', KEYS[4], lock)
  end
end
answer[#answer] = more
return answer
