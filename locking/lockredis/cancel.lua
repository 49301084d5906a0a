-- Ends a request: takes it out of the queues, and frees what was granted to it, but
-- for what another request has joined. A request that is not there, or that was sent
-- without an answer, may come later, by a connection that was slower: it is then refused.
--
-- KEYS  as queue.lua says
-- ARGV  request id, owner, whether it was sent without an answer (1: it was), and for a
--       ticket: epoch, attempt; then for each key the token of the request's that stays,
--       since its caller has it by now; all but the first three may be missing
--
-- Returns whether there was anything to end, and whether dead waiters are left.
local asker, told
--include queue.lua
--include serve.lua

local id, owner = ARGV[1], ARGV[2]
local epoch, attempt = tonumber(ARGV[4] or ''), tonumber(ARGV[5] or '')

-- A ticket that a later generation has taken up is not for an earlier one to end.
local function later(r)
  return epoch and (r.epoch > epoch or (r.epoch == epoch and r.attempt > attempt))
end

local w = waiter(id)
if w and later(w) then
  return { 0, 0 }
end
local found = 0
for i = 5, #KEYS, 2 do
  local lock, queue = KEYS[i], KEYS[i + 1]
  local r = holder(lock) == owner and record(lock)
  if r and of(r, id) and not later(r) and r.token ~= ARGV[6 + (i - 5) / 2] then
    found = 1
    local others = {}
    for _, request in ipairs(requests(r)) do
      if request ~= id then
        others[#others + 1] = request
      end
    end
    if #others == 0 then
      drop(lock, owner)
      todo[#todo + 1] = { lock, queue }
    else
      r.request = others
      write(lock, r)
    end
  elseif not holder(lock) then
    call('HDEL', KEYS[4], lock) -- a lock that lapses leaves its record
  end
end
if w then
  leave(id, w)
  found = 1
end
serve()
if (found == 0 or ARGV[3] == '1') and string.sub(id, 1, 2) ~= 't:' then
  call('SET', hub .. 'x:' .. id, '', 'PX', 10000)
end
return { found, more }
