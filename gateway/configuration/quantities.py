"""Durations, sizes and shares as people write them (`150ms`, `64MiB`, `5%`), read into seconds, bytes and fractions."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
LONGEST = 366 * 86400.0  # seconds; a longer duration is a slip of the pen
LARGEST = 1 << 40  # bytes
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([A-Za-z%]+)")


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
