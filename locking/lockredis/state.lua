-- Who holds a lock: put in place of the line "--include state.lua", after queue.lua.
--
-- Returns nil when nobody does, else {owner, remaining ms (-1: no expiry), whether
-- another program holds it, epoch, attempt, token, whether it is an offer, whether
-- it was revoked, the reason, whether a successor may hold it by now: its process was
-- then asked}.
local function state(lock)
  local owner = holder(lock)
  if not owner then
    return nil
  end
  local left = call('PTTL', lock)
  local r = record(lock)
  if not r then
    return { owner, left, 1, 0, 0, '0', 0, 0, '', 0 }
  end
  if r.successors then
    wonder(lock, r)
  end
  return {
    owner, left, 0, r.epoch, r.attempt, r.token, r.offer and 1 or 0, r.revoked and 1 or 0, r.revoked or '',
    r.successors and 1 or 0,
  }
end
