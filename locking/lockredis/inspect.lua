-- Tells who holds a lock and who waits for it. It changes nothing
-- that counts.
--
-- KEYS  as queue.lua says: one lock
-- ARGV  how many waiters to tell of at most
--
-- Returns {the time in µs, the holder as state.lua says ({}: nobody), how many
-- wait, then for each waiter in order: {owner, whether it compensates, its ticket
-- or '', since how many ms it waits, whether it is passed over, its locks…}}
local asker, told
--include queue.lua
--include state.lua

local lock, queue, most = KEYS[5], KEYS[6], tonumber(ARGV[1])
if holder(lock) == '' and call('TYPE', lock).ok ~= 'string' then
  return redis.error_reply('WRONGTYPE the lock ' .. lock .. ' is kept as another type than a string')
end
local held = state(lock)
if not held then
  call('HDEL', KEYS[4], lock) -- a lock that lapses leaves its record
end
local r = held and record(lock)

-- A ticket that has been offered the lock still stands in the queue, set aside: it
-- is the holder, and does not wait.
local offered, waiting = {}, call('ZCARD', queue)
for _, id in ipairs(r and r.offer and requests(r) or {}) do
  if call('ZSCORE', queue, id) then
    offered[id] = true
    waiting = waiting - 1
  end
end

local answer = { micros, held or {}, waiting }
local from = 0
while most > 0 do
  local page = call('ZRANGE', queue, from, from + most - 1, 'WITHSCORES')
  for i = 1, #page, 2 do
    local id, score = page[i], tonumber(page[i + 1])
    local w = not offered[id] and waiter(id)
    if w and most > 0 then
      local one = {
        w.owner, w.score < CLASS and 1 or 0, w.ticket and id or '', now - w.since,
        (score >= ASIDE or not alive(w.process)) and 1 or 0,
      }
      for k = 1, #w.keys, 2 do
        one[#one + 1] = w.keys[k]
      end
      answer[#answer + 1] = one
      most = most - 1
    end
  end
  if #page == 0 then
    break
  end
  from = from + #page / 2
end
return answer
