"""Thresholds are the cheapest that keep the accuracy asked for."""

import numpy as np
import pytest
import thresholds

LABELS = np.array([0, 1, 0, 1])
CHEAP = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.55, 0.45]], dtype=np.float32)  # the last two are wrong and unsure
DEAR = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]], dtype=np.float32)


def test_a_row_stays_where_it_is_confident_enough() -> None:
    """Two rows are answered cheaply, two go on and pay both prices."""
    assert thresholds.Cascade((0.7,), 1.0, (2, 2), (4 * 1 + 2 * 10) / 4) == thresholds.run([CHEAP, DEAR], LABELS, (0.7,), (1, 10))


def test_a_confidence_equal_to_the_threshold_is_enough() -> None:
    """`accept: 0.9` keeps a row whose float32 confidence is 0.9."""
    assert (1, 3) == thresholds.run([CHEAP, DEAR], LABELS, (0.9,), (1, 10)).rows


def test_the_choice_keeps_the_accuracy_at_the_lowest_cost() -> None:
    """No accuracy may be lost here, so the two wrong rows must go on, and no others."""
    chosen = thresholds.choose([CHEAP, DEAR], LABELS, (1.0, 10.0), lost=0.0)
    assert (1.0, (2, 2)) == (chosen.accuracy, chosen.rows)


def test_losing_accuracy_saves_cost() -> None:
    """If half may be wrong, nothing goes on."""
    chosen = thresholds.choose([CHEAP, DEAR], LABELS, (1.0, 10.0), lost=0.5)
    assert (4, 0) == chosen.rows
    assert 1.0 == pytest.approx(chosen.cost)
