-- Carries out commands, each on one key, behind a fence.
--
-- KEYS  as fence.lua says, then the key of each command
-- ARGV  as fence.lua says, then for each command: its name, how many arguments
--       follow its key, and those
--
-- Returns what each command answers.
--include fence.lua

local answers, at = {}, 1
for i, key in ipairs(KEYS) do
  local n = tonumber(ARGV[at + 1])
  answers[i] = redis.call(ARGV[at], key, unpack(ARGV, at + 2, at + 1 + n))
  at = at + 2 + n
end
return answers
