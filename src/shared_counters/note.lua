-- Takes down what a node has under way, and adds what counts in this minute.
-- KEYS[1]: what every name begins with.
-- ARGV: the node, then four for each name: the name, the node's word on what it has under way ('' is none), and the requests
-- and tokens of this minute.
-- Returns for each name whether all is forgotten of it and this node: 1, or 0.
local space, node = KEYS[1], ARGV[1]
local now = tonumber(redis.call('TIME')[1])
local minute = math.floor(now / 60)

redis.call('ZADD', space .. ':nodes', now + 10, node)
redis.call('ZREMRANGEBYSCORE', space .. ':nodes', '-inf', now - 3600)
local forgotten = {}
for i = 2, #ARGV, 4 do
  local name, is_forgotten = space .. ':' .. ARGV[i], 0
  if ARGV[i + 1] ~= '' then
    local kept = redis.call('HGET', name, node)
    local own = merge(kept and cjson.decode(kept), cjson.decode(ARGV[i + 1]))
    if own.at_once == 0 and own.taken == own.known then
      redis.call('HDEL', name, node)
      is_forgotten = 1
    else
      redis.call('HSET', name, node, cjson.encode(own))
      redis.call('EXPIRE', name, 86400)
    end
  end
  forgotten[#forgotten + 1] = is_forgotten
  local counts = name .. ':' .. minute
  for field, amount in pairs({ requests = ARGV[i + 2], tokens = ARGV[i + 3] }) do
    if amount ~= '0' then
      redis.call('HINCRBY', counts, field, amount)
      redis.call('EXPIRE', counts, 120)
    end
  end
end
return forgotten
