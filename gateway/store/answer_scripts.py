"""What Redis itself does for the answers, in Lua: many are found in one trip, and what all replicas agree on changes in one step.

An answer is a string under the first half of its key; it expires when it is of no use any more. What all replicas agree on is one
hash: the secret of the keys, for each purge its number and the name of its order, and the stamp, which is the last number and
order. All of that goes at once or not at all, so answers never outlive the purges that are about them: without the secret they
are not found.
Neither script fails where Redis refuses writes: finding writes nothing, and what agreeing could not write it says.
Keys share the tag {answers}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from gateway.store.connection import Word
from gateway.store.trouble import StoreError
from routing.cache.caching import Purge

PREFIX = "penstock:{answers}:"
STATE = PREFIX + "state"
KEPT_MS = 7 * 86_400_000  # the state, unless somebody renews it
MOST_PURGES = 256  # as policies.local_store has it: beyond, everything goes
MOST_FOUND = 4 << 20  # bytes of answers found in one trip: more would take longer than there is time
SECRET = 32  # bytes
_STAMP = re.compile(rb"([0-9]{1,15}) ([0-9a-z]{1,32})")
_FIELD = b"purge "

# KEYS: the state, then the answers. ARGV: bytes of one answer, and of all together, at most.
# Answers the stamp, then of each that there is its place, value and the milliseconds it has left.
FIND = """
local answer, left = {redis.call('HGET', KEYS[1], 'stamp') or ''}, tonumber(ARGV[2])
for i, value in ipairs(redis.call('MGET', unpack(KEYS, 2))) do
  if value and #value <= math.min(left, tonumber(ARGV[1])) then
    left = left - #value
    answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = i - 1, value, redis.call('PTTL', KEYS[i + 1])
  end
end
return answer
"""

# KEYS: the state, the answer. ARGV: the stamp, and how the answer began when it was read (written.seal).
# Answers 1 if both are so still, else 0.
SAME = """
local value = redis.call('MGET', KEYS[2])[1]
if value and string.sub(value, 1, #ARGV[2]) == ARGV[2] and (redis.call('HGET', KEYS[1], 'stamp') or '') == ARGV[1] then
  return 1
end
return 0
"""

# KEYS: the state. ARGV: the secret if there is none, the stamp that the asker knows, and field and order of purges to be known.
# Answers secret, stamp, what Redis said if it refused to write, and, if that is another stamp, all purges.
AGREE = f"""
local key, refused = KEYS[1], ''
local function write(...)
  local said = redis.pcall(...)
  if type(said) == 'table' and said.err then refused = said.err end
end
local function counted(stamp) return tonumber(string.match(stamp, '^(%d+) ') or '0') end
if not redis.call('HGET', key, 'secret') then write('HSET', key, 'secret', ARGV[1]) end
local before = redis.call('HGET', key, 'stamp') or ''
if counted(ARGV[2]) > counted(before) then write('HSET', key, 'stamp', ARGV[2]) end
local number = math.max(counted(before), counted(ARGV[2]))
for i = 3, #ARGV, 2 do
  local was = redis.call('HGET', key, ARGV[i])
  if not was or string.match(was, ' (.*)') ~= ARGV[i + 1] then
    number = number + 1
    local stamp = string.format('%.0f %s', number, ARGV[i + 1])
    if not was and redis.call('HLEN', key) >= {MOST_PURGES} + 2 then
      local secret = redis.call('HGET', key, 'secret')
      write('DEL', key)
      write('HSET', key, 'secret', secret, 'stamp', stamp, '{_FIELD.decode()}["","","",""]', stamp)
    else write('HSET', key, 'stamp', stamp, ARGV[i], stamp) end
  end
end
if redis.call('PTTL', key) < {KEPT_MS // 2} then write('PEXPIRE', key, {KEPT_MS}) end
local answer = {{redis.call('HGET', key, 'secret') or '', redis.call('HGET', key, 'stamp') or '', refused}}
if answer[2] ~= ARGV[2] or before ~= ARGV[2] then
  for _, word in ipairs(redis.call('HGETALL', key)) do answer[#answer + 1] = word end
end
return answer
"""


class Agreed(NamedTuple):
    """What AGREE answered. `purges` by what they are about: number and order; None where the asker knows them."""

    secret: bytes
    stamp: bytes
    refused: str
    purges: Mapping[Purge, tuple[int, str]] | None


def stored(key: bytes) -> str:
    """Where the answer with this key is. Half of it is enough: whose the answer is, it says itself."""
    return PREFIX + key[:16].hex()


def numbered(stamp: bytes) -> int:
    """The number of the last purge. Raises StoreError."""
    if not stamp:
        return 0
    if (found := _STAMP.fullmatch(stamp)) is None:
        raise _garbled()
    return int(found[1])


def found(answer: object, asked: int) -> tuple[bytes, Sequence[tuple[int, bytes, int]]]:
    """What FIND answered about so many: the stamp, and place, value and milliseconds left of each. Raises StoreError."""
    if not (isinstance(answer, list) and len(answer) % 3 == 1 and type(answer[0]) is bytes):
        raise _garbled()
    several = list(zip(answer[1::3], answer[2::3], answer[3::3], strict=True))
    for place, value, left in several:
        if not (type(place) is int and 0 <= place < asked and type(value) is bytes and type(left) is int):
            raise _garbled()
    return answer[0], several


def words(purges: Mapping[Purge, str]) -> list[Word]:
    """Purges and their orders as AGREE takes them."""
    return [
        word for which, order in purges.items() for word in (_FIELD + msgspec.json.encode(msgspec.structs.astuple(which)), order)
    ]


def agreed(answer: object) -> Agreed:
    """What AGREE answered. Raises StoreError."""
    if not (
        isinstance(answer, list) and len(answer) % 2 == 1 and len(answer) >= 3 and all(type(each) is bytes for each in answer)
    ):
        raise _garbled()
    secret, stamp, refused, *fields = answer
    numbered(stamp)
    if len(secret) != SECRET and (secret or not refused):
        raise _garbled()
    return Agreed(secret, stamp, refused.decode(errors="replace"), dict(_purges(fields)) if fields else None)


def _purges(fields: Sequence[bytes]) -> Iterator[tuple[Purge, tuple[int, str]]]:
    for field, value in zip(fields[::2], fields[1::2], strict=True):
        if field.startswith(_FIELD):
            number = numbered(value)
            try:
                which = Purge(*msgspec.json.decode(field[len(_FIELD) :], type=tuple[str, str, str, str]))
            except msgspec.MsgspecError:
                which = Purge()  # of a later version, which can say more: whatever it is, it is among everything
            yield which, (number, value.partition(b" ")[2].decode())


def _garbled() -> StoreError:
    return StoreError("garbled", "it answers something else than was asked")
