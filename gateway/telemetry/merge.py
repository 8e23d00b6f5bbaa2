"""Makes one exposition out of those of several processes, so that a scrape sees one gateway.

Counters and histograms add up, sample by sample; of a process that has ended they stay in the sum, so that no total ever falls.
Gauges are what they are now: they add up too (questions in flight, memory), but for those below, and end with their process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

# What adding up would spoil: an information is 1 however many tell it, and the whole is as old as its oldest part.
_GAUGES: dict[str, Callable[[float, float], float]] = {"penstock_policy_info": max, "process_start_time_seconds": min}


class Totals:
    """The sums over all processes there have been. An exposition is text in the format of gateway.telemetry.series."""

    def __init__(self, without: Iterable[str] = ()) -> None:
        """`without` are the metrics in which the parts do not count."""
        self._without = frozenset(without)
        self._ended: dict[str, _Family] = {}

    def ended(self, exposition: bytes) -> None:
        """A process is no more; this is the last it told."""
        for name, family in self._read(exposition).items():
            if family.kind != "gauge":
                _into(self._ended, name, family)

    def exposition(self, parts: Iterable[bytes], own: bytes) -> bytes:
        """Everything ended, the `parts` that go on, and what belongs to the whole or to whoever merges."""
        found: dict[str, _Family] = {}
        for families in (self._ended, *map(self._read, parts), _families(own)):
            for name, family in families.items():
                _into(found, name, family)
        lines = [line for family in found.values() for line in family.lines()]
        return ("\n".join(lines) + "\n").encode()

    def _read(self, exposition: bytes) -> dict[str, _Family]:
        return {name: family for name, family in _families(exposition).items() if name not in self._without}


class _Family:
    """One metric: its heading, and its samples' values by name and labels as written."""

    __slots__ = ("add", "heading", "kind", "samples")

    def __init__(self, heading: list[str], kind: str, add: Callable[[float, float], float]) -> None:
        self.heading = heading
        self.kind = kind
        self.add = add
        self.samples: dict[str, float] = {}

    def lines(self) -> list[str]:
        return [*self.heading, *(f"{start} {value!r}" for start, value in self.samples.items())]


def _families(exposition: bytes) -> dict[str, _Family]:
    found: dict[str, _Family] = {}
    help_line = ""
    samples: dict[str, float] = {}
    for line in exposition.decode().splitlines():
        if line.startswith("# HELP "):
            help_line = line
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            found[name] = family = _Family([help_line, line], kind, _GAUGES.get(name, _sum))
            samples = family.samples
        else:
            start, _, value = line.rpartition(" ")
            samples[start] = int(value) if value.isdigit() else float(value)
    return found


def _into(found: dict[str, _Family], name: str, family: _Family) -> None:
    into = found.setdefault(name, _Family(family.heading, family.kind, family.add)).samples
    for start, value in family.samples.items():
        into[start] = family.add(into[start], value) if start in into else value


def _sum(one: float, other: float) -> float:
    return one + other
