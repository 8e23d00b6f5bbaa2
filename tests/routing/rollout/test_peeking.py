"""What looking early does to a test for one look."""

from __future__ import annotations

import numpy as np
import pytest

from routing.rollout.peeking import false_alarms


@pytest.mark.parametrize(("looks", "known"), [(1, 0.05), (2, 0.083), (5, 0.142), (10, 0.193), (20, 0.248)])
def test_the_false_alarms_are_those_of_the_literature(looks: int, known: float) -> None:
    """Repeated tests at 5 % (Armitage, McPherson and Rowe 1969, table 2), within five standard errors."""
    assert known == pytest.approx(false_alarms(looks, 0.05, np.random.default_rng(7)), abs=0.016)
