"""Takes a changed policy into use: everything that can fail comes first, then it is put in force at once, then written down.

What asks for it: the watch (a changed file), SIGHUP and the admin API. What puts it in force is given: a process alone swaps its
snapshot, a parent hands the document on to its workers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.compile import Blueprint, drawn
from gateway.configuration.load import load_policy, version
from gateway.configuration.problems import PolicyError, Problem
from gateway.reload.adoption import Standing, objections
from gateway.reload.audit_log import Change
from gateway.reload.history import Kept, Origin
from gateway.reload.policy_file import PolicyFile, Reading
from gateway.reload.records import Records, now
from gateway.reload.watch import Sight, watch
from routing.rollout.rollout import Note

BY_FILE, BY_SIGNAL = Origin("file", "file"), Origin("SIGHUP", "signal")
SAID = 2000  # characters of a refusal in one line
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judged:
    """A policy that was judged and can be used."""

    standing: Standing
    blueprint: Blueprint

    @property
    def version(self) -> str:
        """The name of its content."""
        return self.blueprint.version


def judged(text: bytes, name: str, before: Standing | None = None, folder: Path = Path()) -> Judged:
    """The policy in these bytes, if it can be used and may take the place of the one `before`. Raises PolicyError.

    `folder` is the policy file's, beside which lie the files that it names.
    """
    standing = Standing(text, load_policy(text, name))
    if found := objections(before, standing):
        raise PolicyError(name, found)
    return Judged(standing, drawn(standing.document, text, name, folder))


@dataclass(frozen=True, slots=True)
class Done:
    """`after` is in force and `before` was. `note` says what there is to know about it."""

    before: str
    after: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was not taken, when, and why: `error` in one line; `problems` one by one, if it was read so far."""

    time: str
    origin: Origin
    error: str
    problems: tuple[Problem, ...] = ()


class Reloader:
    """Keeps one policy in force. `put` puts another in force; `refused` counts what is not taken."""

    def __init__(
        self,
        file: PolicyFile,
        first: tuple[Reading, Judged],
        put: Callable[[Judged], Awaitable[None]],
        refused: Callable[[], None],
        records: Records,
    ) -> None:
        self.records = records
        self.in_force = first[1]
        self.since: Kept | None = None  # known when it has begun
        self.note = ""  # what there is to know about it
        self.refusal: Refusal | None = None  # of what was offered last, if it was not taken
        self.beside = file.run  # where to do what takes long
        self._file = file
        self._put = put
        self._refused = refused
        self._said = first[0].said
        self._sight = Sight(first[0].mark)
        self._changing = asyncio.Lock()  # else what was read first might be taken last

    async def keep(self) -> None:
        """Takes every change of the file into use, for ever."""
        async with self._changing:
            await self._begin()
        await watch(self._file, self._sight, self.changed, self._gone)

    async def reload(self, origin: Origin) -> Done | Refusal:
        """Takes the file into use again, also where it says what it said before."""
        async with self._changing:
            try:
                reading = await self._file.read()
            except OSError as error:
                return self._refuse(origin, error)
            return await self._take(origin, reading)

    async def changed(self) -> None:
        """The file has changed: takes it into use, unless it says what it said before or is being written."""
        async with self._changing:
            try:
                reading = await self._file.read()
            except OSError as error:
                self._refuse(BY_FILE, error)
            else:
                if not reading.torn and reading.said != self._said:  # what is torn looks otherwise at the next look
                    await self._take(BY_FILE, reading)

    async def rollback(self, name: str, origin: Origin) -> Done | Refusal | None:
        """Puts a kept version in force again and writes it to the file, so that a restart keeps it; None if it is not kept."""
        async with self._changing:
            text = self.records.history.text(name)
            if text is None:
                return None
            try:
                policy = await self._file.run(lambda: judged(text, f"version {name}", folder=self._file.path.parent))
                await self._put(policy)
            except Exception as error:  # noqa: BLE001 - see _refuse
                return self._refuse(origin, error, name)
            note = await self._file.write(text, lambda found: self.records.history.text(version(found)) is not None)
            return self._adopted(policy, origin, note)

    def rolled(self, rollout: str, note: Note) -> None:
        """In the audit log: something happened to a rollout."""
        version, via = self.in_force.version, "rollout" if note.who == "penstock" else "api"
        said = f"{rollout}, now {note.state} at {note.weight:.3%}: {note.text}"[:SAID]
        self.records.told(Change(now(), note.who, via, f"rollout {note.what}", version, version, "ok", note=said))

    def audited(self, cascade: str, what: str, who: str, text: str) -> None:
        """In the audit log: something happened to the audit of a cascade (model/route)."""
        version, via = self.in_force.version, "audit" if who == "penstock" else "api"
        self.records.told(Change(now(), who, via, f"audit {what}", version, version, "ok", note=f"{cascade}: {text}"[:SAID]))

    async def _begin(self) -> None:
        newest = next(iter(self.records.history.entries), None)
        if newest is not None and newest.version == self.in_force.version:
            self.since = newest
            return
        before = newest.version if newest else None
        lost = await self._file.run(lambda: self._lost(before)) if before else ""
        change = Change(now(), "start", "start", "start", before, self.in_force.version, "ok", note=lost)
        self.since = self.records.adopted(change, self.in_force.standing.text)
        if lost:
            back = f"`penstock policy rollback {before}` puts that in force again"
            _log.warning("policy version %s would not have replaced version %s: %s; %s", change.after, before, lost, back)

    def _lost(self, before: str) -> str:
        """What the rules against accidents say of this start, which they cannot refuse, after that version; "" for nothing."""
        try:
            text = self.records.history.text(before) or b""
            found = objections(Standing(text, load_policy(text, before)), self.in_force.standing)
        except PolicyError:  # another version of the gateway took it
            return ""
        return one_line(PolicyError(f"version {self.in_force.version}", found)) if found else ""

    async def _take(self, origin: Origin, reading: Reading) -> Done | Refusal:
        self._said = reading.said
        before, text = self.in_force.standing, reading.text
        try:
            self._file.trust(reading)
            if origin is BY_FILE and version(text) == self.in_force.version:  # its author is back where they were
                self.refusal, self.note = None, ""
                return Done(self.in_force.version, self.in_force.version)
            policy = await self._file.run(lambda: judged(text, str(self._file.path), before, self._file.path.parent))
            await self._put(policy)
        except Exception as error:  # noqa: BLE001 - see _refuse
            return self._refuse(origin, error, version(text))
        return self._adopted(policy, origin)

    def _adopted(self, policy: Judged, origin: Origin, note: str = "") -> Done:
        before, self.in_force = self.in_force.version, policy
        self.refusal, self.note = None, note
        _log.info("policy version %s in force, before it %s (%s)%s", policy.version, before, origin, note and f"; {note}")
        if before != policy.version:
            change = Change(now(), origin.who, origin.via, origin.what, before, policy.version, "ok", note=note)
            self.since = self.records.adopted(change, policy.standing.text)
        return Done(before, policy.version, note)

    def _refuse(self, origin: Origin, error: Exception, offered: str = "") -> Refusal:
        """The old policy goes on. A defect of ours refuses too: nothing that a file says may end the watch."""
        self._refused()
        problems = error.problems if isinstance(error, PolicyError) else ()
        defect = None if isinstance(error, PolicyError | OSError) else error
        said = one_line(error)
        stays = self.in_force.version
        _log.error("policy not taken (%s), version %s stays in force: %s", origin, stays, said, exc_info=defect)
        self.refusal = Refusal(now(), origin, said, problems)
        change = Change(self.refusal.time, origin.who, origin.via, origin.what, stays, stays, "refused", offered, said)
        self.records.told(change)
        return self.refusal

    def _gone(self, error: OSError) -> None:
        _log.error("%s, version %s stays in force", one_line(error), self.in_force.version)


def one_line(error: Exception) -> str:
    """What went wrong in at most SAID characters, none of which a terminal obeys."""
    if isinstance(error, PolicyError):
        text = "; ".join(problem.text(error.name) for problem in error.problems)
    elif isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        text = f"a defect of the gateway: {type(error).__name__}: {error}"
    plain = "".join(each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in text)
    return plain if len(plain) <= SAID else plain[: SAID - 1] + "…"
