-- Says that a node is there, and tells how many are.
--   KEYS: the sorted set of nodes by the time they were last heard of; the overrides' version
--   ARGV: the node; how long a node counts without being heard of, in microseconds; 1 to leave
--   reply: nodes, version
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
if ARGV[3] == '1' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], 60000)
return {redis.call('ZCARD', KEYS[1]), tonumber(redis.call('GET', KEYS[2]) or '0')}
