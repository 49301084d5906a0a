-- Tries what the other scripts do, on a key of its own, and tells what the user may not.
--
-- KEYS  a key that nothing else uses
-- ARGV  a channel that nobody listens on
--
-- Returns the rights that are missing, as ACL SETUSER takes them.
local key, missing = KEYS[1], {}

local function try(right, ...)
  local got = redis.pcall(...)
  local err = type(got) == 'table' and got.err
  if err and (string.find(err, 'The user executing the script', 1, true) or string.find(err, 'NOPERM', 1, true)) then
    missing[#missing + 1] = right
    return false
  end
  return true
end

if not try('+del', 'DEL', key) then
  return missing -- what is tried would stay
end
for _, family in ipairs({
  {
    { 'set', key, '1', 'PX', '10000' }, { 'get', key }, { 'mget', key }, { 'incr', key }, { 'exists', key },
    { 'pttl', key }, { 'pexpiretime', key }, { 'persist', key }, { 'pexpireat', key, '1' }, { 'type', key },
  },
  {
    { 'hset', key, 'f', '1' }, { 'hsetnx', key, 'f', '1' }, { 'hget', key, 'f' }, { 'hmget', key, 'f' },
    { 'hscan', key, '0' }, { 'hdel', key, 'f' },
  },
  { { 'lpush', key, '1' }, { 'lrange', key, '0', '0' }, { 'ltrim', key, '0', '0' } },
  { { 'sadd', key, '1' }, { 'smembers', key }, { 'srem', key, '1' } },
  {
    { 'zadd', key, '1', 'm' }, { 'zcard', key }, { 'zrange', key, '0', '0' }, { 'zscore', key, 'm' }, { 'zrem', key, 'm' },
    { 'zpopmin', key }, { 'zremrangebyscore', key, '1', '1' },
  },
  { { 'time' } },
}) do
  for _, command in ipairs(family) do
    try('+' .. command[1], unpack(command))
  end
  redis.call('DEL', key)
end
try('+pubsub|numsub', 'PUBSUB', 'NUMSUB', ARGV[1])
local got = redis.pcall('PUBLISH', ARGV[1], '')
if type(got) == 'table' and got.err then
  local channel = string.find(got.err, 'channel', 1, true)
  missing[#missing + 1] = channel and '&' .. string.match(ARGV[1], '^(.-c:)') .. '*' or '+publish'
end
return missing
