-- Who is next: put in place of the line "--include serve.lua", after queue.lua.
--
-- A waiter is served when nothing stands between it and any of its keys and it is
-- the first live one of all its queues. Two things break that order, so that nobody
-- waits for ever: a waiter passes one ahead that waits for what it holds, and a
-- circle of holders has one of its waiters given up.
-- Says whether nothing but the order of queues stands between a waiter and its
-- keys. The results are what stands there, the place of it, and own holds.
local function obstacles(w)
  local own, held = {}, nil
  for i = 1, #w.keys, 2 do
    local what, mine = obstacle(w, w.keys[i])
    if what == 'revoked' then
      return what, i, own
    elseif what then
      held = held or i
    end
    own[i] = mine
  end
  return held and 'held', held, own
end

-- Says whether a waiter cannot go on before one of the owners does.
local function depends(id, w, owners, seen)
  if seen[id] or visits == 0 then
    return false
  end
  seen[id] = true
  visits = visits - 1
  for i = 1, #w.keys, 2 do
    local what, mine = obstacle(w, w.keys[i])
    if what == 'held' then
      local h = holder(w.keys[i])
      if owners[h] then
        return true
      end
      if h ~= '*' then
        for _, other in ipairs(call('SMEMBERS', hub .. 'b:' .. h)) do
          local o = waiter(other)
          if o and depends(other, o, owners, seen) then
            return true
          end
        end
      end
    elseif not what and not mine then
      local first, o = head(w.keys[i + 1])
      if o and first ~= id and depends(first, o, owners, seen) then
        return true
      end
    end
  end
  return false
end

-- The first of a waiter's free keys at which it is not its turn: those ahead of it
-- may be passed only when they wait for what it gives back later. Nil: none.
local function queued(id, w, own)
  local owners
  for i = 1, #w.keys, 2 do
    if not own[i] then
      local first, o = head(w.keys[i + 1])
      if first and first ~= id and (not o or o.score < w.score) then
        if not owners then
          owners = {}
          for _, owner in ipairs(hold_something(w.behalf) and w.behalf or {}) do
            owners[owner] = true
          end
        end
        if not o or next(owners) == nil or not depends(first, o, owners, {}) then
          return i
        end
      end
    end
  end
  return nil
end

-- Follows the circle that a waiter may have closed: who waits for what who holds.
-- It returns the waiters of the circle and its edges, or nil.
local function circle(id, w, owners, seen)
  seen[id] = true
  for i = 1, #w.keys, 2 do
    local h = holder(w.keys[i])
    if h and h ~= '*' and h ~= w.owner then
      if owners[h] then
        return { id }, { { w.owner, w.keys[i], h } }
      end
      for _, other in ipairs(call('SMEMBERS', hub .. 'b:' .. h)) do
        local o = visits > 0 and not seen[other] and waiter(other)
        if o then
          visits = visits - 1
          local ids, edges = circle(other, o, owners, seen)
          if ids then
            table.insert(ids, 1, id)
            table.insert(edges, 1, { w.owner, w.keys[i], h })
            return ids, edges
          end
        end
      end
    end
  end
  return nil
end

-- The one of a circle that is given up: the youngest that does not compensate, a
-- plain request counting as younger than any execution; of several plain ones the
-- one that came last, which is the one that closed it.
local function younger(a, b)
  local ca, cb = a.score < CLASS, b.score < CLASS
  if ca ~= cb then
    return cb
  elseif (a.born == 0) ~= (b.born == 0) then
    return a.born == 0
  elseif a.born ~= b.born then
    return a.born > b.born
  end
  return a.score % CLASS > b.score % CLASS
end

-- Looks for a circle through a waiter. Returns the id of its victim and its edges,
-- which begin with the victim.
local function deadlock(id, w)
  if not hold_something(w.behalf) then
    return nil
  end
  local owners = {}
  for _, owner in ipairs(w.behalf) do
    owners[owner] = true
  end
  local ids, edges = circle(id, w, owners, {})
  if not ids then
    return nil
  end
  local victim = 1
  for i = 2, #ids do
    if younger(i == 1 and w or waiter(ids[i]), victim == 1 and w or waiter(ids[victim])) then
      victim = i
    end
  end
  local flat = {}
  for i = 0, #ids - 1 do
    for _, text in ipairs(edges[(victim - 1 + i) % #ids + 1]) do
      flat[#flat + 1] = text
    end
  end
  return ids[victim], flat
end

local function give_up(id, w, kind, edges)
  leave(id, w)
  local values = { kind, id }
  for _, text in ipairs(edges or {}) do
    values[#values + 1] = text
  end
  tell(w.process, values)
end

-- Looks again at what an owner waits for, after it was given something: requests
-- that can join now, earlier generations, circles that have closed.
local function revisit(owner)
  if owner == '*' then
    return
  end
  local again
  repeat -- what one is given may let another go on
    again = false
    for _, id in ipairs(call('SMEMBERS', hub .. 'b:' .. owner)) do
      local w = waiter(id)
      if w and not w.offered then
        local what, _, own = obstacles(w)
        if w.owner == owner and what == 'revoked' then
          give_up(id, w, 'x')
          again = true
        elseif w.owner == owner and not what and not queued(id, w, own) then
          offer(id, w, own)
          again = true
        elseif what == 'held' then
          local victim, edges = deadlock(id, w)
          if victim then
            give_up(victim, waiter(victim), 'd', edges)
            again = true
          end
        end
      end
    end
  until not again
end

-- Serves a waiter that is not at the head of its queues, but that the head waits
-- for in the end.
local function pass(id, w, seen)
  if seen[id] or visits == 0 then
    return
  end
  seen[id] = true
  visits = visits - 1
  for i = 1, #w.keys, 2 do
    local what = obstacle(w, w.keys[i])
    if what == 'held' and holder(w.keys[i]) ~= '*' then
      for _, other in ipairs(call('SMEMBERS', hub .. 'b:' .. holder(w.keys[i]))) do
        local o = waiter(other)
        if o and not o.offered then
          local blocked, _, own = obstacles(o)
          if not blocked and not queued(other, o, own) then
            offer(other, o, own)
            revisit(o.owner)
          else
            pass(other, o, seen)
          end
        end
      end
    elseif not what then
      local first, o = head(w.keys[i + 1])
      if o and first ~= id then
        pass(first, o, seen)
      end
    end
  end
end

-- Serves the queues of all keys on the list.
local function serve()
  local i = 0
  while i < #todo do
    i = i + 1
    local key = todo[i]
    if not holder(key[1]) then
      local id, w = head(key[2])
      if w then
        local what, _, own = obstacles(w)
        if what == 'revoked' then
          give_up(id, w, 'x')
        elseif not what and not queued(id, w, own) then
          offer(id, w, own)
          revisit(w.owner)
        else
          pass(id, w, {})
        end
      end
    end
  end
  todo = {}
end
