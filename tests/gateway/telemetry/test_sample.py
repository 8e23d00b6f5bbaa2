"""A sample's format: confidences as whole numbers, and names as pseudonyms."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.sample import UNIT, hidden, millionths, pseudonym

SALT = bytes(range(16))


def test_a_name_is_the_same_pseudonym_under_the_same_salt_only() -> None:
    """And "" stands for itself, and a number or truth value is no name."""
    assert pseudonym(SALT, "acme") == pseudonym(SALT, "acme") != pseudonym(SALT[::-1], "acme")
    assert ("#", 17, "") == (pseudonym(SALT, "acme")[0], len(pseudonym(SALT, "acme")), pseudonym(SALT, ""))
    assert (7, True, pseudonym(SALT, "deep")) == (hidden(SALT, 7), hidden(SALT, True), hidden(SALT, "deep"))


@given(st.floats(-1e6, 1e6) | st.integers(0, UNIT).map(lambda n: n / UNIT), st.integers(0, UNIT))
def test_millionths_are_held_against_thresholds_as_the_scores_were(score: float, threshold: int) -> None:
    """For every threshold of six digits: rounding never moves a row over it."""
    accept = float(f"{threshold / UNIT:.6f}")
    (found,) = millionths(np.array([score]))
    assert (score < accept) == (found / UNIT < accept)


def test_what_is_no_number_is_not_sure() -> None:
    """Infinity and what is no number have a place in a line of whole numbers too."""
    low, unknown, high = millionths(np.array([-np.inf, np.nan, np.inf]))
    assert low == unknown < -UNIT < UNIT < high < 1 << 62
