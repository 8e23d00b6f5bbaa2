"""Distances of rows: bounds, symmetry, and values that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routing.shadow import compare_rows as rows

PAIRS = st.tuples(st.integers(1, 5), st.integers(1, 8)).flatmap(
    lambda shape: st.tuples(*[arrays(np.float64, shape, elements=st.floats(0, 1e6)) for _ in range(2)])
)


def matrix(*values: list[float]) -> rows.Matrix:
    return np.array(values, np.float64)


@given(PAIRS)
def test_what_is_the_same_is_no_distance_away(pair: tuple[rows.Matrix, rows.Matrix]) -> None:
    """Each measure of a row and itself is the best there is."""
    one = pair[0] + 1
    assert np.allclose(1, rows.overlap(one, one, 3))
    assert np.allclose(1, rows.rank_biased(one, one, 3))
    assert np.allclose(0, rows.variation(one, one))
    assert np.allclose(0, rows.jensen_shannon(one, one), atol=1e-9)
    assert np.allclose(1, rows.cosine(one, one))


@given(PAIRS)
def test_measures_are_symmetric_and_bounded(pair: tuple[rows.Matrix, rows.Matrix]) -> None:
    """Whoever is held against whom, between 0 and 1 (a cosine of what is not negative, too)."""
    one, other = pair[0] + 1e-3, pair[1] + 1e-3
    for measure in (
        rows.variation,
        rows.jensen_shannon,
        rows.cosine,
        lambda a, b: rows.overlap(a, b, 4),
        lambda a, b: rows.rank_biased(a, b, 4),
    ):
        there, back = measure(one, other), measure(other, one)
        assert np.allclose(there, back)
        assert (there >= -1e-9).all()
        assert (there <= 1 + 1e-9).all()


@given(PAIRS)
def test_divergence_is_no_more_than_variation(pair: tuple[rows.Matrix, rows.Matrix]) -> None:
    """Lin 1991, theorem 3: in bits Jensen-Shannon is at most the total variation."""
    one, other = pair[0] + 1e-3, pair[1] + 1e-3
    assert (rows.jensen_shannon(one, other) <= rows.variation(one, other) + 1e-9).all()


def test_values_worked_out_by_hand() -> None:
    """Disjoint distributions are 1 apart; of three places two shared; a swap at the top costs rank-biased overlap most."""
    assert [1.0] == rows.variation(matrix([1, 0]), matrix([0, 1])).tolist()
    assert [1.0] == rows.jensen_shannon(matrix([1, 0]), matrix([0, 1])).tolist()
    assert [0.25] == rows.variation(matrix([0.5, 0.5]), matrix([3, 1])).tolist()
    one, two = matrix([9, 8, 7, 0]), matrix([9, 8, 0, 7])
    assert pytest.approx(2 / 3) == rows.overlap(one, two, 3)[0]
    top = rows.rank_biased(one, matrix([8, 9, 7, 0]), 3)[0]
    low = rows.rank_biased(one, matrix([9, 7, 8, 0]), 3)[0]
    assert top < low < 1
    assert pytest.approx(1 - 0.1) == top  # agreement 0, 1, 1: only the first depth, which weighs 1 - p, is missing
    assert [0.0, 1.0, 0.0, -1.0] == rows.cosine(
        matrix([1, 0], [0, 0], [0, 0], [1e300, 0]), matrix([0, 1], [0, 0], [1, 1], [-1e300, 0])
    ).tolist()


def test_what_is_no_distribution_is_nan() -> None:
    """Negative shares, or nothing at all."""
    assert np.isnan(rows.variation(matrix([0, 0], [-1, 2]), matrix([1, 1], [1, 1]))).all()
    assert np.isnan(rows.jensen_shannon(matrix([0, 0]), matrix([1, 1]))).all()
