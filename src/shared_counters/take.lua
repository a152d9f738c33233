-- Takes one request out of each limit, or out of none.
-- KEYS[1]: what every name begins with.
-- ARGV: the node, then six for each limit: its name, requests and tokens in a minute and requests at once ('' is no
-- bound), the tokens held back for this request, and the node's word on what it has under way.
-- Returns {0}, or {which limit, what of it, seconds until another try makes sense}.
local space, node = KEYS[1], ARGV[1]
local now = tonumber(redis.call('TIME')[1])
local minute, rest = math.floor(now / 60), 60 - now % 60
local SOON, REQUESTS, TOKENS, PARALLEL = 1, 1, 2, 3

redis.call('ZADD', space .. ':nodes', now + 10, node)
local alive = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', space .. ':nodes', now, '+inf')) do
  alive[name] = true
end

-- What all nodes that are alive have under way of a name: requests and tokens; and what is kept of this node.
local function under_way(name, word)
  local at_once, held, own = 0, 0, nil
  local stored = redis.call('HGETALL', space .. ':' .. name)
  for i = 1, #stored, 2 do
    local kept = cjson.decode(stored[i + 1])
    if stored[i] == node then
      own = kept
    elseif alive[stored[i]] then
      at_once = at_once + kept.at_once + kept.taken - kept.known
      held = held + kept.held + kept.taken_tokens - kept.known_tokens
    end
  end
  own = merge(own, word)
  at_once = at_once + own.at_once + own.taken - own.known
  held = held + own.held + own.taken_tokens - own.known_tokens
  return at_once, held, own
end

local takes = {}
for i = 2, #ARGV, 6 do
  local which, name = (i + 4) / 6, ARGV[i]
  local rpm, tpm, parallel = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local counts = space .. ':' .. name .. ':' .. minute
  local counted = redis.call('HMGET', counts, 'requests', 'tokens')
  local requests, tokens = tonumber(counted[1]) or 0, tonumber(counted[2]) or 0
  if rpm and requests >= rpm then
    return { which, REQUESTS, rest }
  end
  if tpm and tokens >= tpm then
    return { which, TOKENS, rest }
  end
  local take = { name = space .. ':' .. name, counts = counts }
  if tpm or parallel then
    local at_once, held, own = under_way(name, cjson.decode(ARGV[i + 5]))
    if parallel and at_once >= parallel then
      return { which, PARALLEL, SOON }
    end
    if tpm and tokens + held >= tpm then
      return { which, TOKENS, SOON }
    end
    own.taken, own.taken_tokens = own.taken + 1, own.taken_tokens + tonumber(ARGV[i + 4])
    take.own = own
  end
  takes[#takes + 1] = take
end

for _, take in ipairs(takes) do
  redis.call('HINCRBY', take.counts, 'requests', 1)
  redis.call('EXPIRE', take.counts, 120)
  if take.own then
    redis.call('HSET', take.name, node, cjson.encode(take.own))
    redis.call('EXPIRE', take.name, 86400)
  end
end
return { 0 }
