-- Frees holds, each compared by owner and, unless it is 0, by token, and offers
-- their keys to those who are next.
--
-- KEYS  as queue.lua says; a lock stands once
-- ARGV  for each key: owner, token (0: whichever the owner has)
--
-- Returns for each key 1 when it was freed, else 0; then whether dead waiters are
-- left, so that somebody should look again.
local call, format = redis.call, string.format

-- Most often there is one, and nobody waits for it.
if #KEYS == 6 and call('EXISTS', KEYS[6]) == 0 then
  local lock, owner, token = KEYS[5], ARGV[1], ARGV[2]
  if call('GET', lock) ~= owner then
    return { 0, 0 }
  end
  local raw = call('HGET', KEYS[4], lock)
  local had, _, current, expires, _, offer
  if raw then
    had, _, current, expires, _, offer = cmsgpack.unpack(raw)
  end
  if token ~= '0' and (had ~= owner or current ~= token or tonumber(expires) ~= call('PEXPIRETIME', lock)) then
    return { 0, 0 }
  end
  if offer ~= 't' then
    call('DEL', lock) -- first: a record without its lock is void
    call('HDEL', KEYS[4], lock)
    if owner ~= '*' and string.sub(owner, 1, 8) ~= 'execute:' then
      call('SREM', string.sub(KEYS[1], 1, -2) .. 'o:' .. owner, lock)
    end
    return { 1, 0 }
  end
end

local locks, queues = {}, {}
for i = 1, #ARGV / 2 do
  locks[i], queues[i] = KEYS[3 + 2 * i], KEYS[4 + 2 * i]
end

-- Calls f for the list's parts: so many arguments can be passed at once.
local function parts(n, f)
  for from = 1, n, 2000 do
    f(from, math.min(from + 1999, n))
  end
end

local owners, records, queued = {}, {}, 0
parts(#locks, function(from, upto)
  local values = call('MGET', unpack(locks, from, upto))
  local packed = call('HMGET', KEYS[4], unpack(locks, from, upto))
  for i = from, upto do
    owners[i], records[i] = values[i - from + 1], packed[i - from + 1]
  end
  queued = queued + call('EXISTS', unpack(queues, from, upto))
end)
local answer, freed, tickets = {}, {}, {}
for i, lock in ipairs(locks) do
  local owner, token = ARGV[2 * i - 1], ARGV[2 * i]
  answer[i] = 0
  if owners[i] == owner then
    local had, _, current, expires, request, offer
    if records[i] then
      had, _, current, expires, request, offer = cmsgpack.unpack(records[i])
    end
    if token == '0' or (had == owner and current == token and tonumber(expires) == call('PEXPIRETIME', lock)) then
      answer[i] = 1
      freed[#freed + 1] = i
      if offer == 't' then
        tickets[#tickets + 1] = request
      end
      if owner ~= '*' and string.sub(owner, 1, 8) ~= 'execute:' then
        call('SREM', string.sub(KEYS[1], 1, -2) .. 'o:' .. owner, lock)
      end
    end
  end
end
answer[#answer + 1] = 0

local function drop_all(list)
  parts(#list, function(from, upto)
    local names = {}
    for i = from, upto do
      names[#names + 1] = locks[list[i]]
    end
    call('DEL', unpack(names))
    call('HDEL', KEYS[4], unpack(names))
  end)
end
if #freed == 0 then
  return answer
elseif queued == 0 and #tickets == 0 then
  drop_all(freed)
  return answer
end

-- Else it is most often one lock that the first in the queue gets: a request for it
-- alone, which a living process waits with, and whose owner holds nothing. The new
-- record takes the place of the old.
local function hand_over(lock, queue)
  local first = call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  local raw = first[1] and tonumber(first[2]) < 2 ^ 48 and call('HGET', KEYS[3], first[1])
  local w = raw and cmsgpack.unpack(raw)
  if not first[1] then
    return 'empty'
  elseif not w or w.ticket or #w.keys ~= 2 or #w.behalf > 0
    or (w.owner ~= '*' and string.sub(w.owner, 1, 8) ~= 'execute:') then
    return 'other'
  end
  local hub = string.sub(KEYS[1], 1, -2)
  if call('EXISTS', hub .. 'p:' .. w.process) == 0 then
    return 'other'
  end
  local time, last = call('TIME'), call('GET', KEYS[1])
  local token = time[1] .. string.sub('00000' .. time[2], -6)
  if last and (#last ~= 16 or last >= token) then
    token = format('%016.0f', math.max(tonumber(token), (tonumber(last) or 0) + 1))
  end
  local short = w.ttl == 0 or w.ttl > 2000
  local lives = short and 2000 or w.ttl
  local expires = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + lives)
  local generation = format('%.0f:%.0f', w.epoch, w.attempt)
  -- A full server refuses writes that need memory, but not in a call that has written.
  call('ZREM', queue, first[1])
  call('HDEL', KEYS[3], first[1])
  call('SET', KEYS[1], token)
  call('HSET', KEYS[4], lock, cmsgpack.pack(w.owner, generation, token, expires, first[1], short and 'o' or false, false, w.process))
  call('SET', lock, w.owner, 'PXAT', expires)
  local text = '1:g' .. #first[1] .. ':' .. first[1] .. '16:' .. token .. '1:0' .. #format('%.0f', lives) .. ':'
    .. format('%.0f', lives) .. (short and '1:1' or '1:0')
  call('PUBLISH', string.match(hub, '^(.-){') .. 'c:' .. w.process, text)
  return 'done'
end
if #tickets == 0 then
  local by = { empty = {}, other = {}, done = {} }
  for _, i in ipairs(freed) do
    local list = by[hand_over(locks[i], queues[i])]
    list[#list + 1] = i
  end
  drop_all(by.empty)
  freed = by.other
  if #freed == 0 then
    return answer
  end
end
drop_all(freed)

--include queue.lua
--include serve.lua

for _, i in ipairs(freed) do
  holders[locks[i]] = false
  todo[#todo + 1] = { locks[i], queues[i] }
end
-- A ticket whose offer is given back has had its turn.
for _, id in ipairs(tickets) do
  local w = waiter(id)
  if w then
    leave(id, w)
  end
end
serve()
answer[#answer] = more
return answer
