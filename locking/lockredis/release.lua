-- Frees holds, each compared by owner and, unless it is 0, by token, and offers
-- their keys to those who are next.
--
-- KEYS  as queue.lua says
-- ARGV  the process, then for each key: owner, token (0: whichever the owner has)
--
-- Returns for each key 1 when it was freed, else 0; then what the process would be
-- told on its channel, in a list; then whether dead waiters are left, so that somebody
-- should look again.
--include plain.lua
local asker, told = ARGV[1], {}

-- Gives one lock to the first in its queue, where that is as simple as it most often
-- is: a request for this key alone, which a living process waits with, and whose
-- owner makes no other. The new record takes the place of the old.
local function hand_over(lock, queue)
  local first = call('ZPOPMIN', queue)
  local id, score = first[1], first[2]
  if not id then
    return 'empty'
  end
  local raw = tonumber(score) < 2 ^ 48 and call('HGET', KEYS[3], id)
  local hub = sub(KEYS[1], 1, -2)
  if raw then
    local owner, epoch, attempt, ttl, process, _, _, _, kind, keys, behalf = cmsgpack.unpack(raw)
    if kind == '' and #keys == 2 and #behalf == 0 and single(owner)
      and call('EXISTS', hub .. 'p:' .. process) == 1 then
      local time = call('TIME')
      local token = next_token(time, call('GET', KEYS[1]))
      local short = ttl == 0 or ttl > 2000
      local lives = short and 2000 or ttl
      local expires = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + lives)
      lives = format('%.0f', lives)
      local text = '1:g' .. #id .. ':' .. id .. '16:' .. token .. '1:0' .. #lives .. ':' .. lives .. (short and '1:1' or '1:0')
      -- It is told first, since that says whether somebody listens: see absent in
      -- queue.lua. Nobody acts on it before this call has ended.
      local heard = true
      if process == asker then
        told[#told + 1] = text
      else
        local channel = sub(hub, 1, string.find(hub, '{', 1, true) - 1) .. 'c:' .. process
        heard = call('PUBLISH', channel, text) > 0 or sub(process, 1, 1) == '~'
      end
      if heard then
        call('HDEL', KEYS[3], id)
        call('HSET', KEYS[4], lock, cmsgpack.pack(owner, epoch .. ':' .. attempt, token, expires, id,
          short and 'o' or false, false, process))
        call('SET', KEYS[1], token)
        call('SET', lock, owner, 'PXAT', expires)
        return 'done'
      end
    end
  end
  call('ZADD', queue, score, id)
  return 'other'
end

-- Takes a lock from the list of an owner with a name.
local function unlist(owner, lock)
  if not single(owner) then
    local set = sub(KEYS[1], 1, -2) .. 'o:' .. owner
    call('ZREM', set, lock)
    local last = call('ZRANGE', set, -1, -1, 'WITHSCORES')[2]
    if last and last ~= 'inf' then
      call('PEXPIREAT', set, last)
    end
  end
end

-- Most often there is one.
if #KEYS == 6 then
  local lock, owner, token = KEYS[5], ARGV[2], ARGV[3]
  if call('GET', lock) ~= owner then
    return { 0, told, 0 }
  end
  local raw = call('HGET', KEYS[4], lock)
  local had, _, current, expires, request, offer
  if raw then
    had, _, current, expires, request, offer = cmsgpack.unpack(raw)
  end
  if token ~= '0' and (had ~= owner or current ~= token or tonumber(expires) ~= call('PEXPIRETIME', lock)) then
    return { 0, told, 0 }
  end
  local how = offer ~= 't' and hand_over(lock, KEYS[6])
  if how == 'empty' then
    call('DEL', lock) -- first: a record without its lock is void
    call('HDEL', KEYS[4], lock)
  end
  if how == 'empty' or how == 'done' then
    unlist(owner, lock)
    return { 1, told, 0 }
  end
end

local locks, queues = {}, {}
for i = 1, #KEYS / 2 - 2 do
  locks[i], queues[i] = KEYS[3 + 2 * i], KEYS[4 + 2 * i]
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
local answer, freed, tickets, gone = {}, {}, {}, {}
for i, lock in ipairs(locks) do
  local owner, token = ARGV[2 * i], ARGV[2 * i + 1]
  answer[i] = 0
  if owners[i] == owner and not gone[lock] then
    local had, _, current, expires, request, offer
    if records[i] then
      had, _, current, expires, request, offer = cmsgpack.unpack(records[i])
    end
    if token == '0' or (had == owner and current == token and tonumber(expires) == call('PEXPIRETIME', lock)) then
      answer[i], gone[lock] = 1, true
      freed[#freed + 1] = i
      if offer == 't' then
        for _, id in ipairs(type(request) == 'table' and request or { request }) do
          tickets[#tickets + 1] = id
        end
      end
      unlist(owner, lock)
    end
  end
end
answer[#answer + 1] = told
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
