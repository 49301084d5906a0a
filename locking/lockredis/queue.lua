-- What the scripts share: it is put in place of their line "--include queue.lua".
-- Before that a script says who asks, and which list is for what it is to be told in
-- the answer: local asker, told. Most have no such list.
--
-- KEYS of every script that includes it
--   1 the last token   2 the last ticket   3 the waiters, a hash by id
--   4 the records of holds, a hash by lock
--   then for each key of the call: the lock, its queue
-- From the first key's name, in the same slot, come the side keys
--   <hub>p:<process>  is there while the process lives
--   <hub>d:<process>  it was offered something although nobody listened
--   <hub>o:<owner>    the locks of an owner that has a name of its own, by their expiry
--   <hub>b:<owner>    ids of the waiters whose wait holds up that owner
--   <hub>a            what was taken by force: see force.lua
--   <hub>x:<id>       a request that ended before it came: it may still be on its way
-- A waiter's record names its other keys; they are in the same slot too.
--
-- The lock is a string, its value the owner, so that other programs take part. It
-- is the truth: a record is void unless the string has the recorded owner and
-- expiry. That may be later by the time that a key took to another node of a cluster:
-- Redis moves its remaining time; there a process has a name that begins with ~. Records
-- are packed:
--   hold    owner, generation ("epoch:attempt"), token, expires (ms, -1: never),
--           request (with those that joined: their list, empty when they are many),
--           offer (o: it ends unless it is extended, t: so does a ticket's), revoked
--           (a reason), process (where the request's id does not begin with it),
--           successors (request, owner, …); the last four may be missing
--   waiter  owner, epoch, attempt, ttl, process, score, since, born, kind ('': it ends
--           with its process, t: a ticket, o: one whose keys are offered to it),
--           keys (lock, queue, …), behalf (owners it holds up)
-- A token is the time of the grant in µs, as 16 digits, or the last one and one.
--
-- Successors are the waiters right behind a hold's own request, of the same process,
-- which that process may let begin by itself, one after the other, when the one before
-- has ended: the n-th has the hold's token and n. They stay in the queue, and the
-- record stays the first one's, until the process speaks of one of them: those before
-- have then had their turn. When the hold ends in another way, they wait as before. A
-- script that has to know who of them holds the lock has the process asked (wonder), and
-- is called again: it knows at the latest when the hold has lapsed.
--
-- Order: a queue's score is class * CLASS + ticket. Who is set aside, because the
-- process is away or because the ticket has an offer, is at ASIDE + score.
-- A waiter has one score and enters all its queues in one call. So the queues
-- agree on one order, and no circle can be made of queues alone.
local CLASS, ASIDE, OFFER, AWAY, REVIVE, MANY, MOVED = 2 ^ 44, 2 ^ 48, 2000, 250, 64, 16, 500
local hub = string.sub(KEYS[1], 1, -2)
local channel = string.match(hub, '^(.-){') .. 'c:'
local call, pack, unpacked = redis.call, cmsgpack.pack, cmsgpack.unpack
local time = call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)

-- How long what ends then is there still, as callers are told: -1 is for ever. What the
-- server has may be over by this script's clock, which goes on while the script runs, as the
-- one by which keys lapse does not.
local function remaining(expires)
  return expires < 0 and -1 or math.max(expires - now, 0)
end

-- Waiters of dead processes that this call may still pass over, and whether it
-- stopped there: then the caller asks again.
local budget, more = REVIVE, 0
-- Steps of the search for circles that this call may still make.
local visits = 10000
local holders, lives, waiters, todo = {}, {}, {}, {}

local minted
local function mint()
  if not minted then
    local last = tonumber(call('GET', KEYS[1]) or '0') or 0
    minted = string.format('%016.0f', math.max(last + 1, micros))
    call('SET', KEYS[1], minted)
  end
  return minted
end

local function holder(lock)
  local h = holders[lock]
  if h == nil then
    local ok
    ok, h = pcall(call, 'GET', lock)
    h = ok and h or not ok and '' -- what is no string is nobody's, and nobody gets it
    holders[lock] = h
  end
  return h
end

-- The record of a hold, or nil when it is void.
local function record(lock)
  local raw = call('HGET', KEYS[4], lock)
  if raw then
    local owner, generation, token, expires, request, offered, revoked, process, successors = unpacked(raw)
    expires = tonumber(expires)
    local later = owner == holder(lock) and call('PEXPIRETIME', lock) - expires
    local slotted = type(process or request) == 'string' and string.sub(process or request, 1, 1) == '~'
    if later and (later == 0 or (slotted and later > 0 and later < MOVED and expires >= 0)) then
      local epoch, attempt = string.match(generation, '^(%d+):(%d+)$')
      return {
        owner = owner, epoch = tonumber(epoch), attempt = tonumber(attempt), token = token, expires = expires,
        request = request, offer = offered or nil, revoked = revoked or nil,
        process = process or string.match(request, '^[^.]*'), successors = successors,
      }
    end
  end
  return nil
end

-- The ids of the requests that a hold was granted to.
local function requests(r)
  return type(r.request) == 'table' and r.request or { r.request }
end

local function of(r, id)
  for _, request in ipairs(requests(r)) do
    if request == id then
      return true
    end
  end
  return false
end

local function alive(process)
  if lives[process] == nil then
    lives[process] = call('EXISTS', hub .. 'p:' .. process) == 1
  end
  return lives[process]
end

-- Says that a process is not to be reached, although it may live: nobody listens on its
-- channel. It gets what is its turn as a short offer, once: one that makes its connection
-- anew comes back within that time, and keeps its place. Nodes of a cluster know of
-- their own listeners only; there a process has a name that begins with ~.
local reached = {}
local function absent(process)
  if process == asker or string.sub(process, 1, 1) == '~' then
    return false
  elseif reached[process] == nil then
    reached[process] = call('PUBSUB', 'NUMSUB', channel .. process)[2] > 0
  end
  return not reached[process]
end

-- Says that it was given such an offer before, and has not been heard of since.
local function away(process)
  return absent(process) and call('EXISTS', hub .. 'd:' .. process) == 1
end

local function read_waiter(raw)
  local w, kind = {}, nil
  w.owner, w.epoch, w.attempt, w.ttl, w.process, w.score, w.since, w.born, kind, w.keys, w.behalf = unpacked(raw)
  w.ticket, w.offered = kind ~= '' or nil, kind == 'o' or nil
  return w
end

local function waiter(id)
  local w = waiters[id]
  if w == nil then
    local raw = call('HGET', KEYS[3], id)
    w = raw and read_waiter(raw) or false
    waiters[id] = w
  end
  return w
end

local function note(id, w)
  local kind = w.offered and 'o' or w.ticket and 't' or ''
  call('HSET', KEYS[3], id,
    pack(w.owner, w.epoch, w.attempt, w.ttl, w.process, w.score, w.since, w.born, kind, w.keys, w.behalf))
end

-- An owner whose locks are listed by its name. An anonymous owner is many; that
-- of a job has this one request.
local function listed(owner)
  return owner ~= '*' and string.sub(owner, 1, 8) ~= 'execute:'
end

-- A list lives as long as the longest of its locks.
local function keep_list(set)
  local last = call('ZRANGE', set, -1, -1, 'WITHSCORES')[2]
  if last == 'inf' then
    call('PERSIST', set)
  elseif last then
    call('PEXPIREAT', set, last)
  end
end

local function list(owner, lock, expires)
  if listed(owner) then
    local set = hub .. 'o:' .. owner
    call('ZADD', set, expires < 0 and 'inf' or string.format('%.0f', expires), lock)
    keep_list(set)
  end
end

-- Says whether one of the owners has a lock.
local function hold_something(owners)
  for _, owner in ipairs(owners) do
    local set = hub .. 'o:' .. owner
    if call('EXISTS', set) == 1 then
      call('ZREMRANGEBYSCORE', set, '-inf', string.format('(%.0f', now))
      if call('EXISTS', set) == 1 then
        return true
      end
    end
  end
  return false
end

local function write(lock, r)
  call('HSET', KEYS[4], lock, pack(r.owner, string.format('%.0f:%.0f', r.epoch, r.attempt), r.token,
    string.format('%.0f', r.expires), r.request, r.offer or false, r.revoked or false, r.process, r.successors))
end

-- Writes the lock and its record.
local function keep(lock, r)
  if r.expires >= 0 then
    call('SET', lock, r.owner, 'PXAT', string.format('%.0f', r.expires))
  else
    call('SET', lock, r.owner)
  end
  write(lock, r)
  list(r.owner, lock, r.expires)
  holders[lock] = r.owner
end

-- Makes a hold that of its successor with the owner and the token, if there is one.
local function succeed(lock, queue, r, owner, token)
  local n = r.successors and 2 * (tonumber(token) - tonumber(r.token)) or 0
  if n < 2 or n > #r.successors or r.successors[n] ~= owner then
    return
  end
  for i = 1, n, 2 do
    call('ZREM', queue, r.successors[i])
    call('HDEL', KEYS[3], r.successors[i])
  end
  r.owner, r.token, r.epoch, r.attempt = owner, token, 0, 0
  r.request, r.successors = r.successors[n - 1], nil
  keep(lock, r)
end

-- Frees a lock. Who waits for it has to be served.
local function drop(lock, owner)
  call('DEL', lock)
  call('HDEL', KEYS[4], lock)
  if listed(owner) then
    call('ZREM', hub .. 'o:' .. owner, lock)
    keep_list(hub .. 'o:' .. owner)
  end
  holders[lock] = false
end

local function enter(id, w)
  note(id, w)
  for i = 2, #w.keys, 2 do
    call('ZADD', w.keys[i], w.score, id)
  end
  for _, owner in ipairs(w.behalf) do
    call('SADD', hub .. 'b:' .. owner, id)
  end
  waiters[id] = w
end

-- Puts the keys of a waiter on the list of those whose queue has changed.
local function touch(w)
  for i = 1, #w.keys, 2 do
    todo[#todo + 1] = { w.keys[i], w.keys[i + 1] }
  end
end

local function unblock_owners(id, w)
  for _, owner in ipairs(w.behalf) do
    call('SREM', hub .. 'b:' .. owner, id)
  end
end

local function leave(id, w)
  for i = 2, #w.keys, 2 do
    call('ZREM', w.keys[i], id)
  end
  call('HDEL', KEYS[3], id)
  unblock_owners(id, w)
  waiters[id] = false
  touch(w)
end

local function aside(id, w)
  for i = 2, #w.keys, 2 do
    call('ZADD', w.keys[i], ASIDE + w.score, id)
  end
  unblock_owners(id, w)
  touch(w)
end

-- The first live waiter of a queue, and its record.
local function head(queue)
  while true do
    local first = call('ZRANGE', queue, 0, 0, 'WITHSCORES')
    local id = first[1]
    if not id or tonumber(first[2]) >= ASIDE then
      return nil
    end
    local w = waiter(id)
    local there = w and alive(w.process)
    if there and not away(w.process) then
      return id, w
    end
    if budget == 0 then
      more = 1
      return id, nil
    end
    budget = budget - 1
    if not w then
      call('ZREM', queue, id)
    elseif w.ticket or there then
      aside(id, w) -- its process states it again when it comes back
    else
      leave(id, w)
    end
  end
end

local function field(value)
  local text = type(value) == 'number' and string.format('%.0f', value) or value
  return #text .. ':' .. text
end

-- Asks who of a hold and its successors it is.
local function wonder(lock, r)
  call('PUBLISH', channel .. r.process, '1:a' .. field(lock))
end

-- What stands between a request and a key: nil for nothing, or a word. The second
-- result is the record of the owner's own hold, or true where it has none.
local function obstacle(w, lock)
  local h = holder(lock)
  if not h then
    return nil, nil
  elseif h ~= w.owner or h == '*' then
    return 'held', nil
  end
  local r = record(lock)
  if r and r.successors then -- it may have ended
    wonder(lock, r)
    return 'held', nil
  elseif r and (r.revoked or w.epoch < r.epoch or (w.epoch == r.epoch and w.attempt < r.attempt)) then
    return 'revoked', r
  end
  return nil, r or true
end

-- Makes a request the holder of one key. Returns token, joined, remaining ms (-1:
-- no expiry) and whether it is an offer.
local function give(id, w, lock, own, offer)
  if type(own) == 'table' and w.epoch == own.epoch and w.attempt == own.attempt then
    if not of(own, id) then -- the end of one request must not be that of the others
      local all = requests(own)
      own.request = #all > 0 and #all < MANY and { id, unpack(all) } or {}
    end
    if not own.offer and w.ttl > 0 and own.expires >= 0 and now + w.ttl > own.expires then
      own.expires = now + w.ttl
      keep(lock, own)
    else
      write(lock, own)
    end
    return own.token, 1, remaining(own.expires), own.offer and 1 or 0
  end
  if type(own) == 'table' and own.token == minted then
    minted = nil -- the one it takes over from was given its lock in this call
  end
  local expires, short, life = w.ttl > 0 and now + w.ttl or -1, false, OFFER
  if offer and absent(w.process) then
    life = AWAY
    call('SET', hub .. 'd:' .. w.process, '', 'PX', 2 * OFFER)
  end
  if own == true or (own and not own.offer) then
    local stands = call('PEXPIRETIME', lock)
    if stands < 0 or stands > expires then
      expires = stands
    end
  elseif offer and (w.ttl == 0 or w.ttl > life) then
    expires, short = now + life, true
  end
  local r = {
    owner = w.owner, epoch = w.epoch, attempt = w.attempt, token = mint(), expires = expires,
    request = id, process = w.process,
  }
  if short then
    r.offer = w.ticket and 't' or 'o'
  elseif offer and w.ticket and (not own or (type(own) == 'table' and own.offer)) then
    r.offer = 't'
  end
  keep(lock, r)
  return r.token, 0, remaining(expires), r.offer and 1 or 0
end

-- Gives a request all its keys; own has what obstacle told of each.
local function give_all(id, w, own, offer)
  local answer = {}
  for i = 1, #w.keys, 2 do
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] =
      give(id, w, w.keys[i], own[i], offer)
  end
  return answer
end

-- Tells a process something, in fields that carry their length. The one that asks is
-- told in the answer, where the script has a place for that.
local function tell(process, values)
  local fields = {}
  for i, value in ipairs(values) do
    fields[i] = field(value)
  end
  local text = table.concat(fields)
  if told and process == asker then
    told[#told + 1] = text
  else
    call('PUBLISH', channel .. process, text)
  end
end

-- Offers a waiter all its keys, which nothing stands in the way of.
local function offer(id, w, own)
  local answer = give_all(id, w, own, true)
  for i = 2, #w.keys, 2 do
    if w.ticket then
      call('ZADD', w.keys[i], ASIDE + w.score, id)
    else
      call('ZREM', w.keys[i], id)
    end
  end
  if w.ticket then
    w.offered = true
    note(id, w)
  else
    call('HDEL', KEYS[3], id)
    waiters[id] = false
  end
  unblock_owners(id, w)
  table.insert(answer, 1, id)
  table.insert(answer, 1, 'g')
  tell(w.process, answer)
end
