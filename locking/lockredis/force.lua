-- Takes a key from its holder by force, and keeps a record of it.
--
-- KEYS  as queue.lua says: one lock
-- ARGV  owner, token (0: the lock of another program, which has none), reason,
--       whether the key goes on at once, an id of this call
--
-- Returns {1, whether dead waiters are left} when that holder had the key
--      or {0, 0} when it had not
--      or {2, 0} when the holder is another program, and the key is not to go on at
--         once: there is nobody who could be told
--      or {3, 0} when a successor may be the holder: see queue.lua
--
-- The records are the list <hub>a, the newest first. Each has fields that carry
-- their length: the call's id, lock, owner, token, reason, whether at once, time
-- in µs. A call that is sent again finds its record, and does nothing more.
local asker, told
--include queue.lua
--include serve.lua

local owner, token, reason, at_once, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5]
local lock, queue, audit = KEYS[5], KEYS[6], hub .. 'a'
local kept = 1000

local function done()
  local mark = field(id)
  for _, entry in ipairs(call('LRANGE', audit, 0, -1)) do
    if string.sub(entry, 1, #mark) == mark then
      return true
    end
  end
  return false
end

local stands = holder(lock) == owner
local r = holder(lock) and record(lock) or nil
if r and r.successors and tonumber(token) >= tonumber(r.token) then
  wonder(lock, r)
  return { 3, 0 }
end
if not stands or token ~= (r and r.token or '0') then
  return { done() and 1 or 0, 0 }
elseif (not r or r.revoked) and done() then
  return { 1, 0 }
elseif not r and not at_once then
  return { 2, 0 }
end

local entry = ''
for _, value in ipairs({ id, lock, owner, token, reason, ARGV[4], micros }) do
  entry = entry .. field(value)
end
call('LPUSH', audit, entry)
call('LTRIM', audit, 0, kept - 1)
if r then
  tell(r.process, { 'r', lock, owner, r.epoch, r.attempt, token, reason })
  -- A ticket must not get again by itself what was taken from it.
  for _, id in ipairs(r.offer == 't' and requests(r) or {}) do
    local w = waiter(id)
    if w then
      give_up(id, w, 'x')
    end
  end
end
if at_once then
  drop(lock, owner)
  todo[#todo + 1] = { lock, queue }
else
  r.revoked = reason
  write(lock, r)
  revisit(owner)
end
serve()
return { 1, more }
