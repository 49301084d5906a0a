-- Tries what the other scripts do, on a key of its own, and tells what the user may not.
--
-- KEYS  a key that nothing else uses
-- ARGV  a channel that nobody listens on, then which of the further commands are needed
--
-- Returns the rights that are missing, as ACL SETUSER takes them. What else a server refuses
-- a command for, being full or a replica, it says after it has looked at the rights.
local key, missing = KEYS[1], {}

-- What only a cluster needs.
local further = { asking = true, command = true, hlen = true, hrandfield = true, pexpire = true }
for i = 2, #ARGV do
  further[ARGV[i]] = nil
end

-- The error with which the server has refused a command for want of a right, if it has.
local function denied(...)
  local got = redis.pcall(...)
  local err = type(got) == 'table' and got.err
  if err and (string.find(err, 'The user executing the script', 1, true) or string.find(err, 'NOPERM', 1, true)) then
    return err
  end
end

if denied('DEL', key) then
  return { '+del' } -- what is tried would stay
end
for _, family in ipairs({
  {
    { 'set', key, '1', 'PX', '10000' }, { 'get', key }, { 'mget', key }, { 'incr', key }, { 'exists', key },
    { 'pttl', key }, { 'pexpiretime', key }, { 'persist', key }, { 'pexpire', key, '10000' }, { 'pexpireat', key, '1' },
    { 'type', key },
  },
  {
    { 'hset', key, 'f', '1' }, { 'hsetnx', key, 'f', '1' }, { 'hget', key, 'f' }, { 'hmget', key, 'f' },
    { 'hlen', key }, { 'hrandfield', key }, { 'hscan', key, '0' }, { 'hdel', key, 'f' },
  },
  { { 'lpush', key, '1' }, { 'lrange', key, '0', '0' }, { 'ltrim', key, '0', '0' } },
  { { 'sadd', key, '1' }, { 'smembers', key }, { 'srem', key, '1' } },
  {
    { 'zadd', key, '1', 'm' }, { 'zcard', key }, { 'zrange', key, '0', '0' }, { 'zscore', key, 'm' }, { 'zrem', key, 'm' },
    { 'zpopmin', key }, { 'zremrangebyscore', key, '1', '1' },
  },
  { { 'time' }, { 'asking' }, { 'command', 'count' } },
}) do
  for _, command in ipairs(family) do
    if not further[command[1]] and denied(unpack(command)) then
      missing[#missing + 1] = '+' .. command[1]
    end
  end
  redis.pcall('DEL', key)
end
if denied('PUBSUB', 'NUMSUB', ARGV[1]) then
  missing[#missing + 1] = '+pubsub|numsub'
end
local err = denied('PUBLISH', ARGV[1], '')
if err then
  local channel = string.find(err, 'channel', 1, true)
  missing[#missing + 1] = channel and '&' .. string.match(ARGV[1], '^(.-c:)') .. '*' or '+publish'
end
return missing
