"""Hands on to a store's gateways what one was told of requests that it did not answer, and what each has added up.

A hash of the latest parcels by number, and for each A/B test a hash of what each gateway has come to. A parcel that nobody
fetched within a minute, or that 128 later ones have pushed out, is gone: what it told counts for nobody, on both sides alike.
"""

from __future__ import annotations

from gateway.experiment.words import Hear, Heard
from gateway.store.connection import Connection, Word
from gateway.store.scripts import digest
from gateway.store.trouble import StoreError

PREFIX = "penstock:{feedback}:"
MOST = 128  # parcels
PARCEL_MS = 60_000
KEPT_MS = 30 * 86_400_000  # of what was added up, since it was last told

# KEYS: the parcels, and a hash for each test. ARGV: the gateway, the last parcel it knows or "", its own parcel or "", and what
# it has added up of each test. Answers the last parcel's number, the others' parcels since, and of each test what the others
# have.
HEAR = f"""
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or '0')
local from = ARGV[2] == '' and last or tonumber(ARGV[2])
if from > last then from = 0 end
local own = ARGV[1] .. ' '
if ARGV[3] ~= '' then
  last = redis.call('HINCRBY', KEYS[1], 'last', 1)
  redis.call('HSET', KEYS[1], last, own .. ARGV[3])
  redis.call('HDEL', KEYS[1], last - {MOST})
  redis.call('PEXPIRE', KEYS[1], {PARCEL_MS})
end
local parcels = {{}}
for i = math.max(from, last - {MOST}) + 1, last do
  local each = redis.call('HGET', KEYS[1], i)
  if each and string.sub(each, 1, #own) ~= own then
    parcels[#parcels + 1] = string.sub(each, string.find(each, ' ', 1, true) + 1)
  end
end
local answer = {{last, parcels}}
for i = 2, #KEYS do
  redis.call('HSET', KEYS[i], ARGV[1], ARGV[i + 2])
  redis.call('PEXPIRE', KEYS[i], {KEPT_MS})
  local found, others = redis.call('HGETALL', KEYS[i]), {{}}
  for j = 1, #found, 2 do
    if found[j] ~= ARGV[1] then others[#others + 1] = found[j + 1] end
  end
  answer[#answer + 1] = others
end
return answer
"""
_HEAR = digest(HEAR)


async def hear(connection: Connection, told: Hear) -> Heard:
    """Tells, and what there is to hear. Raises StoreError."""
    keys = [PREFIX + "parcels", *(f"{PREFIX}counts:{key}" for key, _ in told.counts)]
    words: list[Word] = [told.name, told.last, told.parcel, *(counts for _, counts in told.counts)]
    match await connection.ask("EVALSHA", _HEAR, len(keys), *keys, *words):
        case [int(last), list(parcels), *counts] if len(counts) == len(told.counts):
            return Heard(str(last), _blobs(parcels), [_blobs(each) for each in counts])
    raise StoreError("garbled", "it answers something else than was asked")


def _blobs(answer: object) -> list[bytes]:
    return [each for each in answer if isinstance(each, bytes)] if isinstance(answer, list) else []
