-- Frees holds, each compared by owner and, unless it is 0, by token, and offers
-- their keys to those who are next.
--
-- KEYS  as queue.lua says
-- ARGV  the process, how many successors a grant may name, then for each key: owner,
--       token (0: whichever the owner has; -n: as long as it is n at most)
--
-- Returns for each key 1 when it was freed, else 0, or, where no token is said and one of
-- several may hold it by now (see successors in queue.lua), the last of their tokens:
-- the call is to be repeated with that; then what the process would be
-- told on its channel, in a list; then whether dead waiters are left, so that somebody
-- should look again.
--include plain.lua
local asker, told, most = ARGV[1], {}, tonumber(ARGV[2])

-- Says whether a waiter's record is of a request for one key, whose owner makes no
-- other, and that ends with its process.
local function simple(owner, kind, keys, behalf)
  return kind == '' and #keys == 2 and #behalf == 0 and single(owner)
end

-- The successors of a grant to that process, as queue.lua describes them: those right
-- behind it whose turn would come in that process anyway.
local function successors(queue, process)
  local list = {}
  local next = most > 0 and call('ZRANGE', queue, 0, most - 1) or {}
  local raws = #next > 0 and call('HMGET', KEYS[3], unpack(next)) or {}
  for i, raw in ipairs(raws) do
    if not raw then
      break
    end
    local owner, epoch, attempt, ttl, at, score, _, _, kind, keys, behalf = cmsgpack.unpack(raw)
    if at ~= process or not simple(owner, kind, keys, behalf) or epoch ~= 0 or attempt ~= 0
      or (ttl > 0 and ttl <= 2000) then
      break
    end
    list[#list + 1], list[#list + 2] = next[i], owner
  end
  return list
end

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
    if simple(owner, kind, keys, behalf) and call('EXISTS', hub .. 'p:' .. process) == 1 then
      local time = call('TIME')
      local token = next_token(time, call('GET', KEYS[1]))
      local short = ttl == 0 or ttl > 2000
      local line = short and successors(queue, process) or {}
      local lives = short and 2000 or ttl
      local expires = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + lives)
      lives = format('%.0f', lives)
      local text = '1:g' .. #id .. ':' .. id .. '16:' .. token .. '1:0' .. #lives .. ':' .. lives .. (short and '1:1' or '1:0')
      for i = 1, #line, 2 do
        local number = sub(line[i], #process + 2)
        text = text .. #number .. ':' .. number
      end
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
          short and 'o' or false, false, process, #line > 0 and line or nil))
        call('SET', KEYS[1], #line > 0 and format('%016.0f', tonumber(token) + #line / 2) or token)
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

-- Says whether a hold is the one to be freed, of which the lock has that value and that
-- record, in the terms of the answer. A successor is, too, and those before it have then
-- had their turn. The second result is the tickets that its offer was made to.
local function compare(lock, queue, value, raw, owner, token)
  local had, _, current, expires, request, offer, process, line
  if raw then
    had, _, current, expires, request, offer, _, process, line = cmsgpack.unpack(raw)
  end
  local tickets = offer == 't' and (type(request) == 'table' and request or { request }) or nil
  local upto = sub(token, 1, 1) == '-' and sub(token, 2)
  local void = not value or had ~= value or not as_recorded(lock, expires, request, process)
  if upto and (void or current > upto) then
    return 0 -- it began later
  elseif (token == '0' or upto) and line and not void then
    local hub = sub(KEYS[1], 1, -2)
    call('PUBLISH', sub(hub, 1, string.find(hub, '{', 1, true) - 1) .. 'c:' .. process, '1:a' .. #lock .. ':' .. lock)
    return upto or format('%016.0f', tonumber(current) + #line / 2)
  elseif token == '0' or upto then
    return value == owner and 1 or 0, tickets
  elseif void then
    return 0
  elseif current == token then
    return had == owner and 1 or 0, tickets
  end
  local n = line and 2 * (tonumber(token) - tonumber(current))
  if not n or n < 2 or n > #line or line[n] ~= owner then
    return 0
  end
  for i = 1, n, 2 do
    call('ZREM', queue, line[i])
    call('HDEL', KEYS[3], line[i])
  end
  return 1
end

-- Most often there is one.
if #KEYS == 6 then
  local lock, owner = KEYS[5], ARGV[3]
  local value = call('GET', lock)
  local own, tickets = compare(lock, KEYS[6], value, value and call('HGET', KEYS[4], lock), owner, ARGV[4])
  if own ~= 1 then
    return { own, told, 0 }
  end
  local how = not tickets and hand_over(lock, KEYS[6])
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
  local owner = ARGV[1 + 2 * i]
  local own, offered = 0, nil
  if not gone[lock] then
    own, offered = compare(lock, queues[i], owners[i], records[i], owner, ARGV[2 + 2 * i])
  end
  answer[i] = own
  if own == 1 then
    gone[lock] = true
    freed[#freed + 1] = i
    for _, id in ipairs(offered or {}) do
      tickets[#tickets + 1] = id
    end
    unlist(owner, lock)
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
