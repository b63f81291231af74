-- Spends the costs of all keys, or none.
--   ARGV: 1 to spend or 0 to look; then for each key p, q, size, the cost and the room, each as whole microseconds and a rest over q
--   reply: now, 1 if all were allowed, then for each key 1 if it refused, and its debt: after it if all were allowed and spent, else before
local spend = ARGV[1] == '1'
local entries, intervals, reply = {}, {}, {now, 1}
local seen = {}
for k, key in ipairs(KEYS) do
  local a = 2 + (k - 1) * 7
  local i = {p = tonumber(ARGV[a]), q = tonumber(ARGV[a + 1]), size = tonumber(ARGV[a + 2])}
  local e = seen[key] or load(key, i)
  seen[key], entries[k], intervals[k] = e, e, i
  local refused = less(tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6]), e.tat - now, e.rest)
  reply[k * 3], reply[k * 3 + 1], reply[k * 3 + 2] = 0, e.tat - now, e.rest
  if refused then
    reply[2], reply[k * 3] = 0, 1
  else
    charge(e, i, tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]))
  end
end
if reply[2] == 1 and spend then
  for k, key in ipairs(KEYS) do
    local e = entries[k]
    reply[k * 3 + 1], reply[k * 3 + 2] = e.tat - now, e.rest
    save(key, e, intervals[k])
  end
end
return reply
