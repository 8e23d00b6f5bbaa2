"""The figures of a backtest in words."""

from __future__ import annotations

import pytest

from gateway.review.traffic.backtest import Cost, Time
from gateway.review.traffic.figures import cost_text, mean_text, number, p95_text


def test_numbers_in_words() -> None:
    """Short ones for what would be long."""
    wanted = ["0", "7.25", "999.6", "1,000", "65,287", "999,999", "1.248M", "3G", "-1,200"]
    assert wanted == [number(each) for each in (0.0, 7.25, 999.6, 1000.0, 65_287.4, 999_999.0, 1_247_758.0, 3e9, -1200.0)]


def test_costs_in_words() -> None:
    """As sure as they are."""
    assert ["82", "2–82", "~41 (2–82)"] == [cost_text(Cost(*each)) for each in ((82, 82, 82), (None, 2, 82), (41, 2, 82))]


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (Time(2.0, 3.0, 3.0, 0.0), "3"),
        (Time(2.0, 3.0, 4.0, 0.01), "3 to 4"),
        (Time(2.0, 3.0, None, 0.5), "3 or more"),
        (Time(None, None, None, 1.0), "unknown"),
        (Time(None, None, None, 0.0), "–"),
    ],
)
def test_percentiles_in_words(time: Time, words: str) -> None:
    """As sure as they are."""
    assert words == p95_text(time)


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (Time(1.0, 1.0, 1.0, 0.125), "1 (12.5 % unknown)"),
        (Time(1.0, 1.0, 1.0, 0.0), "1"),
        (Time(None, None, None, 1.0), "unknown"),
        (Time(None, None, None, 0.0), "–"),
    ],
)
def test_means_in_words(time: Time, words: str) -> None:
    """With the share of requests of which nothing is known."""
    assert words == mean_text(time)
