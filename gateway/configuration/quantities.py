"""Durations, sizes, shares and rates as people write them (`150ms`, `64MiB`, `5%`, `100/s`), read into plain numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from gateway.configuration.problems import UnreadableError, listed, nearest, shown

SECONDS = {
    "us": Fraction(1, 1_000_000),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
BYTES = {"B": Fraction(1), "KiB": Fraction(1 << 10), "MiB": Fraction(1 << 20), "GiB": Fraction(1 << 30)}
_IN_FULL = {  # and what is written for it
    "microseconds": "us",
    "milliseconds": "ms",
    "seconds": "s",
    "minutes": "m",
    "hours": "h",
    "days": "d",
    "bytes": "B",
    "kilobytes": "KiB",
    "megabytes": "MiB",
    "gigabytes": "GiB",
    "percent": "%",
}
PERIODS = ("s", "m", "h", "d")
_PERIODS_IN_FULL = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
MOST = 1_000_000_000  # of a rate
LONGEST = 366 * 86400.0  # seconds; a longer duration is a slip of the pen
LARGEST = 1 << 40  # bytes
_RATE = re.compile(r"(?P<amount>[0-9]{1,18}(?:\.[0-9]{1,18})?(?: ?[A-Za-z]+)?) ?/ ?(?P<period>[A-Za-z]+)")
_NEARLY = re.compile(  # "10 per minute", "100rps", "5 req/s"
    r"(?P<amount>[0-9]{1,18}(?:\.[0-9]{1,18})?) ?(?P<what>[A-Za-z]*?) ?(?:(?:/|per|p) ?(?P<period>[A-Za-z]+))?"
)
_PLAIN = re.compile(r"[0-9.]+")
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([A-Za-z%]+)")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many units in so many seconds, as written: `6000/m` is as fast as `100/s`, but may come all at once."""

    units: float
    seconds: float

    @property
    def per_second(self) -> float:
        """Units in one second."""
        return self.units / self.seconds


def read_rate(value: object) -> Rate:
    """`100/s`, `6000/m`, `0.5/h`, `1000/d`. Raises UnreadableError."""
    amount, period = _read_rate(value, "rate", "100/s")
    if not _PLAIN.fullmatch(amount):
        raise UnreadableError(f"{shown(value)} is not a rate; write it like 100/s")
    if Fraction(amount) > MOST:
        raise UnreadableError(f"{shown(value)} is more than {MOST:,} at once")
    return _some(value, float(amount), period)


def read_byte_rate(value: object) -> Rate:
    """`10MiB/s`, `1GiB/h`. Raises UnreadableError."""
    amount, period = _read_rate(value, "rate of bytes", "10MiB/s")
    try:
        size = read_size(amount)
    except UnreadableError as error:
        raise UnreadableError(error.message, f"{error.suggestion}/{period}" if error.suggestion else None) from None
    return _some(value, size, period)


def _some(value: object, units: float, period: str) -> Rate:
    if units <= 0:
        raise UnreadableError(f"{shown(value)} would refuse everything; whoever may ask nothing should have no scope for it")
    found = Rate(units, int(SECONDS[period]))
    if found.per_second * LONGEST < 1:
        raise UnreadableError(f"{shown(value)} is less than one a year")
    return found


def _read_rate(value: object, what: str, example: str) -> tuple[str, str]:
    """What stands before the `/`, and the letter behind it."""
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UnreadableError(f"{shown(value)} is not a {what}; write it like {example}", _rate_for(value, example))
    if found["period"] not in PERIODS:
        meant = _PERIODS_IN_FULL.get(nearest(found["period"], _PERIODS_IN_FULL) or "")
        message = f"unknown time {shown(found['period'])}; a {what} is per {listed(PERIODS)}"
        raise UnreadableError(message, f"{found['amount']}/{meant}" if meant else None)
    return found["amount"], found["period"]


def _rate_for(value: object, example: str) -> str | None:
    """What a bare amount, or a rate in other words, probably is."""
    found = _NEARLY.fullmatch(f"{value}") if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    period = _PERIODS_IN_FULL.get((found["period"] or "s").lower()) if found else None
    sized = found is not None and found["what"] in BYTES
    if found is None or period is None or sized is example.startswith("100"):
        return None
    return f"{found['amount']}{found['what'] if sized else ''}/{period}"


def read_duration(value: object) -> float:
    """Seconds from `500us`, `150ms`, `2s`, `1.5m`, `24h` or `7d`. Raises UnreadableError."""
    seconds = float(_read(value, SECONDS, "duration", "150ms or 2s"))
    if seconds > LONGEST:
        raise UnreadableError(f"{shown(value)} is longer than a year")
    return seconds


def read_size(value: object) -> int:
    """Bytes from `512B`, `32KiB`, `64MiB` or `1.5GiB`; powers of 1024 only. Raises UnreadableError."""
    count = _read(value, BYTES, "size", "64MiB")
    if count > LARGEST:
        raise UnreadableError(f"{shown(value)} is more than 1024GiB")
    if count.denominator != 1:
        raise UnreadableError(f"{shown(value)} is not a whole number of bytes")
    return int(count)


def read_share(value: object) -> float:
    """A fraction from 0 to 1 from `0%` to `100%`. Raises UnreadableError."""
    share = _read(value, {"%": Fraction(1, 100)}, "share", "5%")
    if share > 1:
        raise UnreadableError(f"{shown(value)} is more than 100%")
    return float(share)


def _read(value: object, units: Mapping[str, Fraction], what: str, example: str) -> Fraction:
    """Exact, so that `0.1s` and `100ms` are the same number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise UnreadableError(f"{shown(value)} has no unit; a {what} is written like {example}")
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UnreadableError(f"{shown(value)} is not a {what}; write it like {example}")
    number, unit = found.groups()
    if unit not in units:
        words = {**{unit: unit for unit in units}, **{word: short for word, short in _IN_FULL.items() if short in units}}
        meant = words.get(nearest(unit, words) or "")
        raise UnreadableError(
            f"unknown unit {shown(unit)}; a {what} is counted in {listed(units)}", f"{number}{meant}" if meant else None
        )
    return Fraction(number) * units[unit]
