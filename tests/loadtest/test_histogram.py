"""Percentiles from logarithmic buckets."""

import math

from hypothesis import given
from hypothesis import strategies as st

from loadtest.histogram import PRECISION, Histogram


@given(st.lists(st.floats(0.01, 1e8), min_size=1, max_size=200), st.floats(0.1, 100))
def test_a_percentile_is_right_to_the_stated_precision(values: list[float], percent: float) -> None:
    """Never below the true value, and above it by one percent at most."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    true = sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
    assert true * (1 - 1e-9) <= histogram.percentile(percent) <= true * (1 + PRECISION) * (1 + 1e-9)


def test_an_empty_histogram_has_zero_everywhere() -> None:
    """Nothing recorded is no error."""
    assert Histogram().percentile(99) == 0.0


def test_values_not_above_zero_are_counted() -> None:
    """A clock that stood still loses no request."""
    histogram = Histogram()
    histogram.record(0.0)
    assert histogram.total == 1
