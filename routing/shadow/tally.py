"""What a shadow has seen so far: counts that say all the verdict needs, add up over processes, and stay small for ever.

Ledger (one shadow) ── outcomes by word
   └─ Tally (one pair of versions) ── Field by name, Slice by trait, Times, Example
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from routing.shadow.compare import Found

MAX_TALLIES = 4  # pairs of versions that are remembered
MAX_FIELDS = 256
MAX_SLICES = 64
MAX_WORDS = 32  # flips and reasons of one field
MAX_EXAMPLES = 10
LARGEST = 1e12  # a score beyond it is told as this: JSON has no infinity
_GROWTH, _SHORTEST = 1.1, 1e-5  # of the classes of times: 5 % wrong at most


class Field(msgspec.Struct):
    """One field: answers compared, those that differed; pairs with a second answer of the primary, those of them that differed
    from it; of the pairs, in how many the candidate was further away (`worse`), in how many the second answer (`better`)."""

    compared: int = 0
    differed: int = 0
    pairs: int = 0
    noisy: int = 0
    worse: int = 0
    better: int = 0
    whys: dict[str, int] = msgspec.field(default_factory=dict)
    flips: dict[str, int] = msgspec.field(default_factory=dict)
    largest: dict[str, float] = msgspec.field(default_factory=dict)  # by measure
    sums: dict[str, float] = msgspec.field(default_factory=dict)  # by measure, over those that were compared


class Slice(msgspec.Struct):
    """Questions with one trait: as of a field, for all fields together."""

    compared: int = 0
    differed: int = 0
    pairs: int = 0
    noisy: int = 0


class Times(msgspec.Struct):
    """Seconds by class, so that they add up; `whole` is their sum."""

    count: int = 0
    whole: float = 0.0
    classes: dict[int, int] = msgspec.field(default_factory=dict)

    def took(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.whole += seconds
        place = max(0, math.ceil(math.log(max(seconds, _SHORTEST) / _SHORTEST, _GROWTH)))
        self.classes[place] = self.classes.get(place, 0) + 1

    def quantile(self, share: float) -> float:
        """Seconds that `share` of them took at most; 0 of none."""
        wanted, seen = share * self.count, 0
        for place, count in sorted(self.classes.items()):
            seen += count
            if seen >= wanted:
                return float(_SHORTEST * _GROWTH ** (place - 0.5))
        return 0.0


class Pace(msgspec.Struct):
    """Pairs in which one took longer than the other by more than a twentieth, and more than twice as long: the candidate
    (`later`), or the primary's second answer (`sooner`). Equal models lead equally often, whatever the hour."""

    later: int = 0
    sooner: int = 0
    much_later: int = 0
    much_sooner: int = 0

    def took(self, candidate: float, again: float) -> None:
        """One pair more, in seconds."""
        self.later += candidate > 1.05 * again
        self.sooner += again > 1.05 * candidate
        self.much_later += candidate > 2 * again
        self.much_sooner += again > 2 * candidate


class Example(msgspec.Struct, frozen=True):
    """One question that was answered otherwise. `payload` only where the policy keeps it."""

    request: str
    time: float  # seconds since 1970
    score: float
    fields: dict[str, str]  # why, by field
    noisy: bool  # the primary's second answer differed, too
    traits: dict[str, str]
    payload: dict[str, str] = {}


class Paired(msgspec.Struct, frozen=True):
    """One mirrored question, compared. `again` None: the primary was not asked a second time. Times in seconds."""

    request: str
    time: float
    traits: Mapping[str, str]
    found: tuple[Found, ...]
    again: tuple[Found, ...] | None
    seconds: tuple[float, float, float | None]  # the primary's, the candidate's, the primary's second; 0 of a failure
    costs: tuple[float, float, float]
    payload: Mapping[str, str] = {}


class Tally(msgspec.Struct):
    """What was seen of one version against another."""

    versions: tuple[str, str]
    began: float
    last: float
    questions: int = 0
    pairs: int = 0
    fields: dict[str, Field] = msgspec.field(default_factory=dict)
    slices: dict[str, Slice] = msgspec.field(default_factory=dict)
    primary: Times = msgspec.field(default_factory=Times)
    candidate: Times = msgspec.field(default_factory=Times)
    again: Times = msgspec.field(default_factory=Times)
    pace: Pace = msgspec.field(default_factory=Pace)
    costs: tuple[float, float, float] = (0.0, 0.0, 0.0)
    examples: list[Example] = msgspec.field(default_factory=list)

    def add(self, paired: Paired) -> None:
        """One question more."""
        self.last = max(self.last, paired.time)
        self.questions += 1
        self.pairs += paired.again is not None
        scores = {} if paired.again is None else {each.field: each.score for each in paired.again}
        for found in paired.found:
            field = self.fields.get(found.field)
            if field is None and len(self.fields) < MAX_FIELDS:
                field = self.fields[found.field] = Field()
            if field is not None:
                _count(field, found, scores.get(found.field))
        self._slices(paired)
        for times, seconds in zip((self.primary, self.candidate, self.again), paired.seconds, strict=True):
            if seconds:
                times.took(seconds)
        _, candidate, again = paired.seconds
        if candidate and again:
            self.pace.took(candidate, again)
        one, two, three = (a + b for a, b in zip(self.costs, paired.costs, strict=True))
        self.costs = (one, two, three)
        if differs(paired.found):
            self.examples = _worst([*self.examples, _example(paired)])

    def _slices(self, paired: Paired) -> None:
        noisy = paired.again is not None and differs(paired.again)
        for trait, value in paired.traits.items():
            name = f"{trait}={value}"
            if name not in self.slices and len(self.slices) >= MAX_SLICES:
                name = f"{trait}=…"
            part = self.slices.setdefault(name, Slice())
            part.compared += 1
            part.differed += differs(paired.found)
            part.pairs += paired.again is not None
            part.noisy += noisy


class Ledger(msgspec.Struct):
    """All that is known of one shadow. `epoch` is the shadow's: under another nothing of this counts."""

    epoch: str
    outcomes: dict[str, int] = msgspec.field(default_factory=dict)
    tallies: list[Tally] = msgspec.field(default_factory=list)  # the one that was added to last stands last

    def count(self, outcome: str) -> None:
        """A question was mirrored with this outcome, or not mirrored for this reason."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def add(self, paired: Paired, versions: tuple[str, str]) -> None:
        """One compared question. A version that is "" is not known: it is taken to be the last one that was."""
        before = self.tallies[-1].versions if self.tallies else ("", "")
        known = (versions[0] or before[0], versions[1] or before[1])
        tally = next((each for each in self.tallies if each.versions == known), None)
        if tally is None:
            tally = Tally(known, paired.time, paired.time)
        self.tallies = [*(each for each in self.tallies if each is not tally), tally][-MAX_TALLIES:]
        tally.add(paired)


def merged(ledgers: Iterable[Ledger]) -> Ledger | None:
    """What several processes counted, as one; only the epoch of most of them counts, None of none."""
    every = list(ledgers)
    if not every:
        return None
    epochs = [each.epoch for each in every]
    whole = Ledger(max(epochs, key=epochs.count))
    for ledger in every:
        if ledger.epoch != whole.epoch:
            continue
        _add(whole.outcomes, ledger.outcomes)
        for tally in ledger.tallies:
            known = next((each for each in whole.tallies if each.versions == tally.versions), None)
            if known is None:
                known = Tally(tally.versions, tally.began, tally.last)
                whole.tallies.append(known)
            _join(known, tally)
    whole.tallies.sort(key=lambda each: each.last)
    whole.tallies = whole.tallies[-MAX_TALLIES:]
    return whole


def differs(found: Iterable[Found]) -> bool:
    """Whether any field does, beyond what its rule allows."""
    return any(each.score > 1 for each in found)


def _count(field: Field, found: Found, noise: float | None) -> None:
    field.compared += 1
    far = found.score > 1
    field.differed += far
    if far:
        _bounded(field.whys, found.why, 1)
        for one, other, count in found.flips:
            _bounded(field.flips, f"{one} → {other}", count)
    for name, value in found.measures.items():
        known = min(value, LARGEST)
        field.largest[name] = max(field.largest.get(name, 0.0), known)
        field.sums[name] = field.sums.get(name, 0.0) + known
    if noise is None:
        return
    field.pairs += 1
    field.noisy += noise > 1
    if max(found.score, noise) > 1:  # what both let pass is the same
        field.worse += found.score > noise
        field.better += noise > found.score


def _example(paired: Paired) -> Example:
    score = min(max(each.score for each in paired.found), LARGEST)
    fields = {each.field: each.why for each in paired.found if each.score > 1}
    noisy = paired.again is not None and differs(paired.again)
    return Example(paired.request, paired.time, score, fields, noisy, dict(paired.traits), dict(paired.payload))


def _worst(examples: list[Example]) -> list[Example]:
    """Where the primary agreed with itself comes first: that is the candidate's own."""
    return sorted(examples, key=lambda each: (each.noisy, -each.score, -each.time))[:MAX_EXAMPLES]


def _bounded(counts: dict[str, int], word: str, more: int) -> None:
    if word in counts or len(counts) < MAX_WORDS:
        counts[word] = counts.get(word, 0) + more


def _add(whole: dict[str, int], part: Mapping[str, int]) -> None:
    for name, count in part.items():
        whole[name] = whole.get(name, 0) + count


def _join(whole: Tally, part: Tally) -> None:
    whole.began, whole.last = min(whole.began, part.began), max(whole.last, part.last)
    whole.questions += part.questions
    whole.pairs += part.pairs
    for name, field in part.fields.items():
        _sum(whole.fields.setdefault(name, Field()), field)
    for name, each in part.slices.items():
        _sum(whole.slices.setdefault(name, Slice()), each)
    for name in ("primary", "candidate", "again", "pace"):
        _sum(getattr(whole, name), getattr(part, name))
    one, two, three = (a + b for a, b in zip(whole.costs, part.costs, strict=True))
    whole.costs = (one, two, three)
    whole.examples = _worst([*whole.examples, *part.examples])


def _sum(whole: msgspec.Struct, part: msgspec.Struct) -> None:
    """Every count of the one more by the other's; of `largest` the larger stays."""
    for name in whole.__struct_fields__:
        mine, other = getattr(whole, name), getattr(part, name)
        if not isinstance(mine, dict):
            setattr(whole, name, mine + other)
            continue
        for key, value in other.items():
            mine[key] = max(mine.get(key, 0.0), value) if name == "largest" else mine.get(key, 0) + value
