-- Tells which server has a slot: another text when that is another one, has been
-- restarted, or was a replica in the meantime.
--
-- KEYS  a key of the slot, which need not be there
--
-- Returns the server's run and the history of its data.
local info = redis.call('INFO', 'server', 'replication')
return string.match(info, 'run_id:(%w+)') .. ' ' .. string.match(info, 'master_replid:(%w+)')
