-- Lets a write through unless its token is older than the newest that was seen. The
-- write follows this text, and has KEYS and ARGV of its own.
--
-- KEYS  the fence: the newest token that was seen; then those of the write
-- ARGV  token, for how many ms the fence is kept (0: for ever), then those of the
--       write
--
-- Returns what the write does, or an error: STALETOKEN and the newest token.
do
  local fence, token, retention = KEYS[1], ARGV[1], ARGV[2]
  local newest = redis.call('GET', fence)
  if newest then
    if not string.find(newest, '^%d+$') then
      return redis.error_reply('ERR the fence ' .. fence .. ' holds something else than a token')
    end
    -- Numbers in Lua would not tell apart what is larger than 2^53.
    if #newest > #token or (#newest == #token and newest > token) then
      return redis.error_reply('STALETOKEN ' .. newest)
    end
  end
  if retention == '0' then
    redis.call('SET', fence, token)
  else
    redis.call('SET', fence, token, 'PX', retention)
  end
end
local KEYS, ARGV = { unpack(KEYS, 2) }, { unpack(ARGV, 3) }
