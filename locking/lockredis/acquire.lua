-- Takes all keys of a request, or none.
--
-- KEYS  for each key: the lock, its side record, its slot's token counter
-- ARGV  owner, epoch, attempt, time to live in ms (0: none), request id
--
-- Returns {1, then for each key: token, joined (0 or 1), remaining ms (-1: none)}
--      or {0, number of the busy key, its owner, its remaining ms (-1: none)}
--      or {-1, number of a key that a later generation of the owner has}
--
-- The lock is a string, its value the owner, so that other programs can take part.
-- The side record is valid only while the string has the owner and the expiry that
-- are recorded. A request that is sent again finds its id and is answered alike.
local owner, epoch, attempt = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local ttl, request = tonumber(ARGV[4]), ARGV[5]

local function record(lock, side, holder)
  local r = redis.call('HMGET', side, 'owner', 'epoch', 'attempt', 'token', 'expires', 'request')
  if r[1] == holder and r[5] == tostring(redis.call('PEXPIRETIME', lock)) then
    return { epoch = tonumber(r[2]), attempt = tonumber(r[3]), token = r[4], request = r[6] }
  end
  return nil
end

local states = {}
for i = 1, #KEYS / 3 do
  local lock, side = KEYS[3 * i - 2], KEYS[3 * i - 1]
  local holder = redis.call('GET', lock)
  if not holder then
    states[i] = 'free'
  else
    local r = holder == owner and record(lock, side, holder) or nil
    if r and r.request == request then
      states[i] = r
    elseif holder ~= owner or owner == '*' then
      return { 0, i, holder, redis.call('PTTL', lock) }
    elseif not r then
      states[i] = 'unrecorded'
    elseif epoch < r.epoch or (epoch == r.epoch and attempt < r.attempt) then
      return { -1, i }
    elseif epoch == r.epoch and attempt == r.attempt then
      states[i] = r
    else
      states[i] = 'takeover'
    end
  end
end

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local function mint(counter)
  local last = tonumber(redis.call('GET', counter) or '0')
  local token = string.format('%.0f', math.max(last + 1, micros))
  redis.call('SET', counter, token)
  return token
end

local answer = { 1 }
for i, state in ipairs(states) do
  local lock, side, counter = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local left = -1
  if state == 'free' then
    if ttl > 0 then
      redis.call('SET', lock, owner, 'PX', ttl)
      left = ttl
    else
      redis.call('SET', lock, owner)
    end
  else
    left = redis.call('PTTL', lock)
    if ttl > 0 and left >= 0 and ttl > left then
      redis.call('PEXPIRE', lock, ttl)
      left = ttl
    end
  end
  local expires = redis.call('PEXPIRETIME', lock)
  local token, joined
  if type(state) == 'table' then
    token, joined = state.token, state.request == request and 0 or 1
    redis.call('HSET', side, 'expires', expires)
  else
    token, joined = mint(counter), 0
    redis.call('HSET', side, 'owner', owner, 'epoch', ARGV[2], 'attempt', ARGV[3],
      'token', token, 'expires', expires, 'request', request)
  end
  if expires >= 0 then
    redis.call('PEXPIREAT', side, expires)
  else
    redis.call('PERSIST', side)
  end
  answer[#answer + 1] = token
  answer[#answer + 1] = joined
  answer[#answer + 1] = left
end
return answer
