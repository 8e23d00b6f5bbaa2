"""Tests of gateway.configuration.quantities."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.problems import UnreadableError
from gateway.configuration.quantities import (
    BYTES,
    SECONDS,
    Rate,
    read_byte_rate,
    read_duration,
    read_rate,
    read_share,
    read_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500us", 0.0005),
        ("150ms", 0.15),
        ("2s", 2.0),
        ("1.5m", 90.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
        ("0s", 0.0),
        ("2 s", 2.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is a number and a unit, from microseconds to days."""
    assert seconds == read_duration(text)


@pytest.mark.parametrize(("text", "count"), [("512B", 512), ("32KiB", 32768), ("64MiB", 64 << 20), ("1.5GiB", 3 << 29)])
def test_sizes(text: str, count: int) -> None:
    """A size is counted in powers of 1024."""
    assert count == read_size(text)


@pytest.mark.parametrize(("text", "share"), [("0%", 0.0), ("5%", 0.05), ("0.5%", 0.005), ("100%", 1.0)])
def test_shares(text: str, share: float) -> None:
    """A share is a percentage, read as a fraction."""
    assert share == read_share(text)


@given(st.integers(0, 300), st.sampled_from(sorted(SECONDS)))
def test_durations_round_trip(number: int, unit: str) -> None:
    """What is written with any unit is that many of them, exactly as near as a float can be."""
    assert float(number * SECONDS[unit]) == read_duration(f"{number}{unit}")


@given(st.integers(0, 1023), st.sampled_from(sorted(BYTES)))
def test_sizes_round_trip(number: int, unit: str) -> None:
    """A size keeps every byte."""
    assert number * BYTES[unit] == read_size(f"{number}{unit}")


@given(st.integers(0, 10_000))
def test_shares_round_trip(hundredths: int) -> None:
    """A share written with two decimals is exactly that one."""
    assert float(Fraction(hundredths, 10_000)) == read_share(f"{hundredths // 100}.{hundredths % 100:02}%")


@pytest.mark.parametrize(
    "value", [5, 0.5, "5", "ms", "-5s", "5 s s", "1e3s", "5s\n", "1.s", "", None, True, [], {}, "9" * 100 + "s"]
)
@pytest.mark.parametrize("read", [read_duration, read_size, read_share])
def test_refused(value: object, read: Callable[[object], float]) -> None:
    """A number without a unit and anything that only resembles a quantity is refused, never guessed."""
    with pytest.raises(UnreadableError):
        read(value)


@pytest.mark.parametrize(
    ("read", "text", "meant"),
    [
        (read_size, "64MB", "64MiB"),
        (read_duration, "5S", "5s"),
        (read_duration, "150msec", "150ms"),
        (read_size, "5mib", "5MiB"),
        (read_duration, "2 seconds", "2s"),
        (read_duration, "1.5 min", "1.5m"),
        (read_size, "3 bytes", "3B"),
        (read_share, "5 percent", "5%"),
        (read_duration, "2 weeks", None),
        (read_size, "2 hours", None),
    ],
)
def test_meant(read: Callable[[object], float], text: str, meant: str | None) -> None:
    """A unit that nearly is one brings the one that was probably meant."""
    with pytest.raises(UnreadableError) as refused:
        read(text)
    assert meant == refused.value.suggestion


@pytest.mark.parametrize(
    ("read", "text"), [(read_duration, "1000d"), (read_size, "2000GiB"), (read_size, "0.3B"), (read_share, "101%")]
)
def test_out_of_bounds(read: Callable[[object], float], text: str) -> None:
    """Quantities that can only be slips are refused: more than a year, more than 1 TiB, part of a byte, more than all."""
    with pytest.raises(UnreadableError):
        read(text)


@pytest.mark.parametrize(
    ("text", "rate"), [("100/s", Rate(100, 1)), ("6000 / m", Rate(6000, 60)), ("0.5/h", Rate(0.5, 3600)), ("1/d", Rate(1, 86400))]
)
def test_rates(text: str, rate: Rate) -> None:
    """So many in so much time."""
    assert rate == read_rate(text)
    assert rate.units / rate.seconds == read_rate(text).per_second


@pytest.mark.parametrize(("text", "rate"), [("10MiB/s", Rate(10 << 20, 1)), ("1.5GiB/h", Rate(3 << 29, 3600))])
def test_rates_of_bytes(text: str, rate: Rate) -> None:
    """A size in so much time."""
    assert rate == read_byte_rate(text)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (100, "100/s"),
        ("100", "100/s"),
        ("100rps", "100/s"),
        ("10 per minute", "10/m"),
        ("10/minutes", "10/m"),
        ("0/s", None),
        ("1MiB/s", None),
        ("2000000000/s", None),
        ("0.001/d", None),
        (1.5, None),
        (True, None),
        (None, None),
        ("/s", None),
        ("x/s", None),
        ("1/fortnight", None),
    ],
)
def test_no_rates(value: object, meant: str | None) -> None:
    """None at all, more than anybody could ask, less than one a year; with what was probably meant."""
    with pytest.raises(UnreadableError) as refused:
        read_rate(value)
    assert meant == refused.value.suggestion


@pytest.mark.parametrize(
    ("value", "meant"),
    [("10MiB", "10MiB/s"), ("10MB/s", "10MiB/s"), ("1KiB/sec", "1KiB/s"), ("100/s", None), ("0B/s", None), (5, None)],
)
def test_no_rates_of_bytes(value: object, meant: str | None) -> None:
    """The same; a bare number is no size."""
    with pytest.raises(UnreadableError) as refused:
        read_byte_rate(value)
    assert meant == refused.value.suggestion
