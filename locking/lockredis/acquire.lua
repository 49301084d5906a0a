-- Takes all keys of a request, or none; a request that waits enters their queues.
--
-- KEYS  as queue.lua says
-- ARGV  owner, generation, time to live in ms (0: none), request id,
--       mode (try, wait or ticket), then in one text with spaces: class of rank
--       (0: compensation, 2: others), birth in µs (0: plain), the place it had in
--       the queue before (0: none), the process's liveness in ms (0: its key is
--       fresh), the process; then enclosing owners…
--
-- Returns {1, then for each key: token, joined, remaining ms (-1: none), offer}
--      or {0, number of the busy key, its owner or '', its remaining ms (-1: none),
--         whether dead waiters are left} to a request that does not wait
--      or {2, place, number of the busy key, its owner or '', its remaining ms,
--         whether its holder is foreign, whether dead waiters are left}
--      or {-1} when a later generation of the owner has a key, or it was revoked
--      or {-2, for each edge of a deadlock: owner, lock, holder}
--
-- A request that is sent again is found by its id and answered as it stands.
local call = redis.call
local owner, ttl, id, mode = ARGV[1], ARGV[3], ARGV[4], ARGV[5]

-- Most often there is one key, it is free, and nobody waits.
if #KEYS == 6 and mode ~= 'ticket' then
  local lock = KEYS[5]
  local values = call('MGET', lock, KEYS[1])
  if not values[1] and call('EXISTS', KEYS[6]) == 0 then
    local time = call('TIME')
    local token = time[1] .. string.sub('00000' .. time[2], -6)
    local last = values[2]
    if last and (#last ~= 16 or last >= token) then
      token = string.format('%016.0f', math.max(tonumber(token), tonumber(last) + 1))
    end
    local expires, set = '-1', nil
    if ttl ~= '0' then
      expires = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ttl)
      set = call('SET', lock, owner, 'NX', 'PXAT', expires)
    else
      set = call('SET', lock, owner, 'NX')
    end
    if not set then
      return redis.error_reply('WRONGTYPE the lock ' .. lock .. ' is kept as another type than a string')
    end
    call('SET', KEYS[1], token)
    call('HSET', KEYS[4], lock, cmsgpack.pack(owner, ARGV[2], token, expires, id))
    if owner ~= '*' and string.sub(owner, 1, 8) ~= 'execute:' then
      local list = string.sub(KEYS[1], 1, -2) .. 'o:' .. owner
      call('SADD', list, lock)
      if expires == '-1' then
        call('PERSIST', list)
      elseif call('SCARD', list) == 1 then
        call('PEXPIREAT', list, expires)
      else
        call('PEXPIREAT', list, expires, 'GT')
      end
    end
    return { 1, token, 0, expires == '-1' and -1 or ttl, 0 }
  end
end

--include queue.lua
--include serve.lua

local epoch, attempt = string.match(ARGV[2], '^(%d+):(%d+)$')
local class, born, place, liveness, process = string.match(ARGV[6], '^(%d+) (%d+) (%d+) (%d+) (.*)$')
class, place = tonumber(class), tonumber(place)
local request = {
  owner = owner, epoch = tonumber(epoch), attempt = tonumber(attempt), ttl = tonumber(ttl), process = process,
  ticket = mode == 'ticket' or nil, born = tonumber(born), since = now, keys = {}, behalf = {},
}
for i = 5, #KEYS do
  request.keys[i - 4] = KEYS[i]
end
for i = 7, #ARGV do
  request.behalf[#request.behalf + 1] = ARGV[i]
end
if liveness ~= '0' then
  call('SET', hub .. 'p:' .. process, '', 'PX', liveness)
end
lives[request.process] = true

-- Asked before: what was granted then, is granted.
local function granted()
  local answer = { 1 }
  for i = 1, #request.keys, 2 do
    local r = holder(request.keys[i]) == owner and record(request.keys[i])
    if not r or r.request ~= id then
      return nil
    end
    local n = #answer
    answer[n + 1], answer[n + 2] = r.token, 0
    answer[n + 3], answer[n + 4] = r.expires < 0 and -1 or r.expires - now, r.offer and 1 or 0
  end
  return answer
end
local before = granted()
if before then
  return before
end

-- Asked before, and still waiting: it gets its old place, this process and this
-- generation.
local old = mode ~= 'try' and waiter(id)
if old then
  place = old.score
  request.since = old.since
  request.offered = nil
end

if class > 1 then
  if #request.behalf > 0 or (listed(owner) and call('EXISTS', hub .. 'o:' .. owner) == 1) then
    class = 1
  end
end
if owner ~= '*' then
  request.behalf[#request.behalf + 1] = owner
end
-- Before it has a ticket it counts as the last of its class.
request.score = place > 0 and place or (class + 1) * CLASS - 1

local what, at, own = obstacles(request)
if what == 'revoked' then
  if old then
    leave(id, old)
    serve()
  end
  return { -1 }
end
if not what then
  at = queued(id, request, own)
  if not at then
    if old then
      leave(id, old)
    end
    if mode == 'ticket' then
      enter(id, request)
      local answer = give_all(id, request, own, true)
      for i = 2, #request.keys, 2 do
        call('ZADD', request.keys[i], ASIDE + request.score, id)
      end
      request.offered = true
      call('HSET', KEYS[3], id, pack(request))
      unblock_owners(id, request)
      revisit(owner)
      serve()
      return { 1, unpack(answer) }
    end
    local answer = give_all(id, request, own, false)
    revisit(owner)
    serve()
    return { 1, unpack(answer) }
  end
end

local lock = request.keys[at]
local has = holder(lock) or ''
local left = call('PTTL', lock)
if mode == 'try' then
  serve()
  return { 0, (at + 1) / 2, has, left, more }
end

if place == 0 then
  request.score = class * CLASS + call('INCR', KEYS[2])
end
local victim, edges
repeat
  victim, edges = deadlock(id, request)
  if victim == id then
    if old then
      leave(id, old)
    end
    serve()
    return { -2, unpack(edges) }
  elseif victim then
    give_up(victim, waiter(victim), 'd', unpack(edges))
  end
until not victim
if old then
  unblock_owners(id, old)
end
enter(id, request)
serve()
local foreign = 0
if has ~= '' and not record(lock) then
  foreign = 1
end
return { 2, request.score, (at + 1) / 2, has, left, foreign, more }
