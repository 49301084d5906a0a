-- What the straight-line paths of acquire.lua and release.lua share, which run without
-- queue.lua: put in place of their line "--include plain.lua", at their beginning.
local call, format, sub = redis.call, string.format, string.sub

-- An owner that makes this one request, and so holds nothing that others wait for.
local function single(owner)
  return owner == '*' or sub(owner, 1, 8) == 'execute:'
end

-- The token of a grant at that time, where last is the one before: see queue.lua.
local function next_token(time, last)
  local token = time[1] .. sub('00000' .. time[2], -6)
  if last and (#last ~= 16 or last >= token) then
    token = format('%016.0f', math.max(tonumber(token), (tonumber(last) or 0) + 1))
  end
  return token
end

-- Says whether a lock's expiry is still the recorded one: see queue.lua.
local function as_recorded(lock, expires, request, process)
  local later = call('PEXPIRETIME', lock) - expires
  if later > 0 and later < 500 and tonumber(expires) >= 0 then
    local of = process or request
    return type(of) == 'string' and sub(of, 1, 1) == '~'
  end
  return later == 0
end

-- Calls f for the parts of a list of n: so many arguments can be passed at once.
local function parts(n, f)
  for from = 1, n, 2000 do
    f(from, math.min(from + 1999, n))
  end
end

