"""One rollout as a gateway holds it: how it stands, which units it knows, and what of it the others do not have yet."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from gateway.rollout.file import Kept
from gateway.rollout.words import Page, Presence
from routing.rollout.rolling import Rolling
from routing.rollout.rollout import ASKING, Rollout, judge, memory, observe, tick, warmed
from routing.rollout.seen import Seen
from routing.rollout.tally import Batch, together

_UNIT = struct.Struct("<Bdd")  # of the metrics' names, place, and below which weight it is known not to be
Change = Callable[[Rollout, float, Sequence[Presence]], Rollout]
"""What becomes of a rollout at a moment (seconds since 1970), by what all gateways find of it. Raises INVALID."""


class Counts(msgspec.Struct, frozen=True):
    """What was counted, under the number by which it is known whether it has been taken in, since it was sent in this line."""

    number: int
    line: str
    batch: Batch


class Alone:
    """What a gateway sees of a rollout while the store is away: what all had come to, and its own counts since."""

    def __init__(self, rollout: Rollout, seen: Mapping[str, Seen]) -> None:
        self.rollout = rollout
        self._seen = {name: Seen(each.known) for name, each in seen.items()}

    def observe(self, batch: Batch) -> None:
        """With what was counted."""
        self.rollout = observe(self.rollout, batch, self._seen)

    @property
    def harmful(self) -> bool:
        """Whether it would be taken back."""
        return judge(self.rollout).word == "harmful"


class Led:
    """One rollout as it stands. `waits`: why it does, while it is warming. The rest is of those that gateways share."""

    def __init__(self, kept: Kept) -> None:
        self.definition = kept.definition
        self.rollout = kept.rollout
        self.seen: dict[str, Seen] = memory(kept.rollout, kept.known)
        self.waits = ""
        self.present = Presence(kept.definition, kept.rollout.id)
        self.gateways: tuple[str, ...] = ()  # that take part
        self.page: Page | None = None  # as it was read or written last
        self.line, self.version, self.offset = "", 0, 0  # of that
        self.sent: Counts | None = None  # and nobody knows whether they were taken in
        self.waiting: Batch | None = None
        self.number = 0
        self.alone: Alone | None = None
        self.elsewhere = False  # other gateways go by another policy
        self.wish: Change | None = None  # of a person, which the store is to be told

    @property
    def weight(self) -> float:
        """The candidate's share at this gateway."""
        back = self.elsewhere or self.wish is not None or (self.alone is not None and self.alone.harmful)
        return 0.0 if back else self.rollout.weight

    def kept(self) -> Kept:
        """For a file."""
        known = {name: dict(seen.known) for name, seen in self.seen.items() if len(seen)}  # written while these go on
        return Kept(self.definition, self.rollout, known)

    def begin(self, rollout: Rollout) -> None:
        """Another attempt: nothing of what was is evidence for it."""
        self.rollout, self.seen, self.waits = rollout, memory(rollout), ""
        self.sent = self.waiting = self.alone = None

    def count(self, batch: Batch, shared: bool) -> None:
        """Takes it in; what gateways share only when all do."""
        if not batch or self.rollout.state not in ASKING:
            return
        if not shared:
            self.rollout = observe(self.rollout, batch, self.seen)
            return
        self.waiting = batch if self.waiting is None else together(self.waiting, batch)
        if self.alone is not None:
            self.alone.observe(batch)

    def go_alone(self) -> None:
        """The store is away: what follows counts for nobody else yet."""
        if self.alone is None:
            self.alone = Alone(self.rollout, self.seen)
            for batch in (None if self.sent is None else self.sent.batch, self.waiting):
                if batch is not None and self.rollout.state in ASKING:
                    self.alone.observe(batch)

    def units(self, places: Iterable[tuple[str, float]] | None = None) -> bytes:
        """What is known of these units, or of all."""
        names = {name: index for index, name in enumerate(self.seen)}
        if places is None:
            places = ((name, place) for name, seen in self.seen.items() for place in seen.known)
        return b"".join(_UNIT.pack(names[name], place, self.seen[name].known[place]) for name, place in places)

    def learn(self, units: bytes) -> None:
        """What others know of units."""
        names = list(self.seen)
        for index, place, known in _UNIT.iter_unpack(units):
            self.seen[names[index]].learn(place, known)


def anew(was: Rollout, rolling: Rolling, attempt: int) -> Rollout:
    """Of what was only its notes stay."""
    return Rollout(was.model, was.stable, rolling.candidate.variant, rolling.terms, attempt, notes=was.notes)


def moved(rollout: Rollout, now: float, present: Sequence[Presence]) -> Rollout:
    """What becomes of it by itself. A candidate is ready when every gateway has found it so; one that finds it unfit suffices."""
    if rollout.state in ASKING:
        mirrors = {each.mirror for each in present}
        return tick(rollout, now, "same" if "same" in mirrors and "different" not in mirrors else "")
    if rollout.state != "warming":
        return rollout
    here = [each for each in present if each.attempt == rollout.id]
    unfit = next((each.text for each in here if each.fitness == "unfit"), "")
    fit = bool(here) and len(here) == len(present) and all(each.fitness == "fit" for each in here)
    return warmed(rollout, now, unfit) if unfit or fit else rollout


def untold(before: Rollout, after: Rollout) -> bool:
    """Whether nothing is new but the time, and of that little: any gateway says it once a second."""
    same = replace(after, told=before.told, held=before.held) == before
    return same and (after.told or 0.0) - (before.told or 0.0) < 1.0
