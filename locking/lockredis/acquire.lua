-- Answers requests one after the other. Each takes all its keys, or none; one that
-- waits enters their queues.
--
-- KEYS  as queue.lua says: the keys of the first request, then of the second, …
-- ARGV  the process, then for each request: owner, id, shape, enclosing owners…
--       A shape has, with spaces: mode (try, wait or ticket), time to live in ms
--       (0: none), number of keys, number of enclosing owners, generation
--       ("epoch:attempt"), class of rank (0: compensation, 2: others), birth in µs
--       (0: plain), the place it had in the queue before (0: none), the process's
--       liveness in ms (0: its key is fresh).
--
-- Returns for each request
--      a token: all its keys were free, and are now its own for its time to live
--      or {1, then for each key: token, joined, remaining ms (-1: none), offer; then the
--         requests of successors, if any, without the name of their process}
--      or {0, number of the busy key, its owner or '', its remaining ms (-1: none),
--         whether dead waiters are left} when it does not wait
--      or {2, place, number of the busy key, its owner or '', its remaining ms,
--         whether its holder is foreign, whether dead waiters are left}
--      or, most often, the same of a request for one key as a text: w, its place, the
--         remaining ms and whether the holder is foreign, with spaces; or its place
--         alone, where the rest is what the text before said
--      or {-1} when a later generation of the owner has a key, or it was revoked
--      or {-2, for each edge of a deadlock: owner, lock, holder}
--      or {-3, an error}
--      or {-4} when it was ended before it came
--
-- A request that is sent again is found by its id and answered as it stands.
--include plain.lua
-- The lock of which the last text has told: in one call its holder does not change.
local said

-- Puts a request at the end of the queue of its one key, which another has. Its
-- owner makes no other, so it closes no circle. False: that is not all there is to do.
local function join(lock, queue, holder, owner, id, ttl, liveness, clock)
  if not single(holder) and call('EXISTS', sub(KEYS[1], 1, -2) .. 'b:' .. holder) == 1 then
    return false -- it waits, too
  end
  local raw, stands, foreign = call('HGET', KEYS[4], lock), call('PEXPIRETIME', lock), 1
  if raw then
    local had, _, _, expires, request, _, _, process = cmsgpack.unpack(raw)
    if had == holder and as_recorded(lock, expires, request, process) then
      if request == id then
        return false
      end
      foreign = 0
    end
  end
  local score = 2 * 2 ^ 44 + call('INCR', KEYS[2])
  if call('HSETNX', KEYS[3], id, cmsgpack.pack(owner, 0, 0, tonumber(ttl), ARGV[1], score, clock, 0, '', { lock, queue }, {})) == 0 then
    return false
  end
  call('ZADD', queue, score, id)
  if liveness ~= '0' then
    call('SET', sub(KEYS[1], 1, -2) .. 'p:' .. ARGV[1], '', 'PX', liveness)
  end
  if said == lock then
    return score
  end
  said = lock
  return format('w%.0f %.0f %d', score, stands < 0 and -1 or math.max(stands - clock, 0), foreign)
end

-- Notes that an owner with a name has a lock. A list lives as long as the longest of
-- its locks.
local function list(owner, expires, lock)
  local set = sub(KEYS[1], 1, -2) .. 'o:' .. owner
  call('ZADD', set, expires == '-1' and 'inf' or expires, lock)
  local last = call('ZRANGE', set, -1, -1, 'WITHSCORES')[2]
  if last == 'inf' then
    call('PERSIST', set)
  else
    call('PEXPIREAT', set, last)
  end
end

-- Most often there is one request for one key.
if #KEYS == 6 and #ARGV == 4 then
  local lock, queue, owner, id = KEYS[5], KEYS[6], ARGV[2], ARGV[3]
  local mode, ttl, generation, liveness = string.match(ARGV[4], '^(%a+) (%d+) 1 0 (%d+:%d+) 2 0 0 (%d+)$')
  local values = mode and mode ~= 'ticket' and call('MGET', lock, KEYS[1], sub(KEYS[1], 1, -2) .. 'x:' .. id)
  if values and values[3] then
    return { { -4 } }
  end
  if values and not values[1] and call('EXISTS', queue) == 0 then -- it is free, and nobody waits
    local time, expires, set = call('TIME'), '-1', nil
    local token = next_token(time, values[2])
    if ttl ~= '0' then
      expires = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ttl)
    end
    -- The record is written first: one without its lock is void, while a lock without
    -- its record would be nobody's.
    call('HSET', KEYS[4], lock, cmsgpack.pack(owner, generation, token, expires, id))
    call('SET', KEYS[1], token)
    if expires == '-1' then
      set = call('SET', lock, owner, 'NX')
    else
      set = call('SET', lock, owner, 'NX', 'PXAT', expires)
    end
    if not set then
      call('HDEL', KEYS[4], lock)
      return { { -3, 'WRONGTYPE the lock ' .. lock .. ' is kept as another type than a string' } }
    end
    if not single(owner) then
      list(owner, expires, lock)
    end
    return { token }
  elseif values and values[1] and (values[1] ~= owner or owner == '*') then
    local raw = mode == 'try' and call('HGET', KEYS[4], lock)
    local request = raw and select(5, cmsgpack.unpack(raw))
    if mode == 'try' and request ~= id then
      return { { 0, 1, values[1], call('PTTL', lock), 0 } }
    end
    local time = mode == 'wait' and call('TIME')
    local answer = time and single(owner)
      and join(lock, queue, values[1], owner, id, ttl, liveness, time[1] * 1000 + math.floor(time[2] / 1000))
    if answer then
      return { answer }
    end
  end
end

local locks, queues = {}, {}
for i = 1, #KEYS / 2 - 2 do
  locks[i], queues[i] = KEYS[3 + 2 * i], KEYS[4 + 2 * i]
end

local values, queued = {}, 0
parts(#locks, function(from, upto)
  for i, value in ipairs(call('MGET', unpack(locks, from, upto))) do
    values[from + i - 1] = value
  end
  queued = queued + call('EXISTS', unpack(queues, from, upto))
end)
local time, last = call('TIME'), call('GET', KEYS[1])
local clock = time[1] * 1000 + math.floor(time[2] / 1000)
-- No key is in two of the requests that are granted here: one token does for all.
local token = next_token(time, last)
local ended, names = {}, {}
local arg, key, number = 2, 1, 0
while arg <= #ARGV do
  number = number + 1
  names[number] = sub(KEYS[1], 1, -2) .. 'x:' .. ARGV[arg + 1]
  arg = arg + 3 + tonumber((string.match(ARGV[arg + 2], '^%a+ %d+ %d+ (%d+)')))
end
ended = call('MGET', unpack(names))
local records, taken, wanted, ends, shapes = {}, {}, {}, { ['0'] = '-1' }, {}

-- Most requests of a batch have the same shape.
local function shape(text)
  local s = shapes[text]
  if not s then
    s = {}
    s.mode, s.ttl, s.keys, s.enclosing, s.generation, s.class, s.born, s.place, s.liveness =
      string.match(text, '^(%a+) (%d+) (%d+) (%d+) (%d+:%d+) (%d+) (%d+) (%d+) (%d+)$')
    s.keys, s.enclosing = tonumber(s.keys), tonumber(s.enclosing)
    s.plain = sub(text, 1, 4) == 'wait' and s.keys == 1 and s.enclosing == 0
      and s.class == '2' and s.born == '0' and s.place == '0'
    shapes[text] = s
  end
  return s
end

-- Most often all keys are free, and nobody waits.
local function free(r)
  for i = r.key, r.key + r.shape.keys - 1 do
    if values[i] or taken[locks[i]] or wanted[locks[i]] or (queued > 0 and call('EXISTS', queues[i]) == 1) then
      return false
    end
  end
  return true
end

-- Puts a request down for its keys.
local function book(r)
  local ttl = r.shape.ttl
  local expires = ends[ttl]
  if not expires then
    expires = format('%.0f', clock + ttl)
    ends[ttl] = expires
  end
  r.expires = expires
  local record = cmsgpack.pack(r.owner, r.shape.generation, token, expires, r.id)
  local n = #records
  for i = r.key, r.key + r.shape.keys - 1 do
    records[n + 1], records[n + 2] = locks[i], record
    n = n + 2
    taken[locks[i]] = r.owner
  end
end

local function take(r)
  local owner, expires, from, upto = r.owner, r.expires, r.key, r.key + r.shape.keys - 1
  for i = from, upto do
    local set
    if expires == '-1' then
      set = call('SET', locks[i], owner, 'NX')
    else
      set = call('SET', locks[i], owner, 'NX', 'PXAT', expires)
    end
    if not set then -- it is there, and is no string
      for j = from, upto do
        taken[locks[j]] = nil
        if j < i then
          call('DEL', locks[j])
        end
      end
      parts(upto - from + 1, function(a, b)
        call('HDEL', KEYS[4], unpack(locks, from + a - 1, from + b - 1))
      end)
      error('WRONGTYPE the lock ' .. locks[i] .. ' is kept as another type than a string', 0)
    end
  end
  if not single(owner) then
    for i = from, upto do
      list(owner, expires, locks[i])
    end
  end
  return token
end

local answers = {}

-- Notes what a request is answered. An error is one request's own, whatever becomes
-- of the others in the call.
local function answer(r, f)
  local ok, got = pcall(f, r)
  if not ok then
    got = { -3, type(got) == 'table' and got.err or tostring(got) }
  end
  answers[r.number] = got
  return got
end

local granted, rest = {}, {}
arg, number = 2, 0
while arg <= #ARGV do
  number = number + 1
  local s = shape(ARGV[arg + 2])
  local r = { owner = ARGV[arg], id = ARGV[arg + 1], shape = s, arg = arg, key = key, number = number }
  if ended[number] then
    answers[number] = { -4 }
  elseif s.mode ~= 'ticket' and free(r) then
    book(r)
    granted[#granted + 1] = r
  else
    rest[#rest + 1] = r
    for i = key, key + s.keys - 1 do -- it came before those that follow
      wanted[locks[i]] = true
    end
  end
  arg = arg + 3 + s.enclosing
  key = key + s.keys
end
if #granted > 0 then -- as above, the records are written first
  parts(#records, function(from, upto)
    call('HSET', KEYS[4], unpack(records, from, upto))
  end)
  call('SET', KEYS[1], token)
  for _, r in ipairs(granted) do
    answer(r, take)
  end
end

-- Else it is most often one key that another has.
local function joined(r)
  local s, lock = r.shape, locks[r.key]
  local h = s.plain and single(r.owner) and (taken[lock] or values[r.key])
  return h and (h ~= r.owner or h == '*')
    and join(lock, queues[r.key], h, r.owner, r.id, s.ttl, s.liveness, clock)
end

local left = {}
for _, r in ipairs(rest) do
  if #left > 0 or not answer(r, joined) then -- nobody goes before those who asked first
    left[#left + 1] = r
  end
end
if #left == 0 then
  return answers
end

local asker, told
--include queue.lua
--include serve.lua

lives[ARGV[1]] = true

-- Reads a request from the arguments.
local function read(r)
  local s = r.shape
  local epoch, attempt = string.match(s.generation, '^(%d+):(%d+)$')
  local request = {
    owner = r.owner, epoch = tonumber(epoch), attempt = tonumber(attempt), ttl = tonumber(s.ttl),
    process = ARGV[1], ticket = s.mode == 'ticket' or nil, born = tonumber(s.born), since = now,
    keys = {}, behalf = {},
  }
  for i = 2 * r.key + 3, 2 * (r.key + s.keys) + 2 do
    request.keys[#request.keys + 1] = KEYS[i]
  end
  for i = r.arg + 3, r.arg + 2 + s.enclosing do
    request.behalf[#request.behalf + 1] = ARGV[i]
  end
  if s.liveness ~= '0' then
    call('SET', hub .. 'p:' .. ARGV[1], '', 'PX', s.liveness)
  end
  return request, r.id, s.mode, tonumber(s.class), tonumber(s.place)
end

-- Asked before: what was granted then, is granted.
local function as_before(id, request)
  local known, w = { 1 }, request.ticket and waiter(id)
  if w and w.process ~= request.process then
    w.process = request.process
    note(id, w)
  end
  for i = 1, #request.keys, 2 do
    local r = holder(request.keys[i]) == request.owner and record(request.keys[i])
    if not r or r.revoked or not of(r, id) or r.epoch ~= request.epoch or r.attempt ~= request.attempt then
      return nil
    end
    if request.ticket and r.process ~= request.process then -- it is told from now on
      r.process = request.process
      write(request.keys[i], r)
    end
    local n = #known
    known[n + 1], known[n + 2] = r.token, 0
    known[n + 3], known[n + 4] = remaining(r.expires), r.offer and 1 or 0
    for k = 1, r.successors and #r.successors or 0, 2 do -- there is one key
      known[#known + 1] = sub(r.successors[k], #request.process + 2)
    end
  end
  return known
end

local function ask(r)
  local request, id, mode, class, place = read(r)
  local owner = request.owner
  local before = as_before(id, request)
  if before then
    return before
  end

  -- Asked before, and still waiting: it gets its old place, this process and this
  -- generation.
  local old = mode ~= 'try' and waiter(id)
  if old and old.offered then -- it has let its offer lapse: the next one is first served
    touch(old)
    serve()
  end
  if old and (old.epoch > request.epoch or (old.epoch == request.epoch and old.attempt > request.attempt)) then
    return { -1 } -- a later generation has taken it up
  elseif old then
    place = old.score
    request.since = old.since
    request.offered = nil
  end

  if listed(owner) then
    request.behalf[#request.behalf + 1] = owner
  end
  if class > 1 and hold_something(request.behalf) then
    class = 1
  end
  if place > 0 and not old then -- the server has forgotten it: nobody new goes before
    local ticket = place % CLASS
    if (tonumber(call('GET', KEYS[2])) or 0) < ticket then
      call('SET', KEYS[2], format('%.0f', ticket))
    end
  end
  visits = old and 512 or 10000
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
        if place == 0 then
          request.score = class * CLASS + call('INCR', KEYS[2])
        end
        enter(id, request)
        local given = give_all(id, request, own, true)
        for i = 2, #request.keys, 2 do
          call('ZADD', request.keys[i], ASIDE + request.score, id)
        end
        request.offered = true
        note(id, request)
        unblock_owners(id, request)
        revisit(owner)
        serve()
        table.insert(given, 1, 1)
        return given
      end
      local given = give_all(id, request, own, false)
      revisit(owner)
      serve()
      table.insert(given, 1, 1)
      return given
    end
  end

  if what then -- the first that is not available may be a free one whose turn it is not
    for i = at, #request.keys, 2 do
      own[i] = true
    end
    at = queued(id, request, own) or at
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
      table.insert(edges, 1, -2)
      return edges
    elseif victim then
      give_up(victim, waiter(victim), 'd', edges)
    end
  until not victim
  if old then
    unblock_owners(id, old)
  end
  enter(id, request)
  pass(id, request, {}) -- now that it waits, others may go before those ahead of it
  serve()
  local foreign = 0
  if has ~= '' and not record(lock) then
    foreign = 1
  end
  return { 2, request.score, (at + 1) / 2, has, left, foreign, more }
end

for _, r in ipairs(left) do
  answer(r, ask)
end
return answers
