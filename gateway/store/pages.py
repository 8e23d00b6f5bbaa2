"""Keeps in the store what gateways decide together: a page for each rollout, written only by who has read what it says now.

A page is one hash with a line, a version, its content and the units that are known: it is there wholly or not at all. Who writes
says which version he read; if another is there by now, nothing happens, and he reads again. So every page follows from the one
before it, whoever wrote that, and nobody has to lead.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from gateway.experiment.words import Hear, Heard
from gateway.rollout.words import Look, There, Write
from gateway.store.connection import Connection
from gateway.store.hearsay import HEAR, hear
from gateway.store.link import Link
from gateway.store.scripts import digest
from gateway.store.trouble import StoreError

PREFIX = "penstock:{rollouts}:"
GATEWAYS = PREFIX + "gateways:"
PRESENT_MS = 3_000  # that a gateway counts as there after its last look
KEPT_MS = 30 * 86_400_000  # a page that nobody looks at
ANSWER_SECONDS = 0.5  # no request waits for it
MOST = 64 << 20  # bytes of one answer; ten metrics that know 65 536 units each are 13 MB

# KEYS: the page, who is there. ARGV: the gateway, its presence, and what it knows: line, version, bytes of units.
# Answers the store's ms, line, version, page, from where on the units are, units, and names and presences in turn.
LOOK = f"""
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
redis.call('PEXPIRE', KEYS[2], {KEPT_MS})
local line = redis.call('HGET', KEYS[1], 'line') or ''
local version = redis.call('HGET', KEYS[1], 'version') or '0'
local page, from, units = '', 0, ''
if line ~= '' then
  redis.call('PEXPIRE', KEYS[1], {KEPT_MS})
  if line == ARGV[3] then from = tonumber(ARGV[5]) end
  if line ~= ARGV[3] or version ~= ARGV[4] then
    page, units = redis.call('HGET', KEYS[1], 'page'), string.sub(redis.call('HGET', KEYS[1], 'units'), from + 1)
  end
end
local answer = {{string.format('%.0f', now), line, version, page, from, units}}
local found = redis.call('HGETALL', KEYS[2])
for i = 1, #found, 2 do
  local at, present = string.match(found[i + 1], '^(%d+) (.*)')
  if math.abs(now - at) <= {PRESENT_MS} then answer[#answer + 1], answer[#answer + 2] = found[i], present
  else redis.call('HDEL', KEYS[2], found[i]) end
end
return answer
"""

# KEYS: the page. ARGV: line and version that were read, those to be written, the page, its units. Answers whether it is written.
WRITE = f"""
local line = redis.call('HGET', KEYS[1], 'line') or ''
if line ~= ARGV[1] or (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[2] then return 0 end
local units = ARGV[6]
if line == ARGV[3] then units = redis.call('HGET', KEYS[1], 'units') .. units end
redis.call('HSET', KEYS[1], 'line', ARGV[3], 'version', ARGV[4], 'page', ARGV[5], 'units', units)
redis.call('PEXPIRE', KEYS[1], {KEPT_MS})
return 1
"""
_LOOK, _WRITE = digest(LOOK), digest(WRITE)
Spawn = Callable[[Coroutine[Any, Any, None], str], object]


class StorePages:
    """Implements gateway.rollout.words.Pages and gateway.experiment.words.Hearsay.

    Connects when it is first asked: most gateways have no rollouts.
    """

    def __init__(self, link: Link, spawn: Spawn) -> None:
        self._link = link
        self._spawn = spawn
        self._opened = False
        self._known: set[str] = set()  # the pages that were read over this connection; after a failover others may lie there
        link.greets.append(self._greet)

    async def look(self, look: Look) -> There | None:
        """As the protocol says."""
        connection = await self._connection()
        if connection is None:
            return None
        known = (look.line, look.version, look.offset) if look.key in self._known else ("", 0, 0)
        place = PREFIX + look.key, GATEWAYS + look.key
        try:
            there = _there(await connection.ask("EVALSHA", _LOOK, 2, *place, look.name, look.present, *known))
        except StoreError as error:
            connection.fail(error)
            return None
        self._known.add(look.key)
        return there

    async def write(self, write: Write) -> bool | None:
        """As the protocol says."""
        connection = self._link.connection
        if connection is None:
            return None
        words = (*write.before, write.line, write.version, write.page, write.units)
        try:
            return await connection.ask("EVALSHA", _WRITE, 1, PREFIX + write.key, *words) == 1
        except StoreError as error:
            connection.fail(error)
            return None

    async def hear(self, told: Hear) -> Heard | None:
        """As gateway.experiment.words.Hearsay says."""
        connection = await self._connection()
        if connection is None:
            return None
        try:
            return await hear(connection, told)
        except StoreError as error:
            connection.fail(error)
            return None

    async def relay(self, told: bytes) -> bytes:
        """The same for a parent, whose worker this is: its Look, Write or Hear, and the answer, as msgpack; "" for None."""
        answer: There | Heard | bool | None
        match msgspec.msgpack.decode(told, type=Look | Write | Hear):
            case Look() as asked:
                answer = await self.look(asked)
            case Write() as asked:
                answer = await self.write(asked)
            case Hear() as asked:
                answer = await self.hear(asked)
        return b"" if answer is None else msgspec.msgpack.encode(answer)

    async def _connection(self) -> Connection | None:
        if not self._opened:
            self._opened = True
            await self._link.attempt()
            self._spawn(self._link.keep(), "store of rollouts")
        return self._link.connection

    async def _greet(self, connection: Connection) -> None:
        self._known.clear()
        for script in (LOOK, WRITE, HEAR):
            await connection.ask("SCRIPT", "LOAD", script)


def _there(answer: object) -> There:
    """Raises StoreError for what LOOK does not answer."""
    match answer:
        case [bytes(moment), bytes(line), bytes(version), bytes(page), int(offset), bytes(units), *present]:
            words = [each for each in present if isinstance(each, bytes)]
            gateways = {name.decode(): each for name, each in zip(words[::2], words[1::2], strict=True)}
            return There(int(moment) / 1000, line.decode(), int(version), page, offset, units, gateways)
    raise StoreError("garbled", "it answers something else than was asked")
