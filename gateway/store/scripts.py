"""What Redis itself does for the limits, in Lua, so that a look and what follows from it are one step for all gateways.

Time is Redis's own, in µs since 2026: small enough that the fractions of a µs which bytes cost are kept. A bucket is one number
(routing/gcra.py) that expires when the bucket is empty. Redis has no clock but the wall's, which may be set back, and a replica
that takes over has another: so beside the number stands when it was written, and what lies ahead of now is no older than that.
How many requests are in flight is a hash with a field for each gateway, and a gateway that does not renew its lease counts for
nothing: it was killed, or cannot reach Redis and counts alone.
Keys share the tag {limits}, so they would lie on one node of a cluster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from gateway.store.trouble import StoreError
from routing.demand import COME_BACK, Demand, Level

PREFIX = "penstock:{limits}:"
LEASES = PREFIX + "leases"
LEASE_MS = 3_000  # a gateway that was killed holds its permits so long
MOST = 1e15  # µs, some thirty years: what waits for longer is told that
KEPT_MS = 60_000  # what is in flight, unless somebody says that it still is

_NOW = """
local clock = redis.call('TIME')
local now = (clock[1] - 1767225600) * 1000000 + clock[2]
"""

# KEYS: the leases, then a bucket for each demand. ARGV: the gateway, then for each demand kind, cost, µs for a unit, burst.
# Answers wait (µs), left and reset (µs) of each demand; the demands are taken if no wait is above 0.
TAKE = (
    _NOW
    + f"""
local leases, answer, writes, fits = nil, {{}}, {{}}, true
local function in_flight(key)
  if not leases then
    leases = {{}}
    local found = redis.call('HGETALL', KEYS[1])
    for i = 1, #found, 2 do leases[found[i]] = tonumber(found[i + 1]) end
  end
  local sum, found = 0, redis.call('HGETALL', key)
  for i = 1, #found, 2 do
    if found[i] == ARGV[1] or (leases[found[i]] or 0) > now then sum = sum + found[i + 1]
    else redis.call('HDEL', key, found[i]) end
  end
  return sum
end
for i = 2, #KEYS do
  local key, at = KEYS[i], 4 * i - 6
  local cost, interval, burst = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local wait, left, reset = 0, 0, {COME_BACK * 1e6:.0f}
  if ARGV[at] == 'concurrency' then
    left = burst - in_flight(key) - 1
    if left < 0 then wait, left = reset, 0 end
  else
    local was, written = string.match(redis.call('GET', key) or '', '(%S+) (%S+)')
    local tat = was and tonumber(was) - math.max(0, tonumber(written) - now) or now
    local start = math.max(tat, now)
    wait = start - now - (burst - math.min(cost, burst)) * interval
    if wait > 1 then wait = math.min(math.ceil(wait), {MOST:.0f}) else wait, tat = 0, start + cost * interval end
    reset = math.max(0, tat - now)
    left = math.max(0, math.floor(burst - (reset - 1) / interval))
    writes[i] = string.format('%.17g %.0f', tat, now)
  end
  answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = wait, left, math.min(math.ceil(reset), {MOST:.0f})
  fits = fits and wait == 0
end
if fits then
  for i = 2, #KEYS do
    if writes[i] then redis.call('SET', KEYS[i], writes[i], 'PX', math.ceil(answer[3 * i - 3] / 1000) + 1)
    else
      redis.call('HINCRBY', KEYS[i], ARGV[1], 1)
      redis.call('PEXPIRE', KEYS[i], {KEPT_MS})
    end
  end
end
return answer
"""
)

# KEYS: what was in flight. ARGV: the gateway.
GIVE_BACK = """
for i = 1, #KEYS do
  if redis.call('HINCRBY', KEYS[i], ARGV[1], -1) <= 0 then redis.call('HDEL', KEYS[i], ARGV[1]) end
end
"""

# KEYS: the leases. ARGV: the gateway, and who it was before; itself if it only renews, which makes no lease where there is none.
# Answers whether it had a lease, and how many gateways have one now.
RENEW = (
    _NOW
    + f"""
local had = redis.call('HEXISTS', KEYS[1], ARGV[1])
if ARGV[2] ~= ARGV[1] or had == 1 then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + {LEASE_MS * 1000}))
  redis.call('PEXPIRE', KEYS[1], {KEPT_MS})
end
if ARGV[2] ~= ARGV[1] then redis.call('HDEL', KEYS[1], ARGV[2]) end
local found, alive = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #found, 2 do
  local ends, longest = tonumber(found[i + 1]), now + {LEASE_MS * 1000}
  if ends > now then alive = alive + 1 else redis.call('HDEL', KEYS[1], found[i]) end
  if ends > longest then redis.call('HSET', KEYS[1], found[i], string.format('%.0f', longest)) end
end
return {{had, alive}}
"""
)


def digest(script: str) -> str:
    """The name by which Redis knows a script that it has seen."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def stored(key: str) -> str:
    """The name of a bucket: no tenant's or subject's own words stand in the store."""
    return PREFIX + hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def levels(answer: object, demands: Sequence[Demand]) -> list[Level]:
    """What TAKE answered. Raises StoreError for anything else."""
    if not (isinstance(answer, list) and len(answer) == 3 * len(demands) and all(type(each) is int for each in answer)):
        raise StoreError("garbled", "it answers something else than was asked")
    return [
        Level(answer[index] / 1e6, answer[index + 1], answer[index + 2] / 1e6 if demand.kind != "concurrency" else COME_BACK)
        for index, demand in zip(range(0, len(answer), 3), demands, strict=True)
    ]
